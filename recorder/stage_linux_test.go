package recorder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/internal/cooked"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// stage is a control group and a process in it with its own network.
type stage struct {
	t      testing.TB
	cgroup string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	pid    int
}

func newStage(t testing.TB, role string) *stage {
	t.Helper()
	root, err := machine.CgroupRoot()
	if err != nil {
		t.Skip("needs a control group: ", err)
	}
	s := &stage{t: t, cgroup: filepath.Join(root, fmt.Sprintf("pcapsule-test-%d-%d", os.Getpid(), time.Now().UnixNano()))}
	if err := os.Mkdir(s.cgroup, 0o755); err != nil {
		t.Skip("needs a control group: ", err)
	}
	t.Cleanup(func() {
		for range 100 { // its children end with it
			if os.Remove(s.cgroup) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return startStage(t, role, s.cgroup, syscall.CLONE_NEWNET)
}

// startStage starts a part in an existing control group.
func startStage(t testing.TB, role, cgroup string, namespaces uintptr) *stage {
	t.Helper()
	s := &stage{t: t, cgroup: cgroup}
	dir, err := os.Open(s.cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	s.cmd = exec.Command("/proc/self/exe")
	s.cmd.Env = append(os.Environ(), roleEnv+"="+role)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_SYS_ADMIN: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	s.pid = s.cmd.Process.Pid
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		os.WriteFile(filepath.Join(s.cgroup, "cgroup.kill"), []byte("1"), 0) // and its children
		s.cmd.Wait()
	})
	if strings.HasPrefix(role, "scene ") && (!s.out.Scan() || s.out.Text() != "ready") {
		t.Fatalf("scene did not start: %q", s.out.Text())
	}
	return s
}

// run starts another part in the stage's network, in the given control group.
func (s *stage) run(cgroup, role string) { s.runReporting(cgroup, role) }

// runReporting is run for a part that reports what it did.
func (s *stage) runReporting(cgroup, role string) (all []truth) {
	s.t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		s.t.Fatal(err)
	}
	defer dir.Close()
	c := exec.Command(mustLook(s.t, "nsenter"), fmt.Sprintf("--net=/proc/%d/ns/net", s.pid), must(os.Executable()))
	c.Env = append(os.Environ(), roleEnv+"="+role)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	text, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %s", err, text)
	}
	for line := range strings.Lines(string(text)) {
		var x truth
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, x)
	}
	return all
}

// play continues the scene and returns what its parts did.
func (s *stage) play() []truth {
	s.t.Helper()
	if _, err := io.WriteString(s.in, "go\n"); err != nil {
		s.t.Fatal(err)
	}
	var all []truth
	for s.out.Scan() {
		var x truth
		if err := json.Unmarshal(s.out.Bytes(), &x); err != nil {
			s.t.Fatalf("%q: %v", s.out.Text(), err)
		}
		all = append(all, x)
	}
	return all
}

// goOn lets a scene go on that waits in its middle, when a condition is true; at the latest after 40 s.
func (s *stage) goOn(when func() bool) {
	for deadline := time.Now().Add(40 * time.Second); !when() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	io.WriteString(s.in, "go\n")
}

// record runs a recording during a function call, and returns the final statistics.
func record(t testing.TB, o Options, during func()) Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	started := make(chan Started, 1)
	o.OnStart = func(s Started) { started <- s }
	if o.OnError == nil {
		o.OnError = func(err error) { t.Error(err) }
	}
	type result struct {
		s   Stats
		err error
	}
	ended := make(chan result, 1)
	go func() {
		s, err := Run(ctx, o)
		ended <- result{s, err}
	}()
	var r result
	over := false
	defer func() {
		if cancel(); !over { // during ended the test
			<-ended
		}
	}()
	select {
	case s := <-started:
		for _, lack := range s.Degraded {
			if !strings.Contains(lack, "control groups of version 1") { // of other containers on this machine
				t.Error(lack)
			}
		}
		during()
		time.Sleep(100 * time.Millisecond)
		cancel()
		r = <-ended
	case r = <-ended:
	}
	over = true
	var right *PrivilegeError
	if errors.As(r.err, &right) {
		t.Skip("needs CAP_BPF: ", r.err)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	if !r.s.Balanced() {
		t.Errorf("counters do not balance: %+v", r.s.Counters)
	}
	return r.s
}

// seen is a packet with its decoded options.
type seen struct {
	pcapng.Packet
	iface    pcapng.Interface
	ip       []byte
	out      bool
	pid, tid uint32
	drops    uint64
	local    string // address and port
	remote   string
	id       uint64
	socket   pcapng.Socket
	owner    uint32 // process, including an inherited owner
}

func readAll(t *testing.T, path string) []seen {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all []seen
	var b pcapng.Batch
	for {
		err := r.Next(&b)
		for i := range b.Packets {
			p := b.Packets[i]
			p.Data, p.Options = bytes.Clone(p.Data), bytes.Clone(p.Options)
			s := seen{Packet: p, iface: b.Interfaces[p.Interface], ip: p.Data[cooked.Len:]}
			for it := pcapng.IterOptions(p.Options, p.BigEndian); it.Next(); {
				switch v := it.Value; it.Code {
				case pcapng.EPBFlags:
					s.out = v[0]&3 == 2
				case pcapng.EPBProcess:
					s.pid, s.tid = le32(v), le32(v[4:])
				case pcapng.EPBDropCount:
					s.drops = uint64(le32(v)) | uint64(le32(v[4:]))<<32
				case pcapng.EPBPacketID:
					s.id = uint64(le32(v)) | uint64(le32(v[4:]))<<32
				}
			}
			if s.socket, _ = p.Socket(); s.socket.PID != 0 && bpf.Kind(s.socket.Kind) <= bpf.Creator {
				s.pid, s.tid = s.socket.PID, s.socket.TID
			}
			s.owner = max(s.pid, s.socket.PID)
			if local, remote, ok := ends(s.ip, s.out); ok {
				s.local, s.remote = local.String(), remote.String()
			}
			all = append(all, s)
		}
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// ownerLine is a line of an owners file.
type ownerLine struct {
	Process string
	PID     int
	Name    string
	Exe     string
	UID     *int
	Cgroup  string
}

func readOwners(t *testing.T, path string) []ownerLine {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []ownerLine
	for line := range strings.Lines(string(b)) {
		var l ownerLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, l)
	}
	return all
}
