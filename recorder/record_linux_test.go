package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

func TestMain(m *testing.M) {
	play()
	os.Exit(m.Run())
}

func payloadLen(ip []byte) int {
	at, next := 40, ip[6]
	if ip[0]>>4 == 4 {
		at, next = int(ip[0]&15)*4, ip[9]
	}
	if next == 6 {
		return len(ip) - at - int(ip[at+12]>>4)*4
	}
	return len(ip) - at - 8
}

// TestFloodBalances overflows a ring buffer of the smallest size: every packet must be in the
// file or be counted as lost.
func TestFloodBalances(t *testing.T) {
	s := newStage(t, "scene idle")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	const count = 30000
	stats := record(t, Options{File: out, Cgroup: s.cgroup, RingBuffer: 16 << 10}, func() {
		s.run(s.cgroup, fmt.Sprint("flood ", count))
	})
	packets := readAll(t, out)
	var reported uint64
	for _, p := range packets {
		reported += p.drops
	}
	if stats.Seen != 2*count || stats.Dropped == 0 || stats.Delivered != uint64(len(packets)) {
		t.Errorf("%+v, %d packets in the file", stats.Counters, len(packets))
	}
	if reported == 0 || reported > stats.Dropped {
		t.Errorf("packets report %d as lost, the recording %d", reported, stats.Dropped)
	}
	t.Logf("seen %d, delivered %d, dropped %d, of which packets report %d", stats.Seen, stats.Delivered, stats.Dropped, reported)
	sameCount(t, out, len(packets))
}

func mustLook(t testing.TB, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("needs " + name)
	}
	return path
}

// sameCount checks with tcpdump and tshark how many packets are in a file.
func sameCount(t *testing.T, path string, want int) {
	t.Helper()
	for _, args := range [][]string{{"tcpdump", "-nr", path, "-q"}, {"tshark", "-nr", path, "-T", "fields", "-e", "frame.number"}} {
		tool, err := exec.LookPath(args[0])
		if err != nil {
			t.Skip("needs " + args[0])
		}
		text, err := exec.Command(tool, args[1:]...).Output()
		if err != nil {
			t.Fatalf("%s: %v", args[0], err)
		}
		if got := bytes.Count(text, []byte{'\n'}); got != want {
			t.Errorf("%s read %d packets from %s, want %d", args[0], got, path, want)
		}
	}
}

// TestRing records into a ring of small segments: each must open by itself, and together they
// must have every packet once.
func TestRing(t *testing.T) {
	s := newStage(t, "scene prefork")
	dir := filepath.Join(t.TempDir(), "ring")
	var facts []truth
	stats := record(t, Options{Ring: &ring.Options{Dir: dir, SegmentBytes: 16 << 10}, Cgroup: s.cgroup}, func() { facts = s.play() })
	names, err := filepath.Glob(filepath.Join(dir, "sockets-*.pcapng"))
	if err != nil || len(names) < 3 {
		t.Fatalf("%d segments, %v", len(names), err)
	}
	var all []seen
	var owners []ownerLine
	for _, name := range names {
		packets := readAll(t, name)
		sameCount(t, name, len(packets))
		all = append(all, packets...)
		if side, err := os.Stat(strings.TrimSuffix(name, ".pcapng") + ".owners.jsonl"); err != nil || side.Size() == 0 {
			t.Errorf("segment %s has no owners: %v", name, err)
			continue
		}
		owners = append(owners, readOwners(t, strings.TrimSuffix(name, ".pcapng")+".owners.jsonl")...)
	}
	segments, err := ring.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	var sealed uint64
	for _, seg := range segments {
		if seg.Seal == nil || seg.Seal.Balanced == nil || !*seg.Seal.Balanced || seg.Seal.Clock == nil {
			t.Errorf("seal of %s: %+v", seg.ID, seg.Seal)
			continue
		}
		sealed += seg.Seal.Packets
		if seg.Seal.Counters.Delivered != sealed {
			t.Errorf("seal of %s counts %d delivered, the segments so far have %d", seg.ID, seg.Seal.Counters.Delivered, sealed)
		}
	}
	if uint64(len(all)) != stats.Delivered {
		t.Errorf("segments have %d packets, %d were delivered", len(all), stats.Delivered)
	}
	for i := 1; i < len(all); i++ {
		if all[i].id != all[i-1].id+1 {
			t.Errorf("packet id %x follows %x", all[i].id, all[i-1].id)
		}
	}
	c, ok := workload.ParseInterfaceComment(all[0].iface.Comments[0])
	if !ok || c.How != "cgroup" || c.Cgroup != "/"+filepath.Base(s.cgroup) {
		t.Errorf("interface comment %q", all[0].iface.Comments)
	}
	for _, fact := range facts {
		checkOwner(t, fact, all, owners)
	}
}

