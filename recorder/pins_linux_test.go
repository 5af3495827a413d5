package recorder

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// recordPinned records into a ring until it gets a signal: "CGROUP RING PIN BUFFER [headers] [both]".
func recordPinned(arg string) {
	f := strings.Fields(arg)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	capture, interfaces := Sockets, []string(nil)
	if slices.Contains(f[4:], "both") {
		capture, interfaces = Both, []string{"lo"}
	}
	_, err := Run(ctx, Options{Capture: capture, Interface: interfaces, Cgroup: f[0], Pin: f[2], RingBuffer: uint32(must(strconv.Atoi(f[3]))), HeadersOnly: slices.Contains(f[4:], "headers"), NoNames: true,
		OnError: func(err error) { fmt.Println("trouble:", err) },
		OnStart: func(s Started) { fmt.Println("ready", strings.Join(s.Degraded, "; ")) },
		Ring:    &ring.Options{Dir: f[1], SegmentBytes: 512 << 10, SegmentTime: 100 * time.Millisecond, FlushEvery: 20 * time.Millisecond}})
	if err != nil {
		fmt.Println(err)
	}
}

// mostCounted is how many datagrams a sender sends at most. Twice as many fit into the buffer of a recorder that is
// started again late, because its machine is busy.
const mostCounted = 100_000

// sendCounted sends datagrams with numbers until its input ends, and then tells the last one.
func sendCounted() {
	loopbackUp()
	l := must(net.ListenPacket("udp4", "127.0.0.1:0"))
	c := must(net.Dial("udp4", l.LocalAddr().String()))
	var over atomic.Bool
	go func() {
		must(io.Copy(io.Discard, os.Stdin))
		over.Store(true)
	}()
	b := make([]byte, 600)
	for n := uint64(1); ; n++ {
		binary.BigEndian.PutUint64(b, n)
		must(c.Write(b))
		for n == mostCounted && !over.Load() {
			time.Sleep(time.Millisecond)
		}
		if over.Load() {
			fmt.Println(n)
			return
		}
		if n%8 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// sent ends a part that sends counted datagrams, and returns how many it sent.
func (s *stage) sent() uint64 {
	s.t.Helper()
	if err := s.in.Close(); err != nil || !s.out.Scan() {
		s.t.Fatalf("the sender tells nothing: %v", err)
	}
	return uint64(must(strconv.Atoi(s.out.Text())))
}

// pinned is a recorder in a process of its own.
type pinned struct {
	t     *testing.T
	c     *exec.Cmd
	lines *bufio.Scanner
}

func startPinned(t *testing.T, cgroup, dir, pin string, buffer int, more string) *pinned {
	t.Helper()
	return startLacking(t, "ready ", cgroup, dir, pin, buffer, more)
}

// startLacking checks that a recorder states at its start what it lacks.
func startLacking(t *testing.T, says, cgroup, dir, pin string, buffer int, more string) *pinned {
	t.Helper()
	p := launchPinned(t, cgroup, dir, pin, buffer, more)
	if !p.lines.Scan() || p.lines.Text() != says {
		t.Fatalf("the recorder says %q, want %q", p.lines.Text(), says)
	}
	return p
}

func launchPinned(t *testing.T, cgroup, dir, pin string, buffer int, more string) *pinned {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=pinned %s %s %s %d %s", roleEnv, cgroup, dir, pin, buffer, more))
	c.Stderr = os.Stderr
	p := &pinned{t, c, bufio.NewScanner(must(c.StdoutPipe()))}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return p
}

func (p *pinned) end(s os.Signal) {
	p.t.Helper()
	p.c.Process.Signal(s)
	for p.lines.Scan() {
		p.t.Errorf("the recorder says %q", p.lines.Text())
	}
	p.c.Wait()
}

// pinFolder mounts a BPF file system of its own.
func pinFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Skip("needs CAP_SYS_ADMIN: to mount a BPF file system: ", err)
	}
	pin := filepath.Join(dir, "pcapsule")
	t.Cleanup(func() {
		Unpin(pin) // nothing is left of a test that failed
		syscall.Unmount(dir, syscall.MNT_DETACH)
	})
	return pin
}

