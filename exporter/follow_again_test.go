package exporter

import (
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// newer reads the paths of the calls of each cut after one, until there are so many.
func newer(t *testing.T, l *Live, after int64, want int) (paths map[string]int) {
	t.Helper()
	paths = map[string]int{}
	for end := time.Now().Add(20 * time.Second); len(paths) < want; {
		if time.Now().After(end) {
			t.Fatalf("calls %v, want %d", paths, want)
		}
		if _, err := l.Wait(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		v, err := l.Since(after)
		if err != nil {
			t.Fatal(err)
		}
		after = v.Cut
		for name, rows := range rowsOf(t, v.Bundle) {
			if !strings.HasPrefix(name, "calls/") {
				continue
			}
			for _, row := range rows {
				_, path, _ := strings.Cut(row, " path=")
				path, _, _ = strings.Cut(path, " ")
				paths[path]++
			}
		}
	}
	return paths
}

func (g *growing) finished(port uint16, path string) {
	g.t.Helper()
	text := []byte("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
	g.say(1, port, text, false)
	g.say(1, port, text, true)
	if err := g.w.Seal(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
}

// TestARunThatBeginsAgainShowsEachCall: a run remembers so many interfaces, and each segment has its own.
// Calls of the last 2 seconds before may be shown again, older ones are not.
func TestARunThatBeginsAgainShowsEachCall(t *testing.T) {
	const calls = 8
	g := grow(t, 1<<20)
	l := g.follow(FollowOptions{interfaces: 6})
	path := func(i int) string { return "/" + strings.Repeat("x", 2*i) }
	go func() {
		for i := range calls {
			g.finished(uint16(80+i), path(i))
			time.Sleep(time.Second)
		}
	}()
	shown := newer(t, l, 0, calls)
	for _, i := range []int{0, 1, 2, 3, calls - 1} { // the second run begins with segment 3
		if shown[path(i)] != 1 {
			t.Errorf("call %d is in %d cuts", i, shown[path(i)])
		}
	}
	until(t, l, "coverage", func(rows []string) bool {
		return strings.Contains(strings.Join(rows, "\n"), "a live run remembers no more interfaces")
	})
}

// TestTheRecorderBeginsAgain: calls of a later recorder follow those of the one before.
func TestTheRecorderBeginsAgain(t *testing.T) {
	g := grow(t, 1<<20)
	l := g.follow(FollowOptions{})
	g.finished(80, "/before")
	newer(t, l, 0, 1)
	after := l.Last().No
	if err := g.w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.begin(1 << 20)
	g.finished(81, "/behind")
	if paths := newer(t, l, after, 1); paths["/behind"] != 1 || len(paths) != 1 {
		t.Errorf("calls %v", paths)
	}
	until(t, l, "calls", func(rows []string) bool { return has(rows, 2, " path=/before", " path=/behind") })
	until(t, l, "coverage", func(rows []string) bool { return strings.Contains(strings.Join(rows, "\n"), "reason=restart") })
}

// begin begins to record, after an earlier recorder ended.
func (g *growing) begin(segment int64) {
	g.t.Helper()
	var err error
	if g.w, err = ring.Create(ring.Options{Dir: g.dir, Node: "n", SegmentBytes: segment, FlushEvery: 10 * time.Millisecond}); err == nil {
		if g.s, err = g.w.Series(ring.SeriesOptions{Name: "eth", LinkType: 1}); err == nil {
			g.iface, err = g.s.Interface(pcapng.Interface{Name: "eth0"})
		}
	}
	if err != nil {
		g.t.Fatal(err)
	}
}
