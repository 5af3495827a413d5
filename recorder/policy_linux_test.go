package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// chat plays parts that exchange UDP datagrams on the loopback: with themselves or with others.
func chat(name, arg string) {
	f := strings.SplitN(arg, " ", 3)
	var port, count int
	must(fmt.Sscan(f[0], &port))
	must(fmt.Sscan(f[1], &count))
	to := fmt.Sprintf("127.0.0.1:%d", port)
	if name != "send" {
		l := must(net.ListenPacket("udp4", to))
		if name == "hear" {
			must(0, os.WriteFile(f[2], nil, 0o600)) // the test waits for this file
			for range count {
				sure(l.ReadFrom(make([]byte, 2000)))
			}
			return
		}
	}
	c := must(net.Dial("udp4", to))
	for range count {
		must(c.Write([]byte(f[2])))
	}
}

func sure[A, B any](_ A, _ B, err error) { must(0, err) }

// pods is a workload.Source that knows pods by their UID.
type pods struct {
	mu      sync.Mutex
	known   map[string]workload.Identity
	addrs   map[netip.Addr]workload.Identity
	changes []workload.Change
}

func (s *pods) Find(k workload.Key) (workload.InterfaceComment, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.known[k.PodUID]
	if !ok {
		id, ok = s.addrs[k.Addr]
	}
	return workload.InterfaceComment{Identity: id, How: "cgroup"}, ok
}

func (s *pods) Take(int) (changes []workload.Change, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, s.changes = s.changes, nil
	return changes, 0
}

func (s *pods) learn(uid string, id workload.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[uid] = id
	s.changes = append(s.changes, workload.Change{PodUID: uid})
}

const (
	shopUID = "11111111-1111-1111-1111-111111111111"
	payUID  = "22222222-2222-2222-2222-222222222222"
)

func podIdentity(namespace, pod string, labels ...workload.Label) workload.Identity {
	return workload.Identity{Kind: "pod", Namespace: namespace, Pod: pod, Workload: pod, WorkloadKind: "Deployment", Labels: labels}
}

