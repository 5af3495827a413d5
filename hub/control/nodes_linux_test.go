package control

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/mutual"
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
	release := sync.OnceFunc(func() { close(busy) })
	t.Cleanup(release) // before the servers wait for their requests
	c.start()
	c.create("x", namespace, nil)
	for end := time.Now().Add(time.Minute); pinned.Load() < int64(len(names)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d nodes have pinned the window while the first are received", pinned.Load(), len(names))
		}
	}
	release()
	s := c.await("x", finished)
	check(t, s, resource.Complete, true, "")
}

// TestThousandNodes is a hub with 1,000 registered recorders: each has a certificate, a ring and a server with mutual
// TLS. 20 of them are gone, and the hub is ended in the middle. docs/design/025-cluster.md has what it logs.
func TestThousandNodes(t *testing.T) {
	const nodes, gone = 1000, 20
	c := newCluster(t)
	c.limit = 5 * time.Minute
	var names []string
	for i := range nodes {
		names = append(names, fmt.Sprintf("node-%04d", i))
	}
	c.addNodes(names, "dns.pcap", func(_ string, h http.Handler) http.Handler { return h })
	registered := c.register(names)
	for _, name := range names[:gone] {
		c.node[name].down.Store(true)
	}
	writes, largest := atomic.Int64{}, atomic.Int64{}
	c.api.PrependReactor("update", "snapshots", func(a clienttesting.Action) (bool, apiruntime.Object, error) {
		text, err := json.Marshal(a.(clienttesting.UpdateAction).GetObject())
		writes.Add(1)
		largest.Store(max(largest.Load(), int64(len(text))))
		return false, nil, err
	})
	idle, begin, cpu := heap(), time.Now(), cpuTime(t)
	stop := c.start()
	c.create("all", namespace, nil)
	half := c.await("all", func(s *resource.Snapshot) bool { return c.made.Load() > nodes/2 })
	working := heap()
	stop()
	t.Logf("ended with %s of the parts in the status", half.Status.Collected)
	c.start()
	s := c.await("all", finished)
	t.Logf("registered in %s; collected in %s, %s CPU for hub and nodes; heap of the hub and its connections %d MiB; %d writes of the status, at most %d bytes",
		registered.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond), (cpuTime(t) - cpu).Round(time.Millisecond), (working-idle)>>20, writes.Load(), largest.Load())
	check(t, s, resource.Complete, false, "NodesMissing")
	check(t, s, resource.Done, true, "")
	if want := fmt.Sprintf("%d/%d", nodes-gone, nodes); s.Status.Collected != want || len(s.Status.Nodes) != nodes {
		t.Errorf("collected %s of %d nodes, want %s", s.Status.Collected, len(s.Status.Nodes), want)
	}
	if n := c.made.Load(); n < nodes || n > nodes+1 { // one was perhaps interrupted
		t.Errorf("%d bundles were made for %d nodes", n, nodes)
	}
	if largest.Load() > 1<<20 { // etcd refuses 1.5 MiB
		t.Errorf("the resource has %d bytes", largest.Load())
	}
	if working-idle > 256<<20 {
		t.Errorf("the hub uses %d MiB of heap", (working-idle)>>20)
	}
}

// faults of nodes in TestFaultyNodes.
const (
	healthy   = iota
	gone      // no recorder runs
	restarted // for the first second
	slow      // some bytes at a time
	foreign   // the certificate of another node
	full      // no room for the window's pin
)

// fault wraps the server of a node.
func fault(kind int, h http.Handler) http.Handler {
	began := time.Now()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case kind == restarted && time.Since(began) < time.Second:
			panic(http.ErrAbortHandler)
		case kind == full && r.Method != http.MethodGet:
			http.Error(w, "no space left on device", http.StatusInsufficientStorage)
			return
		case kind == slow && strings.Contains(r.URL.Path, "/files/"):
			w = &trickle{w, r}
		}
		h.ServeHTTP(w, r)
	})
}

// trickle sends some bytes at a time.
type trickle struct {
	http.ResponseWriter
	r *http.Request
}

func (s *trickle) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; rest = rest[min(len(rest), 100):] {
		select {
		case <-s.r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-time.After(50 * time.Millisecond):
		}
		s.ResponseWriter.Write(rest[:min(len(rest), 100)])
		s.ResponseWriter.(http.Flusher).Flush()
	}
	return len(p), nil
}

// TestFaultyNodes: every healthy node's part is bundled while more nodes than are asked at once are slow or gone. When the
// patience ends, these are stated. docs/design/025-cluster.md has what it logs.
func TestFaultyNodes(t *testing.T) {
	t.Run("10", func(t *testing.T) { faultyNodes(t, 10, 2*time.Second) })
	for _, nodes := range []int{200, 1000}[:nightly.Of(1, 2)] {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) { faultyNodes(t, nodes, time.Hour) })
	}
}