// TestEvents checks that the events file has what the scene's processes did.
func TestEvents(t *testing.T) {
	s := newStage(t, "scene prefork")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	record(t, Options{File: out, Cgroup: s.cgroup}, func() { s.play() })
	b, err := os.ReadFile(strings.TrimSuffix(out, ".pcapng") + ".events")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(string(b)) {
		var l struct {
			Kind     string
			Cgroup   string
			ExitCode *int `json:"exit_code"`
			Args     []string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		kinds[l.Kind]++
		if l.Cgroup != "/"+filepath.Base(s.cgroup) {
			t.Errorf("event of another control group: %s", line)
		}
		if l.Kind == "exit" && (l.ExitCode == nil || *l.ExitCode != 0) || l.Kind == "exec" && len(l.Args) == 0 {
			t.Errorf("incomplete: %s", line)
		}
	}
	if kinds["exec"] != 6 || kinds["exit"] < 7 || kinds["tcp_state"] < 9 {
		t.Errorf("events by kind: %v", kinds)
	}
}

// TestFilterAndHeaders records with a filter, and only headers.
func TestFilterAndHeaders(t *testing.T) {
	s := newStage(t, "scene prefork")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	stats := record(t, Options{File: out, Cgroup: s.cgroup, Filter: "tcp and greater 200", HeadersOnly: true, Comments: true}, func() { s.play() })
	packets := readAll(t, out)
	if stats.Filtered == 0 || len(packets) == 0 {
		t.Fatalf("%+v", stats.Counters)
	}
	for _, p := range packets {
		if p.OrigLen < 200 || len(p.Data) > 100 || payloadLen(p.ip) != 0 {
			t.Errorf("packet of %d bytes, %d kept", p.OrigLen, len(p.Data))
		}
		if c := pcapng.Comments(p.Options, p.BigEndian); p.out && (len(c) != 1 || !strings.Contains(c[0], "known=writer")) {
			t.Errorf("comments %q", c)
		}
	}
}

// TestInterfaces records the frames of a loopback without eBPF, and compares them with what
// was sent on its sockets.
func TestInterfaces(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.pcapng")
	type result struct {
		s   Stats
		err error
	}
	ended := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its network
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ended <- result{err: &PrivilegeError{Err: err}}
			return
		}
		loopbackUp()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		s, err := Run(ctx, Options{Capture: Interfaces, File: out, Filter: "udp", RingBuffer: 32 << 20, Interface: []string{"lo"}, OnError: func(err error) { t.Error(err) },
			OnStart: func(Started) {
				c := child("flood 1000", nil)
				if err := c.Wait(); err != nil {
					t.Error(err)
				}
				time.AfterFunc(100*time.Millisecond, cancel)
			}})
		ended <- result{s, err}
	}()
	r := <-ended
	var right *PrivilegeError
	if errors.As(r.err, &right) {
		t.Skip("needs CAP_BPF: here CAP_NET_RAW and CAP_SYS_ADMIN: ", r.err)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	if r.s.Delivered != 1000 || !r.s.Balanced() {
		t.Errorf("%+v", r.s)
	}
	sameCount(t, out, 1000)
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rd, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapng.Batch
	if err := rd.Next(&b); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	for _, p := range b.Packets {
		if len(p.Data) != 14+28+1000 || p.LinkType != linkEthernet || b.Interfaces[p.Interface].Name == "" {
			t.Fatalf("frame of %d bytes, link type %d", len(p.Data), p.LinkType)
		}
	}
}