// pod creates a pod's control group below the stage's.
func (s *stage) pod(uid string) string {
	s.t.Helper()
	dir := filepath.Join(s.cgroup, "kubepods-besteffort-pod"+strings.ReplaceAll(uid, "-", "_")+".slice")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		for range 500 {
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return dir
}

func twoPods() *pods {
	return &pods{known: map[string]workload.Identity{shopUID: podIdentity("shop", "web"), payUID: podIdentity("pay", "billing", workload.Label{Name: "tier", Value: "secret"})}}
}

func selecting(t testing.TB, pairs ...string) *policy.Policy {
	t.Helper()
	p := &policy.Policy{}
	for i := 0; i < len(pairs); i += 2 {
		var err error
		switch pairs[i] {
		case "never":
			err = p.AddNever(pairs[i+1])
		case "age":
			err = p.AddAge(pairs[i+1])
		case "unknown":
			p.Unknown = policy.Unknown(pairs[i+1])
		default:
			err = p.Only.Add(pairs[i], pairs[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestPolicyOfSockets makes two pods and a process of the node send packets, and checks
// whose packets are on disk: 20 datagrams each, seen where they leave and where they arrive.
func TestPolicyOfSockets(t *testing.T) {
	const shop, pay, host = "from shop", "from pay", "from host"
	for _, c := range []struct {
		name   string
		policy []string
		want   map[string]int // packets, by their payload
		never  uint64
	}{
		{"a namespace", []string{"namespace", "shop"}, map[string]int{shop: 40}, 0},
		{"a pod by pattern", []string{"pod", "bill*"}, map[string]int{pay: 40}, 0},
		{"a label", []string{"label", "tier=secret"}, map[string]int{pay: 40}, 0},
		{"a process", []string{"process", filepath.Base(must(os.Executable()))}, map[string]int{shop: 40, pay: 40, host: 40}, 0},
		{"another process", []string{"process", "nginx"}, map[string]int{}, 0},
		{"never a namespace", []string{"never", "namespace=pay"}, map[string]int{shop: 40, host: 40}, 40},
		{"never a workload", []string{"never", "workload=shop/w*"}, map[string]int{pay: 40, host: 40}, 40},
		{"never a port", []string{"never", "port=7001-7002"}, map[string]int{host: 40}, 80},
		{"never a pattern", []string{"never", "pattern=from (shop|host)"}, map[string]int{pay: 40}, 80},
		{"one namespace, and never another", []string{"namespace", "*", "never", "namespace=pay"}, map[string]int{shop: 40}, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, "scene idle")
			web, billing := s.pod(shopUID), s.pod(payUID)
			out := filepath.Join(t.TempDir(), "out.pcapng")
			stats := record(t, Options{File: out, Cgroup: s.cgroup, Source: twoPods(), NoNames: true, Policy: selecting(t, c.policy...)}, func() {
				s.run(web, "say 7001 20 "+shop)
				s.run(billing, "say 7002 20 "+pay)
				s.run(s.cgroup, "say 7003 20 "+host)
			})
			got := map[string]int{}
			for _, p := range readAll(t, out) {
				got[string(p.ip[28:])]++
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			if stats.Policy != c.never || stats.Seen != 120 {
				t.Errorf("%d of %d by policy, want %d of 120", stats.Policy, stats.Seen, c.never)
			}
			checkUnnamed(t, out, c.want[pay] == 0 && !strings.Contains(c.policy[1], "port"))
		})
	}
}

// checkUnnamed checks that a forbidden workload has no packets, names or processes on disk.
func checkUnnamed(t *testing.T, out string, forbidden bool) {
	t.Helper()
	files, err := filepath.Glob(strings.TrimSuffix(out, "pcapng") + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		// The section header contains the policy itself, which names what it forbids.
		if forbidden && (bytes.Contains(b, []byte("billing")) || bytes.Contains(b, []byte(payUID))) {
			t.Errorf("%s names who must not be recorded", filepath.Base(f))
		}
	}
}

// TestPolicyOfBothEnds: a rule about one end of a conversation applies to the packets of the
// other end too, from the first one on.
func TestPolicyOfBothEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy []string
		want   int
	}{
		{"the receiver is forbidden", []string{"never", "namespace=pay"}, 0},
		{"the receiver is wanted", []string{"namespace", "pay"}, 40},
		{"no rule matches", []string{"never", "namespace=other"}, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, "scene idle")
			web, billing := s.pod(shopUID), s.pod(payUID)
			dir := t.TempDir()
			out, ready := filepath.Join(dir, "out.pcapng"), filepath.Join(dir, "ready")
			source := twoPods()
			stats := record(t, Options{File: out, Cgroup: s.cgroup, Source: source, NoNames: true, Policy: selecting(t, c.policy...)}, func() {
				var hear sync.WaitGroup
				hear.Go(func() { s.run(billing, "hear 7004 20 "+ready) })
				until(t, func() bool { _, err := os.Stat(ready); return err == nil })
				s.run(web, "send 7004 20 hello")
				hear.Wait()
			})
			if n := len(readAll(t, out)); n != c.want || stats.Seen != 40 {
				t.Errorf("%d packets of %d, want %d", n, stats.Seen, c.want)
			}
		})
	}
}

// until waits until a condition is true, long enough for a busy machine.
func until(t testing.TB, is func() bool) {
	t.Helper()
	for range 3000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the condition was not true within 30 s")
}

// TestUnknownOwners covers a pod whose name arrives late.
func TestUnknownOwners(t *testing.T) {
	for _, c := range []struct {
		name          string
		policy        []string
		before, after int
	}{
		{"what may be forbidden is dropped until it is known", []string{"never", "namespace=pay"}, 0, 40},
		{"what may be forbidden is kept if the policy says so", []string{"never", "namespace=pay", "unknown", "keep"}, 40, 40},
		{"what may be wanted is kept until it is known", []string{"namespace", "pay"}, 40, 0},
		{"what may be wanted is dropped if the policy says so", []string{"namespace", "pay", "unknown", "drop"}, 0, 0},
		{"what is wanted is dropped until it is known", []string{"namespace", "shop", "unknown", "drop"}, 0, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, "scene idle")
			web := s.pod(shopUID)
			source := &pods{known: map[string]workload.Identity{}}
			out := filepath.Join(t.TempDir(), "out.pcapng")
			var last Stats
			var mu sync.Mutex
			seen := func(n uint64) func() bool {
				return func() bool { mu.Lock(); defer mu.Unlock(); return last.Seen >= n }
			}
			stats := record(t, Options{File: out, Cgroup: s.cgroup, Source: source, NoNames: true, Policy: selecting(t, c.policy...),
				Every: 10 * time.Millisecond, OnStats: func(s Stats) { mu.Lock(); last = s; mu.Unlock() }}, func() {
				s.run(web, "say 7001 20 before")
				until(t, seen(40))
				source.learn(shopUID, podIdentity("shop", "web"))
				until(t, func() bool { source.mu.Lock(); defer source.mu.Unlock(); return source.changes == nil })
				s.run(web, "say 7001 20 after")
				until(t, seen(80))
			})
			got := map[string]int{}
			for _, p := range readAll(t, out) {
				got[string(p.ip[28:])]++
			}
			if got["before"] != c.before || got["after"] != c.after || stats.Seen != 80 {
				t.Errorf("%v of %d, want %d before and %d after", got, stats.Seen, c.before, c.after)
			}
		})
	}
}