// numbers lists the numbers of datagrams in a ring, by direction.
func numbers(t *testing.T, dir string) (in, out []uint64) {
	t.Helper()
	for _, seg := range must(ring.Segments(dir)) {
		if seg.ID.Series != socketSeries {
			continue
		}
		for _, p := range readAll(t, seg.Path) {
			if len(p.ip) != 628 {
				continue
			}
			list := &in
			if p.out {
				list = &out
			}
			*list = append(*list, binary.BigEndian.Uint64(p.ip[28:]))
		}
	}
	slices.Sort(in)
	slices.Sort(out)
	return in, out
}

// missing counts the numbers up to last that are not there. None may be there twice.
func missing(t *testing.T, list []uint64, last uint64) (n uint64) {
	t.Helper()
	for i, x := range list {
		if i > 0 && list[i-1] == x {
			t.Fatalf("packet %d is there twice", x)
		}
	}
	return last - uint64(len(list))
}

// records lists what a ring says of itself.
func records(t *testing.T, dir string) (list []ring.Record) {
	t.Helper()
	r := must(os.Open(filepath.Join(dir, "seals.jsonl")))
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var l struct {
			Record ring.Record `json:"record"`
		}
		must(0, json.Unmarshal(lines.Bytes(), &l))
		list = append(list, l.Record)
	}
	return list
}

// lossesOf adds up the losses that a ring states: in the records of starts, and in the last seal of
// each recorder.
func lossesOf(t *testing.T, dir string) (n uint64) {
	t.Helper()
	var last uint64
	for _, x := range records(t, dir) {
		switch {
		case x.Start != nil:
			n, last = n+last, 0
			if x.Start.Resumed != nil {
				n += uint64(x.Start.Resumed.Lost)
			}
		case x.Segment != nil && x.Segment.Counters != nil && x.Segment.Series == socketSeries:
			last = x.Segment.Counters.Dropped
		}
	}
	return n + last
}

// TestKilledRecorderLosesNothing kills a recorder again and again under numbered traffic, with times in which none
// runs. The kernel continues, so each number is in the ring once.
func TestKilledRecorderLosesNothing(t *testing.T) {
	pin, dir := pinFolder(t), filepath.Join(t.TempDir(), "ring")
	s := newStage(t, "scene idle")
	var sender *stage
	for round := range nightly.Of(5, 12) {
		p := startPinned(t, s.cgroup, dir, pin, 256<<20, "")
		if sender == nil {
			sender = startStage(t, "counted", s.cgroup, syscall.CLONE_NEWNET)
		}
		time.Sleep(time.Duration(20+rand.IntN(200)) * time.Millisecond)
		if round%4 == 3 {
			p.end(syscall.SIGTERM)
		} else {
			p.end(syscall.SIGKILL)
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	}
	last := sender.sent()
	startPinned(t, s.cgroup, dir, pin, 256<<20, "").end(syscall.SIGTERM)
	in, out := numbers(t, dir)
	if a, b := missing(t, in, last), missing(t, out, last); a+b != 0 || lossesOf(t, dir) != 0 {
		t.Errorf("of %d packets %d are not in the ring as received and %d as sent; %d are stated", last, a, b, lossesOf(t, dir))
	}
	rep := must(ring.Verify(dir, ring.VerifyOptions{}))
	if !rep.OK() || len(rep.Unbalanced) > 0 || len(rep.Holes) > 0 {
		t.Errorf("%+v", rep)
	}
	t.Logf("%d packets", len(in)+len(out))
}

// TestLossesOfARestartAreStated lets the kernel's buffer run over while no recorder runs, and a
// recorder die before it sealed what it knew to be lost.
func TestLossesOfARestartAreStated(t *testing.T) {
	pin, dir := pinFolder(t), filepath.Join(t.TempDir(), "ring")
	s := newStage(t, "scene idle")
	var sender *stage
	for round := range 8 {
		p := startPinned(t, s.cgroup, dir, pin, 256<<10, "")
		if sender == nil {
			sender = startStage(t, "counted", s.cgroup, syscall.CLONE_NEWNET)
		}
		time.Sleep(time.Duration(50+rand.IntN(200)) * time.Millisecond)
		p.end([]os.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2])
		time.Sleep(200 * time.Millisecond)
	}
	sent := sender.sent()
	startPinned(t, s.cgroup, dir, pin, 256<<10, "").end(syscall.SIGTERM)
	startPinned(t, s.cgroup, dir, pin, 256<<10, "").end(syscall.SIGTERM) // it states what came after the last seal
	in, out := numbers(t, dir)
	lost, told := missing(t, in, sent)+missing(t, out, sent), lossesOf(t, dir)
	if lost == 0 || lost != told {
		t.Errorf("%d are missing, %d are stated", lost, told)
	}
	t.Logf("%d packets, %d lost", len(in)+len(out), lost)
}

