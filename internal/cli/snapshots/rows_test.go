package snapshots

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
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
	a.run, err = exporter.Follow(context.Background(), w.rings[node].dir, exporter.FollowOptions{Keep: 5 * time.Minute, Every: 100 * time.Millisecond, Temp: w.t.TempDir(), Share: a.dir, OnError: func(err error) { w.t.Log(node, err) }})
	if err != nil {
		w.t.Fatal(err)
	}
	return a.dir
}

// TestRowsOfACluster: two nodes have seen the same calls. One sends rows only, the other one packets.
func TestRowsOfACluster(t *testing.T) {
	for _, rows := range [][]string{{"node-a"}, {"node-a", "node-b"}} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			a, b := record(t, 20_000), record(t, 20_000)
			w := watch(t, map[string]*growing{"node-a": a, "node-b": b}, rows...)
			at := time.Now().UnixNano()
			a.playAt("http1.pcapng", 0, 1000, at)
			b.playAt("http1.pcapng", 0, 1000, at+1000)
			w.await("http", int(a.bundled("http")))
		})
	}
}