// TestRefusedPolicies checks that a recording that cannot apply its policy does not start.
func TestRefusedPolicies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.pcapng")
	for _, c := range []struct {
		name   string
		o      Options
		policy []string
	}{
		{"unknown names", Options{File: file, NoNames: true}, []string{"never", "namespace=pay"}},
		{"retention times in a file", Options{File: file, Source: twoPods()}, []string{"age", "pay:1h"}},
		{"processes without owners", Options{File: file, NoOwners: true}, []string{"never", "process=x"}},
		{"processes of frames", Options{File: file, Capture: Interfaces, Source: twoPods()}, []string{"never", "process=x"}},
		{"frames without owners", Options{File: file, Capture: Interfaces}, []string{"namespace", "shop"}},
		{"a retention time for frames", Options{Ring: &ring.Options{Dir: t.TempDir()}, Capture: Both, Source: twoPods()}, []string{"age", "pay:1h"}},
	} {
		c.o.Policy = selecting(t, c.policy...)
		_, err := Run(t.Context(), c.o)
		var right *PrivilegeError
		if errors.As(err, &right) {
			t.Skip("needs CAP_BPF: ", err)
		}
		if !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: error %v", c.name, err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: a file is left", c.name)
		}
	}
}

// TestPolicyOfFrames covers policies for interfaces: by port, payload and address.
func TestPolicyOfFrames(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy string
		who    string // namespace of 127.0.0.1; "" is unknown
		want   int
	}{
		{"never a port", "port=7001", "", 20},
		{"never a pattern", "pattern=^sec..t", "", 20},
		{"never a namespace", "namespace=pay", "pay", 0},
		{"another namespace", "namespace=pay", "shop", 40},
		{"an unknown owner", "namespace=pay", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, "scene idle")
			out := filepath.Join(t.TempDir(), "out.pcapng")
			source := &pods{known: map[string]workload.Identity{}, addrs: map[netip.Addr]workload.Identity{}}
			if c.who != "" {
				source.addrs[netip.MustParseAddr("127.0.0.1")] = podIdentity(c.who, "x")
			}
			var stats Stats
			inNetwork(t, s.pid, func() {
				ctx, cancel := context.WithCancel(t.Context())
				var err error
				stats, err = Run(ctx, Options{File: out, Capture: Interfaces, Interface: []string{"lo"}, Filter: "udp", Source: source, Policy: selecting(t, "never", c.policy), OnStart: func(Started) {
					s.run(s.cgroup, "say 7001 20 secret")
					s.run(s.cgroup, "say 7002 20 other")
					cancel()
				}})
				if err != nil {
					t.Error(err)
				}
			})
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(b, []byte("secret")) + bytes.Count(b, []byte("other")); n != c.want || int(stats.Policy) != 40-c.want || int(stats.Delivered) != c.want {
				t.Errorf("%d frames, %d by policy; want %d", n, stats.Policy, c.want)
			}
		})
	}
}

// inNetwork calls do in the network of another process, on a thread that ends with it.
func inNetwork(t *testing.T, pid int, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		lockThread()
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil {
			defer f.Close()
			err = setNetwork(int(f.Fd()))
		}
		if err != nil {
			t.Error(err)
			return
		}
		do()
	}()
	<-done
}

