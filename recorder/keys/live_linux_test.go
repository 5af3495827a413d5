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

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
)

// space is a network namespace of a test, with a capture of its loopback interface.
type space struct {
	name  string
	group string // control group, in the form of /proc
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

// newSpace makes a namespace and captures in it. Its name contains the test's process id, to
// avoid namespaces that other processes made.
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
			os.WriteFile(folder+"/cgroup.kill", []byte("1"), 0) // processes that servers left behind
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

// hierarchy is the mount point of the control groups of version 2.
func hierarchy(t *testing.T) string {
	h, err := machine.CgroupRoot()
	if err != nil {
		t.Skip("needs a control group: ", err)
	}
	return h
}

func (s *space) capture(t *testing.T) {
	t.Helper()
	// Every packet needs a slot as large as the longest one: by default tcpdump has room for 32.
	c := exec.Command("nsenter", "--net=/run/netns/"+s.name, "--", "tcpdump", "-Z", "root", "-i", "lo", "-U", "--immediate-mode", "-B", "65536", "-s", "0", "-w", "-")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	messages, err := c.StderrPipe()
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
	if line, err := bufio.NewReader(messages).ReadString('\n'); err != nil || !strings.Contains(line, "listening") {
		t.Fatal("tcpdump: ", line, err)
	}
	go io.Copy(io.Discard, messages)
}

// read reads a classic pcap file of Ethernet packets.
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
			s.talks.Packet(p[14:], int64(binary.NativeEndian.Uint32(head))*1e9+int64(binary.NativeEndian.Uint32(head[4:]))*1e3, 0)
		}
	}
}

// command runs in the namespace and in the control group, at most as long as the test.
func (s *space) command(t *testing.T, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	// Not "ip netns exec": it also makes a mount namespace, in which /proc/PID/exe has another
	// path if the test's root is not the machine's.
	const enter = `echo $$ >$0/cgroup.procs && exec nsenter "$@"`
	return exec.CommandContext(ctx, "sh", append([]string{"-c", enter, hierarchy(t) + s.group, "--net=/run/netns/" + s.name, "--"}, args...)...)
}

// serve starts a server and waits until a line of its output shows that it is ready.
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

// run runs a client until it ends.
func (s *space) run(t *testing.T, args ...string) string {
	t.Helper()
	b, err := s.command(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", args[0], err, b)
	}
	return string(b)
}

// runProbed runs gotalk as a client that starts to talk when its process has its probe. How
// long that takes depends on the load of the machine, so a fixed pause would not do.
func (s *space) runProbed(t *testing.T, tr *Tracker, args ...string) {
	t.Helper()
	c := s.command(t, append(args, "-gate")...)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
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
		t.Fatalf("%s: %v: %s", args[0], err, &output)
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

// lines returns the lines of one process, or of all if pid is 0, sorted and without duplicates.
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

// truth reads a program's own key log: lines in lower case, sorted, without duplicates.
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

// eventually waits until a condition is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1500 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("timeout after 30 s:  ", what)
}

// own chooses the processes that the test runs, and no others of the machine.
func (s *space) own() Selector { return Selector{Cgroups: []string{s.group}} }

// of returns the processes of a program.
func of(tr *Tracker, name string) (list []Process) {
	for _, p := range tr.Processes() {
		if filepath.Base(p.Executable) == name {
			list = append(list, p)
		}
	}
	return list
}

// probed waits until a running program has its probes.
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
		t.Error("no logged keys")
	}
	for _, l := range want {
		if _, ok := slices.BinarySearch(got, l); !ok {
			t.Errorf("missing: %.90s", l)
		}
	}
	for _, l := range got {
		if _, ok := slices.BinarySearch(want, l); !ok {
			t.Errorf("not in the log: %.90s", l)
		}
	}
}
