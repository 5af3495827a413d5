package exporter

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
		v, err := l.Since(t.Context(), after, nil)
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

// TestTheRecorderIsKilled: the next one seals what it left, and the calls of both are shown.
func TestTheRecorderIsKilled(t *testing.T) {
	if dir := os.Getenv("PCAPSULE_KILLED_RING"); dir != "" {
		g := &growing{t: t, dir: dir}
		g.begin(1 << 20)
		g.say(1, 80, []byte("GET /before HTTP/1.1\r\nHost: shop\r\n\r\n"), false)
		g.say(1, 80, []byte("GET /before HTTP/1.1\r\nHost: shop\r\n\r\n"), true)
		g.s.Flush()
		time.Sleep(time.Second)
		os.Exit(9) // nothing is sealed
	}
	dir := filepath.Join(t.TempDir(), "ring")
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), "PCAPSULE_KILLED_RING="+dir)
	if out, err := c.CombinedOutput(); c.ProcessState.ExitCode() != 9 {
		t.Fatalf("%v: %s", err, out)
	}
	g := &growing{t: t, dir: dir}
	l := g.follow(FollowOptions{})
	after := int64(0)
	if paths := newer(t, l, after, 1); paths["/before"] != 1 {
		t.Errorf("calls %v", paths)
	}
	after = l.Last().No
	g.begin(1 << 20)
	defer g.w.Close(context.Background())
	g.finished(81, "/behind")
	if paths := newer(t, l, after, 1); paths["/behind"] != 1 || len(paths) != 1 {
		t.Errorf("calls %v", paths)
	}
	until(t, l, "coverage", func(rows []string) bool { return strings.Contains(strings.Join(rows, "\n"), "reason=restart") })
}