// TestAgesOfNamespaces checks that the packets of a namespace go into the series with its
// retention time, with their owner lines, and that packets which may belong to it do too.
func TestAgesOfNamespaces(t *testing.T) {
	s := newStage(t, "scene idle")
	web, billing := s.pod(shopUID), s.pod(payUID)
	source := twoPods()
	late := source.known[payUID]
	delete(source.known, payUID)
	dir := filepath.Join(t.TempDir(), "ring")
	var mu sync.Mutex
	var last Stats
	stats := record(t, Options{Ring: &ring.Options{Dir: dir, Reserve: ring.Reserve{Bytes: 1}}, Cgroup: s.cgroup, Source: source, NoNames: true, Policy: selecting(t, "age", "pay:1h", "age", "shop:30m", "age", "sh*:2h"),
		Every: 10 * time.Millisecond, OnStats: func(s Stats) { mu.Lock(); last = s; mu.Unlock() }}, func() {
		s.run(web, "say 7001 20 of shop")
		s.run(s.cgroup, "say 7003 20 of the node")
		s.run(billing, "say 7002 20 of nobody yet")
		until(t, func() bool { mu.Lock(); defer mu.Unlock(); return last.Seen == 120 })
		source.learn(payUID, late)
		until(t, func() bool { source.mu.Lock(); defer source.mu.Unlock(); return source.changes == nil })
		s.run(billing, "say 7002 20 of pay")
	})
	want := map[string]string{"of shop": "sockets_30m", "of the node": "sockets", "of nobody yet": "sockets_30m", "of pay": "sockets_1h"}
	segments, err := ring.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	var sum ring.Counters
	packets := 0
	for _, seg := range segments {
		for _, p := range readAll(t, seg.Path) {
			packets++
			if said := string(p.ip[28:]); want[said] != seg.ID.Series {
				t.Errorf("%q is in %s", said, seg.ID)
			}
		}
		c := seg.Seal.Counters
		if c == nil || !c.Balanced() || c.Delivered != seg.Seal.Packets {
			t.Errorf("%s: %+v of %d packets", seg.ID, c, seg.Seal.Packets)
			continue
		}
		sum.Seen += c.Seen
		of := map[int]bool{}
		for _, p := range readAll(t, seg.Path) {
			of[int(p.owner)] = true
		}
		for _, l := range readOwners(t, strings.TrimSuffix(seg.Path, "pcapng")+"owners.jsonl") {
			if l.Process != "" && !of[l.PID] {
				t.Errorf("%s: a line of process %d, whose packets are in other segments", seg.ID, l.PID)
			}
			delete(of, l.PID)
		}
		if len(of) != 0 {
			t.Errorf("%s: no lines of processes %v", seg.ID, of)
		}
	}
	if packets != 160 || sum.Seen != stats.Seen || len(segments) != 3 {
		t.Errorf("%d packets in %d segments, %d seen in all, %d in the seals", packets, len(segments), stats.Seen, sum.Seen)
	}
}

// TestCountersAtEachSeal checks that each seal accounts for every packet up to its own last
// one, while packets arrive at full speed and segments end by size and by time.
func TestCountersAtEachSeal(t *testing.T) {
	for _, o := range []struct {
		name    string
		options Options
		ring    ring.Options
	}{
		{"by size", Options{}, ring.Options{SegmentBytes: 1 << 20}},
		{"by time", Options{}, ring.Options{SegmentTime: 15 * time.Millisecond, FlushEvery: 4 * time.Millisecond}},
		{"with forbidden packets", Options{Policy: selecting(t, "never", "port=7001")}, ring.Options{SegmentBytes: 1 << 19}},
	} {
		t.Run(o.name, func(t *testing.T) {
			s := newStage(t, "scene idle")
			o.ring.Dir = filepath.Join(t.TempDir(), "ring")
			o.options.Ring, o.options.Cgroup, o.options.NoNames = &o.ring, s.cgroup, true
			stats := record(t, o.options, func() {
				var all sync.WaitGroup
				for i := range 3 {
					all.Go(func() { s.run(s.cgroup, fmt.Sprintf("say %d 20000 some text", 7001+i)) })
				}
				all.Wait()
			})
			segments, err := ring.Segments(o.ring.Dir)
			if err != nil {
				t.Fatal(err)
			}
			var packets uint64
			for _, seg := range segments {
				packets += seg.Seal.Packets
				c := seg.Seal.Counters
				if c == nil || !c.Balanced() || c.Delivered != packets || c.Seen != c.Filtered+c.Delivered+c.Dropped {
					t.Fatalf("%s: counters %+v after %d packets", seg.ID, c, packets)
				}
				checkStatistics(t, seg.Path, packets)
			}
			if len(segments) < 3 || packets != stats.Delivered || o.options.Policy != nil && stats.Policy != 40000 {
				t.Errorf("%d segments with %d packets; %+v", len(segments), packets, stats.Counters)
			}
		})
	}
}

