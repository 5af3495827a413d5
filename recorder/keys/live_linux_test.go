//go:build amd64 || arm64

package keys

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// space is a network namespace of a test, with a capture of its loopback interface.
type space struct {
	name  string
	group string // control group, as /proc has it
	talks *Conversations
	file  string
	stop  func()
}

func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Skip("needs " + n)
		}
	}
}

// newSpace makes a namespace and captures in it. Its name has the test's process in it, so
// that none is met that somebody else made.
func newSpace(t *testing.T) *space {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs CAP_BPF")
	}
	needTools(t, "ip", "nsenter", "tcpdump")
	s := &space{name: fmt.Sprintf("keys%d-%d", os.Getpid(), time.Now().UnixNano()%1e6), talks: NewConversations(), file: filepath.Join(t.TempDir(), "all.pcap")}
	if b, err := exec.Command("ip", "netns", "add", s.name).CombinedOutput(); err != nil {
		t.Skipf("needs CAP_SYS_ADMIN: %s", b)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", s.name).Run() })
	if b, err := exec.Command("ip", "-n", s.name, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%s", b)
	}
	s.group = "/" + s.name
	folder := hierarchy(t) + s.group
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Skip("needs a control group: ", err)
	}
	t.Cleanup(func() {
		for range 100 {
			os.WriteFile(folder+"/cgroup.kill", []byte("1"), 0) // what servers left behind
			if os.Remove(folder) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Error("control group left behind: ", folder)
	})
	s.capture(t)
	return s
}

// hierarchy is where control groups of version 2 are mounted.
func hierarchy(t *testing.T) string {
	h := hierarchyOf()
	if h == "" {
		t.Skip("needs a control group: no hierarchy of version 2")
	}
	return h
}

func (s *space) capture(t *testing.T) {
	t.Helper()
	// A packet takes a slot as large as the longest: by itself tcpdump has room for 32 of them.
	c := exec.Command("nsenter", "--net=/run/netns/"+s.name, "--", "tcpdump", "-Z", "root", "-i", "lo", "-U", "--immediate-mode", "-B", "65536", "-s", "0", "-w", "-")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(s.file)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read(io.TeeReader(out, f))
	}()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			time.Sleep(100 * time.Millisecond)
			c.Process.Signal(os.Interrupt)
			<-done
			c.Wait()
			f.Close()
		})
	}
	t.Cleanup(s.stop)
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.Contains(line, "listening") {
		t.Fatal("tcpdump: ", line, err)
	}
	go io.Copy(io.Discard, said)
}

// read takes a classic pcap of Ethernet.
func (s *space) read(r io.Reader) {
	br := bufio.NewReader(r)
	head := make([]byte, 24)
	if _, err := io.ReadFull(br, head); err != nil {
		return
	}
	for {
		if _, err := io.ReadFull(br, head[:16]); err != nil {
			return
		}
		p := make([]byte, binary.NativeEndian.Uint32(head[8:]))
		if _, err := io.ReadFull(br, p); err != nil {
			return
		}
		if len(p) > 14 {
			s.talks.Packet(p[14:])
		}
	}
}

// command runs in the namespace and in the control group, and not longer than the test.
func (s *space) command(t *testing.T, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	// Not "ip netns exec": it also makes a mount namespace, in which /proc/PID/exe has another
	// path if the test's root is not the machine's.
	const enter = `echo $$ >$0/cgroup.procs && exec nsenter "$@"`
	return exec.CommandContext(ctx, "sh", append([]string{"-c", enter, hierarchy(t) + s.group, "--net=/run/netns/" + s.name, "--"}, args...)...)
}

// serve starts a server and waits until it says or does something.
func (s *space) serve(t *testing.T, ready func(line string) bool, args ...string) {
	t.Helper()
	c := s.command(t, args...)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Process.Kill()
		c.Wait()
	})
	if ready == nil {
		return
	}
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(args[0], ": ", err)
		}
		if ready(line) {
			break
		}
	}
	go io.Copy(io.Discard, r)
}

// run runs a client to its end.
func (s *space) run(t *testing.T, args ...string) string {
	t.Helper()
	b, err := s.command(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", args[0], err, b)
	}
	return string(b)
}

// runProbed runs gotalk as a client that begins to talk when its process has its probe. How
// long that takes depends on what else the machine does, so no pause is long enough.
func (s *space) runProbed(t *testing.T, tr *Tracker, args ...string) {
	t.Helper()
	c := s.command(t, append(args, "-gate")...)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a probe on "+args[0], func() bool {
		for _, p := range tr.Processes() {
			if p.PID == uint32(c.Process.Pid) && p.Reason == NoHandshake {
				return true
			}
		}
		return false
	})
	if _, err := io.WriteString(in, "go\n"); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%s: %v: %s", args[0], err, &said)
	}
}

// list is a Sink.
type list struct {
	mu   sync.Mutex
	keys []Key
}

func (l *list) Key(k Key) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append(l.keys, k)
	return nil
}

func (l *list) Flush() error { return nil }

// lines gives the lines from one process, or from all, sorted and each once.
func (l *list) lines(pid uint32) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, k := range l.keys {
		if pid == 0 || k.PID == pid {
			out = append(out, k.Line())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func start(t *testing.T, o Options) *Tracker {
	t.Helper()
	tr, err := Start(o)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// truth reads a key log of the program itself: lines, lower case, sorted, each once.
func truth(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && !strings.HasPrefix(f[0], "#") {
			out = append(out, f[0]+" "+strings.ToLower(f[1])+" "+strings.ToLower(f[2]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("not within 30 s: ", what)
}

// own chooses what the test runs, and nothing else of the machine.
func (s *space) own() Selector { return Selector{Cgroups: []string{s.group}} }

// of gives the processes of a program.
func of(tr *Tracker, name string) (list []Process) {
	for _, p := range tr.Processes() {
		if filepath.Base(p.Executable) == name {
			list = append(list, p)
		}
	}
	return list
}

// probed waits until a program that runs already has its probes.
func probed(t *testing.T, tr *Tracker, name string) {
	t.Helper()
	eventually(t, "a probe on "+name, func() bool {
		for _, p := range of(tr, name) {
			if p.Reason == NoHandshake {
				return true
			}
		}
		return false
	})
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if len(want) == 0 {
		t.Error("no true keys")
	}
	for _, l := range want {
		if _, ok := slices.BinarySearch(got, l); !ok {
			t.Errorf("missing: %.90s", l)
		}
	}
	for _, l := range got {
		if _, ok := slices.BinarySearch(want, l); !ok {
			t.Errorf("never logged: %.90s", l)
		}
	}
}