// TestPinsOfAnotherForm changes the buffer's size, what is kept of a packet, and the release
// between two recorders. How much the buffer then has, or has lost, is a matter of time.
func TestPinsOfAnotherForm(t *testing.T) {
	for _, row := range []struct {
		name   string
		buffer int
		more   string
		edit   func(pin string)
		known  bool // what the first recorder left in the kernel
	}{
		{"another size of the buffer", 4 << 20, "", nil, true},
		{"other settings", 8 << 20, "headers", nil, true},
		{"a generation that was not finished", 8 << 20, "", func(pin string) { must(0, os.Mkdir(filepath.Join(pin, "9"), 0o700)) }, true},
		{"another release", 8 << 20, "", func(pin string) {
			m := must(ebpf.LoadPinnedMap(filepath.Join(pin, "1", "ledger"), nil))
			defer m.Close()
			b := make([]byte, 16)
			must(0, m.Lookup(uint32(0), &b))
			binary.NativeEndian.PutUint64(b, 99)
			must(0, m.Put(uint32(0), b))
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			pin, dir := pinFolder(t), filepath.Join(t.TempDir(), "ring")
			s := newStage(t, "scene idle")
			p := startPinned(t, s.cgroup, dir, pin, 8<<20, "")
			sender := startStage(t, "counted", s.cgroup, syscall.CLONE_NEWNET)
			time.Sleep(100 * time.Millisecond)
			p.end(syscall.SIGTERM)
			time.Sleep(50 * time.Millisecond)
			sent := sender.sent()
			if row.edit != nil {
				row.edit(pin)
			}
			startPinned(t, s.cgroup, dir, pin, row.buffer, row.more).end(syscall.SIGTERM)
			in, out := numbers(t, dir)
			gone := int64(missing(t, in, sent) + missing(t, out, sent))
			var resumed *ring.Resumed
			for _, x := range records(t, dir) {
				if x.Start != nil && x.Start.Resumed != nil {
					resumed = x.Start.Resumed
				}
			}
			if resumed == nil {
				t.Fatal("the second recorder says nothing of the first")
			}
			switch waited := resumed.Waiting > 0; {
			case !row.known && (resumed.Lost != -1 || gone == 0),
				row.known && (waited != (row.more == "") || resumed.Lost > int64(resumed.Dropped) || gone != int64(lossesOf(t, dir))):
				t.Errorf("%d of %d are missing, the record says %+v", gone, 2*sent, resumed)
			}
			if list := must(os.ReadDir(pin)); len(list) != 3 { // hooks, owners and one generation
				t.Errorf("%v is left", list)
			}
		})
	}
}