// checkStatistics checks that the statistics of a segment's interfaces count its packets.
func checkStatistics(t *testing.T, path string, want uint64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var delivered uint64
	r, err := pcapng.NewReader(f, pcapng.Options{OnBlock: func(b pcapng.Block) {
		if b.Type == pcapng.BlockStatistics {
			s, err := pcapng.ParseStatistics(b)
			if err != nil {
				t.Error(err)
			}
			delivered += s.Delivered.N
		}
	}})
	for b := (pcapng.Batch{}); err == nil; {
		err = r.Next(&b)
	}
	if err != io.EOF || delivered != want {
		t.Errorf("%s: statistics say %d delivered, want %d; %v", filepath.Base(path), delivered, want, err)
	}
}

// lockThread locks a goroutine to its thread, which ends with it.
func lockThread() { runtime.LockOSThread() }

func setNetwork(fd int) error { return unix.Setns(fd, unix.CLONE_NEWNET) }

// BenchmarkPolicy is BenchmarkSmallPackets with a policy to apply to each packet.
func BenchmarkPolicy(b *testing.B) {
	for _, c := range []struct {
		name   string
		policy []string
	}{{"none", nil}, {"port", []string{"never", "port=1"}}, {"namespace", []string{"never", "namespace=pay"}}, {"process", []string{"never", "process=nobody"}}, {"pattern", []string{"never", "pattern=[0-9]{16}"}}} {
		b.Run(c.name, func(b *testing.B) {
			s := newStage(b, "scene idle")
			var before, after unix.Rusage
			stats := record(b, Options{Stream: io.Discard, Sight: sight.Both, Cgroup: s.cgroup, NoNames: true, Source: twoPods(), Policy: selecting(b, c.policy...)}, func() {
				must(0, unix.Getrusage(unix.RUSAGE_SELF, &before))
				b.ResetTimer()
				s.run(s.cgroup, fmt.Sprint("small ", b.N))
				b.StopTimer()
			})
			must(0, unix.Getrusage(unix.RUSAGE_SELF, &after))
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/float64(max(stats.Seen, 1)), "recorder-ns/packet")
			b.ReportMetric(float64(stats.Policy), "by-policy")
		})
	}
}

// TestNothingButForbidden checks that a ring without packets counts the forbidden ones.
func TestNothingButForbidden(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := filepath.Join(t.TempDir(), "ring")
	record(t, Options{Ring: &ring.Options{Dir: dir}, Cgroup: s.cgroup, NoNames: true, Policy: selecting(t, "never", "port=7001")}, func() {
		s.run(s.cgroup, "say 7001 20 secret")
	})
	r, err := ring.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Segments) != 0 || len(r.Holes) != 1 || r.Holes[0].Reason != "policy" || r.Holes[0].Packets != 40 {
		t.Errorf("segments %v, gaps %+v", r.Segments, r.Holes)
	}
}

// TestCountersOfFramesAtEachSeal is TestCountersAtEachSeal for frames of interfaces.
func TestCountersOfFramesAtEachSeal(t *testing.T) {
	for _, o := range []ring.Options{{SegmentBytes: 1 << 19}, {SegmentTime: 15 * time.Millisecond, FlushEvery: 4 * time.Millisecond}} {
		s := newStage(t, "scene idle")
		dir := filepath.Join(t.TempDir(), "ring")
		o.Dir = dir
		var stats Stats
		inNetwork(t, s.pid, func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var err error
			stats, err = Run(ctx, Options{Ring: &o, Capture: Interfaces, Interface: []string{"lo"}, Policy: selecting(t, "never", "port=7001"), OnStart: func(Started) {
				go func() {
					defer cancel()
					s.run(s.cgroup, "say 7001 2000 some text")
					s.run(s.cgroup, "say 7002 20000 some text")
				}()
			}})
			if err != nil {
				t.Error(err)
			}
		})
		segments, err := ring.Segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		var packets uint64
		for _, seg := range segments {
			packets += seg.Seal.Packets
			c := seg.Seal.Counters
			if c == nil || !c.Balanced() || c.Delivered != packets {
				t.Fatalf("%s: counters %+v after %d packets", seg.ID, c, packets)
			}
			checkStatistics(t, seg.Path, packets)
		}
		if len(segments) < 2 || packets != stats.Delivered || stats.Policy != 2000 || stats.Seen != 44000 { // the loopback delivers each packet twice
			t.Errorf("%d segments with %d packets; %+v", len(segments), packets, stats.Counters)
		}
	}
}