// TestShortLivedGroup checks that packets of a control group that was removed before they
// are read still have its name.
func TestShortLivedGroup(t *testing.T) {
	s := newStage(t, "scene idle")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	job := filepath.Join(s.cgroup, "kubepods-besteffort-pod11111111_2222_3333_4444_555555555555.slice")
	record(t, Options{File: out, Cgroup: s.cgroup}, func() {
		for _, dir := range []string{job, filepath.Join(job, "cri-containerd-"+id+".scope")} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s.run(filepath.Join(job, "cri-containerd-"+id+".scope"), "flood 5")
		for _, dir := range []string{filepath.Join(job, "cri-containerd-"+id+".scope"), job} {
			for range 50 {
				if os.Remove(dir) == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
	})
	packets := readAll(t, out)
	if len(packets) != 10 {
		t.Fatalf("%d packets, want 10", len(packets))
	}
	c, ok := workload.ParseInterfaceComment(packets[0].iface.Comments[0])
	if !ok || c.Identity.PodUID != "11111111-2222-3333-4444-555555555555" || c.Identity.Container != id[:12] || !strings.HasSuffix(c.Cgroup, id+".scope") {
		t.Errorf("interface %q, comment %+v", packets[0].iface.Name, c)
	}
}

// TestOwnTrafficIsLeftOut checks that the recorder's own packets count as filtered.
func TestOwnTrafficIsLeftOut(t *testing.T) {
	s := newStage(t, "own")
	if !s.out.Scan() {
		t.Skip("needs CAP_BPF")
	}
	if got := s.out.Text(); got != "own 0 200" {
		t.Errorf("%q, want 200 packets filtered and none delivered", got)
	}
}

// recordInside records in its own PID namespace, with its own /proc, and prints what the
// recording lacks and which processes it names.
func recordInside() {
	must(0, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(0, unix.Mount("proc", "/proc", "proc", 0, ""))
	loopbackUp()
	dir := must(os.MkdirTemp("", "inside"))
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	stats := must(Run(ctx, Options{File: filepath.Join(dir, "a.pcapng"), Cgroup: os.Getenv(insideEnv), NoNames: true, NoEvents: true, OnStart: func(s Started) {
		fmt.Println(strings.Join(s.Degraded, "; "))
		time.Sleep(300 * time.Millisecond)
		cancel()
	}}))
	text, _ := os.ReadFile(filepath.Join(dir, "a.owners.jsonl")) // there is no such file without owners
	for line := range strings.Lines(string(text)) {
		var l ownerLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Name != "" {
			fmt.Print(line)
		}
	}
	fmt.Println("packets:", stats.Delivered > 10)
}

const insideEnv = "PCAPSULE_TEST_CGROUP"

// TestInsideAPIDNamespace checks that the recording reports it if the kernel's process IDs
// are not those of /proc, and does not name processes by them.
func TestInsideAPIDNamespace(t *testing.T) {
	talks := newStage(t, "numbered 1")
	time.Sleep(100 * time.Millisecond)
	t.Setenv(insideEnv, talks.cgroup)
	s := startStage(t, "inside", talks.cgroup, syscall.CLONE_NEWNET|syscall.CLONE_NEWPID|syscall.CLONE_NEWNS)
	const want = "not recorded: names of processes that ran before, owners of sockets opened before the recording (the recorder runs in its own PID namespace: run it in the host's, with hostPID: true or --pid=host)"
	if !s.out.Scan() || s.out.Text() != want {
		t.Fatalf("the recording lacks %q", s.out.Text())
	}
	if !s.out.Scan() || s.out.Text() != "packets: true" {
		t.Errorf("a process is named: %s", s.out.Text())
	}
}

// TestResetsAndDrops checks the events of a connection without a listener.
func TestResetsAndDrops(t *testing.T) {
	s := newStage(t, "scene refused")
	out := filepath.Join(t.TempDir(), "out.pcapng")
	record(t, Options{File: out, Cgroup: s.cgroup}, func() { s.play() })
	b, err := os.ReadFile(strings.TrimSuffix(out, ".pcapng") + ".events")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(`"kind":"tcp_reset_received"`)) {
		t.Errorf("no reset in %s", b)
	}
}

// TestStreamIsLive checks that packets are in the stream while recording continues.
func TestStreamIsLive(t *testing.T) {
	s := newStage(t, "scene prefork")
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	live := make(chan int, 1)
	go func() {
		head, packets := make([]byte, 8), 0
		for {
			if _, err := io.ReadFull(pr, head); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, pr, int64(le32(head[4:]))-8); err != nil {
				return
			}
			if head[0] == 6 {
				packets++
			}
			if packets == 20 {
				live <- packets
			}
		}
	}()
	record(t, Options{Stream: pw, Cgroup: s.cgroup}, func() {
		s.play()
		select {
		case <-live:
		case <-time.After(30 * time.Second):
			t.Error("no packets in the stream")
		}
	})
	pw.Close()
}

// TestBoth records a loopback's sockets and frames into two series of one ring.
func TestBoth(t *testing.T) {
	s := newStage(t, "both")
	if !s.out.Scan() {
		t.Skip("needs CAP_BPF")
	}
	var sockets, interfaces, dropped int
	if n, err := fmt.Sscanf(s.out.Text(), "both %d %d %d", &sockets, &interfaces, &dropped); n != 3 || sockets != 200 || interfaces != 100 || dropped != 0 {
		t.Errorf("%q: %v; want 200 packets of sockets, 100 frames", s.out.Text(), err)
	}
	for s.out.Scan() { // until its children end
	}
}

// BenchmarkSmallPackets sends UDP packets of 64 bytes over a loopback as fast as it can;
// each is seen twice. recorder-ns is the recorder's CPU time for one of them, with owners.
func BenchmarkSmallPackets(b *testing.B) {
	s := newStage(b, "scene idle")
	var before, after unix.Rusage
	stats := record(b, Options{Stream: io.Discard, Sight: sight.Both, Cgroup: s.cgroup, OnError: func(err error) { b.Error(err) }}, func() {
		must(0, unix.Getrusage(unix.RUSAGE_SELF, &before))
		b.ResetTimer()
		s.run(s.cgroup, fmt.Sprint("small ", b.N))
		b.StopTimer()
	})
	must(0, unix.Getrusage(unix.RUSAGE_SELF, &after))
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(max(stats.Seen, 1)), "recorder-ns/packet")
	b.ReportMetric(float64(stats.Seen)/b.Elapsed().Seconds(), "packets/s")
	b.ReportMetric(float64(stats.Dropped), "lost")
}
