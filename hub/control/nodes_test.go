package control

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// TestPinsComeFirst: every node keeps its part while the hub is still busy with the first ones.
func TestPinsComeFirst(t *testing.T) {
	c := newCluster(t)
	busy, pinned := make(chan struct{}), atomic.Int64{}
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("node-%02d", i))
	}
	c.addNodes(names, "http1.pcapng", func(name string, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/files/") {
				<-busy
			}
			h.ServeHTTP(w, r)
			if r.Method == http.MethodPut || r.Method == http.MethodPost {
				pinned.Add(1)
			}
		})
	})
	c.start()
	c.create("x", namespace, nil)
	for end := time.Now().Add(time.Minute); pinned.Load() < int64(len(names)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d nodes have pinned the window while the first are received", pinned.Load(), len(names))
		}
	}
	close(busy)
	s := c.await("x", finished)
	check(t, s, resource.Complete, true, "")
}

// addNodes adds nodes whose rings are links to one ring, so that many of them take little space.
func (c *cluster) addNodes(names []string, sample string, wrap func(string, http.Handler) http.Handler) {
	c.t.Helper()
	data, err := os.ReadFile("../../samples/" + sample)
	one := filepath.Join(c.t.TempDir(), "ring")
	if err == nil {
		_, err = ringtest.Fill(one, data, 1, 0)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range names {
		n := &node{ring: filepath.Join(c.t.TempDir(), "ring")}
		if err := os.CopyFS(n.ring, os.DirFS(one)); err != nil {
			c.t.Fatal(err)
		}
		n.server = httptest.NewServer(wrap(name, pins.Open(n.ring, name).Handler(slog.New(slog.DiscardHandler))))
		c.t.Cleanup(n.server.Close)
		c.node[name] = n
	}
}
