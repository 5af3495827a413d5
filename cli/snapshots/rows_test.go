package snapshots

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// agentsRows is the run of a node that dissects itself.
type agentsRows struct {
	dir string // of the rows
	run *exporter.Live
}

// dissect begins to dissect on a node. It returns the folder of its rows.
func (w *watched) dissect(node string) string {
	w.t.Helper()
	a := w.runs[node]
	if a == nil {
		a = &agentsRows{dir: w.t.TempDir()}
		w.runs[node] = a
		w.t.Cleanup(func() {
			if err := a.run.Close(); err != nil {
				w.t.Error(err)
			}
		})
	}
	var err error
	a.run, err = exporter.Follow(context.Background(), w.rings[node].dir, exporter.FollowOptions{Keep: 5 * time.Minute, Temp: w.t.TempDir(), Share: a.dir, OnError: func(err error) { w.t.Log(node, err) }})
	if err != nil {
		w.t.Fatal(err)
	}
	return a.dir
}

// TestRowsOfACluster: two nodes have seen the same calls. One or both send rows only, and answers are the same.
func TestRowsOfACluster(t *testing.T) {
	a, b := record(t, 20_000), record(t, 20_000)
	at := time.Now().UnixNano()
	answers := map[string]string{}
	for i, rows := range nightly.Some([][]string{nil, {"node-a"}, {"node-a", "node-b"}}, 2) {
		t.Run(fmt.Sprintf("rows of %q", rows), func(t *testing.T) {
			here := *a
			here.t = t
			w := watch(t, map[string]*growing{"node-a": &here, "node-b": b}, rows...)
			if i == 0 {
				a.playAt("http1.pcapng", 0, 1000, at)
				b.playAt("http1.pcapng", 0, 1000, at+1000)
			}
			want := int(here.bundled("http"))
			for end := time.Now().Add(20 * time.Second); !strings.Contains(w.gaps(), "state:complete"); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal(w.gaps())
				}
			}
			if n, err := w.count("http"); n != want || err != nil {
				t.Errorf("%d calls, %v, want %d", n, err, want)
			}
			for _, path := range []string{"/mcp/calls?db=live:5m&format=full&limit=1000", "/mcp/flows/summary?db=live:5m", "/mcp/resolve/workloads?db=live:5m"} {
				_, out := get(t, w.url+path)
				for _, changes := range []string{"coverage", "now", "query", "request", "window", "bundles", "took_ms"} {
					delete(out, changes)
				}
				text, err := json.Marshal(out)
				if err != nil {
					t.Fatal(err)
				}
				if answers[path] == "" {
					answers[path] = string(text)
				} else if answers[path] != string(text) {
					t.Errorf("%s differs:\n%s\nwith packets\n%s", path, text, answers[path])
				}
			}
		})
	}
}

// TestRowsOfAProgramThatEnds: while no program dissects, that is a gap. The next one shows the same calls, and a tail
// shows none again.
func TestRowsOfAProgramThatEnds(t *testing.T) {
	a := record(t, 20_000)
	w := watch(t, map[string]*growing{"node-a": a}, "node-a")
	at := time.Now().UnixNano()
	a.playAt("http1.pcapng", 0, 20, at)
	first := int(a.bundled("http")) // calls that were finished before the tail began
	w.await("http", first)
	ids := tailOf(t, w.url, "http")
	a.playAt("http1.pcapng", 20, 60, at+1e9)
	before := int(a.bundled("http"))
	w.await("http", before)
	if err := w.runs["node-a"].run.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !strings.Contains(w.gaps(), "no rows are there yet"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no gap: %s", w.gaps())
		}
	}
	if n, err := w.count("http"); n != before || n == 0 {
		t.Errorf("without the program: %d calls, %v, want %d", n, err, before)
	}
	w.dissect("node-a")
	for end := time.Now().Add(20 * time.Second); strings.Contains(w.gaps(), "no rows are there yet"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the gap stays: %s", w.gaps())
		}
	}
	a.playAt("http1.pcapng", 60, 1000, at+2e9)
	want := int(a.bundled("http"))
	w.await("http", want)
	for end := time.Now().Add(10 * time.Second); len(ids()) < want-first && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	seen := map[string]bool{}
	for _, id := range ids() {
		if seen[id] {
			t.Errorf("call %s is in the tail twice", id)
		}
		seen[id] = true
	}
	if len(seen) < want-first {
		t.Errorf("the tail has %d calls, want %d", len(seen), want-first)
	}
}

// TestRowsHaveNoPackets: what needs packets says why there are none, and what to do.
func TestRowsHaveNoPackets(t *testing.T) {
	a := record(t, 20_000)
	w := watch(t, map[string]*growing{"node-a": a}, "node-a")
	a.play("http1.pcapng", 0, 1000)
	w.await("http", int(a.bundled("http")))
	paths, err := w.all.Live(t.Context(), 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(t.Context(), paths, forensics.Options{Threads: 2, Open: w.all.OpenBundle})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Packets(t.Context(), forensics.Selection{}, io.Discard); err == nil || !strings.Contains(err.Error(), "the node sends only rows") || !strings.Contains(err.Error(), "make a snapshot to get its packets") {
		t.Errorf("packets: %v", err)
	}
}

// TestRowsThatAreRefused: a node that sends something else costs the answers about others nothing.
func TestRowsThatAreRefused(t *testing.T) {
	a, b := record(t, 20_000), record(t, 20_000)
	w := watch(t, map[string]*growing{"node-a": a, "node-b": b}, "node-a")
	if err := w.runs["node-a"].run.Close(); err != nil {
		t.Fatal(err)
	}
	data := []byte("no set")
	sum := sha256.Sum256(data)
	dir := w.runs["node-a"].dir
	err := os.WriteFile(filepath.Join(dir, "o000001.tar"), data, 0o600)
	if err == nil {
		err = rows.Write(dir, &rows.Cut{Run: "hostile", No: 7, At: time.Now().UnixNano(), State: []byte(`{"open":{"file":"o000001.tar"}}`),
			Files: []transfer.File{{Name: "o000001.tar", Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.play("http1.pcapng", 0, 1000)
	w.await("http", int(b.bundled("http")))
	for end := time.Now().Add(20 * time.Second); !strings.Contains(w.gaps(), "rows of the node are refused: set"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no gap: %s", w.gaps())
		}
	}
}
