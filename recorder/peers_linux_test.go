package recorder

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// podSource finds pods by address and time, as far as the test has added them.
type podSource struct {
	mu   sync.Mutex
	pods []workload.Identity
	addr netip.Addr
}

func (s *podSource) Find(k workload.Key) (workload.InterfaceComment, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.Addr != s.addr {
		return workload.InterfaceComment{}, false
	}
	for _, id := range slices.Backward(s.pods) {
		if id.ValidFrom <= k.At && (id.ValidTo == 0 || k.At < id.ValidTo) {
			return workload.InterfaceComment{Identity: id, How: "address", Addresses: []netip.Addr{s.addr}}, true
		}
	}
	return workload.InterfaceComment{}, false
}

func (s *podSource) Take(int) ([]workload.Change, uint64) { return nil, 0 }

// TestPeersLines plays one minute in which an address passes from one pod to another, which
// the source learns late.
func TestPeersLines(t *testing.T) {
	const s = int64(1e9)
	a := netip.MustParseAddr("10.1.0.9")
	src := &podSource{addr: a}
	pod := func(name string, from, to int64) workload.Identity {
		return workload.Identity{Kind: "pod", Name: name, Pod: name, PodUID: "uid-" + name, Namespace: "shop", ValidFrom: from, ValidTo: to}
	}
	var lines []string
	p := peers{source: src, ring: "r", by: map[netip.Addr]*peer{}, write: func(l addressLine) {
		c, ok := workload.ParseInterfaceComment(string(l.Workload))
		if !ok || l.Address != "10.1.0.9" {
			t.Errorf("line %+v", l)
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprint(c.Identity.Pod, " ", short(l.From), " ", short(l.To))))
	}}
	begin := int64(1_772_442_000) * s
	for now := begin; now < begin+60*s; now += s / 10 {
		switch sec := (now - begin) / (s / 10); sec {
		case 20: // of a, since 0
			src.pods = []workload.Identity{pod("a", begin, 0)}
		case 330: // a ended at 25, b began at 30
			src.pods = []workload.Identity{pod("a", begin, begin+25*s), pod("b", begin+30*s, 0)}
		}
		if sec := (now - begin) / s; sec < 25 || sec >= 30 {
			p.note(a, now, 1)
		}
		p.work(now, false)
	}
	want := "a 00; b 30; a 00 25"
	got := strings.Join(lines, "; ")
	if got != want {
		t.Errorf("lines %q, want %q", got, want)
	}
	lines = nil
	p.note(a, begin+61*s, 2) // another segment must repeat it
	p.work(begin+61*s, true)
	if !slices.Contains(lines, "b 30") {
		t.Errorf("the next file has %q", lines)
	}
	for i := range maxPeers + 10 {
		p.note(netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}), begin, 3)
	}
	for _, no := range []string{"127.0.0.1", "::1", "224.0.0.251", "0.0.0.0"} {
		p.note(netip.MustParseAddr(no), begin, 3)
	}
	if len(p.by) > maxPeers || len(p.order) > maxPeers || p.by[netip.MustParseAddr("127.0.0.1")] != nil {
		t.Errorf("%d addresses are remembered", len(p.by))
	}
}

// short returns the seconds of a time within its minute.
func short(stamp string) string {
	if stamp == "" {
		return ""
	}
	return stamp[17:19]
}

// TestPeersOfTraffic records a conversation with a known address. Each file of a ring with
// packets of that address must name its owner.
func TestPeersOfTraffic(t *testing.T) {
	s := newStage(t, "scene idle")
	dir := filepath.Join(t.TempDir(), "ring")
	src := &podSource{addr: netip.MustParseAddr("10.77.0.9"), pods: []workload.Identity{
		{Kind: "pod", Name: "db-0", Pod: "db-0", PodUID: "u9", Namespace: "shop", Node: "node-b", Services: []string{"db"}, ValidFrom: 1_772_442_000e9}}}
	record(t, Options{Ring: &ring.Options{Dir: dir}, Cgroup: s.cgroup, RingBuffer: 4 << 20, Source: src}, func() {
		s.run(s.cgroup, "pair 10.77.0.9")
		s.run(s.cgroup, "pair") // the loopback address is not looked up
	})
	names, err := filepath.Glob(filepath.Join(dir, "*.owners.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%d files of owners, %v", len(names), err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	known := workload.NewOwners(1 << 20)
	for line := range strings.Lines(string(text)) {
		known.Add([]byte(line))
	}
	list := known.Addresses()
	if len(list) != 1 || known.Stats.Malformed != 0 {
		t.Fatalf("%d addresses of %s", len(list), text)
	}
	id := list[0].Comment.Identity
	if list[0].Addr != src.addr || id.Pod != "db-0" || id.Namespace != "shop" || id.Node != "node-b" || id.PodUID != "u9" || id.ValidFrom != 1_772_442_000e9 || len(id.Services) != 1 {
		t.Errorf("%+v", list[0])
	}
}