// faultyNodes waits until the patience ends only if it is short.
func faultyNodes(t *testing.T, nodes int, patience time.Duration) {
	c := newCluster(t)
	c.retry = 20 * time.Millisecond
	c.limit, c.turn = 5*time.Minute, 500*time.Millisecond
	kinds, names, want := map[string]int{}, []string{}, 0
	for i := range nodes {
		name := fmt.Sprintf("node-%04d", i)
		kind := []int{gone, slow, gone, slow, gone, restarted, foreign, full, healthy, healthy}[i*10/nodes]
		if kinds[name] = kind; kind == healthy || kind == restarted {
			want++
		}
		names = append(names, name)
	}
	c.addNodes(names, "dns.pcap", func(name string, h http.Handler) http.Handler { return fault(kinds[name], h) })
	c.register(names)
	for name, kind := range kinds {
		if c.node[name].down.Store(kind == gone); kind == foreign {
			c.node[name].server = c.node[names[nodes-1]].server
		}
	}
	writes, largest := atomic.Int64{}, atomic.Int64{}
	c.api.PrependReactor("update", "snapshots", func(a clienttesting.Action) (bool, apiruntime.Object, error) {
		text, err := json.Marshal(a.(clienttesting.UpdateAction).GetObject())
		writes.Add(1)
		largest.Store(max(largest.Load(), int64(len(text))))
		return false, nil, err
	})
	idle, begin, cpu := heap(), time.Now(), cpuTime(t)
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.Patience = &v1.Duration{Duration: patience} })
	c.await("x", func(s *resource.Snapshot) bool {
		done, finished := 0, 0
		for i := range s.Status.Nodes {
			n := &s.Status.Nodes[i]
			if n.Finished() {
				finished++
			}
			if patience > time.Minute && n.State == resource.Missing {
				t.Fatalf("%s was given up before its time: %s", n.Name, n.Message)
			}
			if kind := kinds[n.Name]; n.State == resource.Bundled && (kind == healthy || kind == restarted) {
				done++
			}
		}
		if finished == nodes && done < want {
			t.Fatalf("%d of %d healthy nodes were bundled", done, want)
		}
		return done == want
	})
	t.Logf("%d nodes: the %d healthy ones are there after %s, with %s CPU for hub and nodes and %d MiB of heap; %d writes of the status, at most %d bytes",
		nodes, want, time.Since(begin).Round(time.Millisecond), (cpuTime(t) - cpu).Round(time.Millisecond), (heap()-idle)>>20, writes.Load(), largest.Load())
	if largest.Load() > 1<<20 {
		t.Errorf("the resource has %d bytes", largest.Load())
	}
	if patience > time.Minute {
		return
	}
	s := c.await("x", finished)
	for i := range s.Status.Nodes {
		n := &s.Status.Nodes[i]
		switch kind := kinds[n.Name]; {
		case kind == slow: // on a busy machine its patience may end
		case (kind == healthy || kind == restarted) != (n.State == resource.Bundled), n.State == resource.Missing && n.Message == "":
			t.Errorf("%s of kind %d is %+v", n.Name, kind, n)
		}
	}
}

// TestStatusFits: the API accepts the status of the most nodes, although each says as much as it can.
func TestStatusFits(t *testing.T) {
	c := newCluster(t)
	c.create("x", namespace, nil)
	x := New(Options{Client: c.api, Namespace: namespace})
	err := x.tryUpdate(t.Context(), c.get("x", namespace), func(s *resource.Snapshot) {
		for i := range 5000 {
			s.Status.Nodes = append(s.Status.Nodes, resource.Node{Name: fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i>>8, i&255), State: resource.Missing,
				Reason: "missing", Message: "it said: " + strings.Repeat("\xff\u00e9", 1<<10), Bundle: fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal.pcapsule", i>>8, i&255)})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s := c.get("x", namespace)
	text, err := json.Marshal(s)
	if err != nil || len(text) > 1300<<10 || len(s.Status.Nodes) != 5000 || !strings.HasPrefix(s.Status.Nodes[4999].Message, "it said: ") {
		t.Errorf("%d bytes, %d nodes, %v", len(text), len(s.Status.Nodes), err)
	}
}

// register gives each node a certificate and serves its ring with mutual TLS, as recorders do. It returns how long the
// certificates took.
func (c *cluster) register(names []string) time.Duration {
	c.t.Helper()
	cert, key, err := mutual.NewIssuer("test", time.Hour, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	issuer, err := mutual.ReadIssuer(cert, key)
	if err != nil {
		c.t.Fatal(err)
	}
	pair := func(name string, server bool) mutual.Source {
		key, text, err := mutual.NewKey()
		var own []byte
		if err == nil {
			own, err = issuer.Issue(key.Public(), []string{name}, server, time.Hour, time.Now())
		}
		var p *mutual.Pair
		if err == nil {
			p, err = mutual.Parse(own, text, cert)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		return func() (*mutual.Pair, error) { return p, nil }
	}
	begin := time.Now()
	hub := pair(mutual.Hub, false)
	for _, name := range names {
		n := c.node[name]
		plain := n.server.Config.Handler
		n.server.Close()
		n.server = httptest.NewUnstartedServer(plain)
		n.server.TLS = mutual.Server(pair(mutual.Node(name), true), mutual.Hub)
		n.server.StartTLS()
		c.t.Cleanup(n.server.Close)
		n.client = mutual.Client(hub, mutual.Node(name))
	}
	return time.Since(begin)
}

// heap is what is in use, after a collection.
func heap() int64 {
	least := int64(1) << 62
	for range 5 { // garbage is made while others are collected
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, int64(m.HeapAlloc))
	}
	return least
}

// cpuTime is the processor time that this process has used.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// addNodes adds nodes whose rings are copies of one ring.
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