// TestPinsOfBoth kills and stops recorders of sockets and interfaces. What passed while none ran is
// in the ring for sockets; for interfaces each recorder says that it cannot be.
func TestPinsOfBoth(t *testing.T) {
	pin, dir := pinFolder(t), filepath.Join(t.TempDir(), "ring")
	s := newStage(t, "scene idle")
	var sender *stage
	start := func() *pinned {
		p := launchPinned(t, s.cgroup, dir, pin, 64<<20, "both")
		var said []string
		for range 2 {
			p.lines.Scan()
			said = append(said, p.lines.Text())
		}
		slices.Sort(said)
		if said[0] != "ready " || !strings.HasPrefix(said[1], "ready not recorded: frames of interfaces that pass while no recorder runs") {
			t.Fatalf("the recorders say %q", said)
		}
		return p
	}
	for round := range 4 {
		p := start()
		if sender == nil {
			sender = startStage(t, "counted", s.cgroup, syscall.CLONE_NEWNET)
		}
		time.Sleep(100 * time.Millisecond)
		p.end([]os.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2])
		time.Sleep(50 * time.Millisecond)
	}
	last := sender.sent()
	start().end(syscall.SIGTERM)
	in, out := numbers(t, dir)
	if gone := missing(t, in, last) + missing(t, out, last); gone != lossesOf(t, dir) {
		t.Errorf("of %d packets %d are missing, %d are stated", 2*last, gone, lossesOf(t, dir))
	}
	waited := uint64(0)
	for _, x := range records(t, dir) {
		if x.Start != nil && x.Start.Resumed != nil {
			waited += x.Start.Resumed.Waiting
		}
	}
	if waited == 0 {
		t.Error("no recorder took packets that waited in the kernel")
	}
}

// TestAnotherRecorderInBetween records without pins after a recorder with pins: what waits in the
// kernel is in the ring already.
func TestAnotherRecorderInBetween(t *testing.T) {
	pin, dir := pinFolder(t), filepath.Join(t.TempDir(), "ring")
	s := newStage(t, "scene idle")
	nowhere := filepath.Join(t.TempDir(), "pcapsule")
	lacks := "ready not recorded: packets that pass while no recorder runs (" + filepath.Dir(nowhere) + ": not a BPF file system: mount one, in a container from the host)"
	startPinned(t, s.cgroup, dir, pin, 16<<20, "").end(syscall.SIGTERM)
	p := startLacking(t, lacks, s.cgroup, dir, nowhere, 16<<20, "")
	sender := startStage(t, "counted", s.cgroup, syscall.CLONE_NEWNET)
	time.Sleep(50 * time.Millisecond)
	last := sender.sent()
	p.end(syscall.SIGTERM)
	startPinned(t, s.cgroup, dir, pin, 16<<20, "").end(syscall.SIGTERM)
	in, out := numbers(t, dir)
	if a, b := missing(t, in, last), missing(t, out, last); a+b != 0 {
		t.Errorf("of %d packets %d and %d are missing", last, a, b)
	}
}

// TestPinIsRemoved removes what a recorder left.
func TestPinIsRemoved(t *testing.T) {
	pin, dir := pinFolder(t), filepath.Join(t.TempDir(), "ring")
	s := newStage(t, "scene idle")
	p := startPinned(t, s.cgroup, dir, pin, 1<<20, "")
	if removed, err := Unpin(pin); removed || err == nil {
		t.Errorf("removed while a recorder runs: %v, %v", removed, err)
	}
	startLacking(t, "ready not recorded: packets that pass while no recorder runs (locking "+pin+": another recorder uses it)", s.cgroup, dir+"2", pin, 1<<20, "").end(syscall.SIGTERM)
	p.end(syscall.SIGTERM)
	if removed, err := Unpin(pin); !removed || err != nil {
		t.Errorf("%v, %v", removed, err)
	}
	if _, err := os.Stat(pin); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if removed, err := Unpin(pin); removed || err != nil {
		t.Errorf("a second time: %v, %v", removed, err)
	}
	nowhere := filepath.Join(t.TempDir(), "pcapsule")
	startLacking(t, "ready not recorded: packets that pass while no recorder runs ("+filepath.Dir(nowhere)+": not a BPF file system: mount one, in a container from the host)", s.cgroup, dir, nowhere, 1<<20, "").end(syscall.SIGTERM)
}
