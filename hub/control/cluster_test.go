package control

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/jobs"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

const namespace = "pcapsule"

// cluster has nodes with rings, an API, and a folder for the hub.
type cluster struct {
	t       *testing.T
	hub     *Controller // the newest one
	api     *fake.FakeDynamicClient
	dir     string
	node    map[string]*node
	made    atomic.Int64 // bundles
	jobs    *jobs.Runner // of hubs that are started; nil: none
	size    int64        // of a large snapshot
	witness *collect.Witness
	stamped sync.Map    // collect.Seen by bundle
	full    atomic.Bool // the hub's disk
	ran     func(accept func(*resource.Pod) bool, from, to time.Time) ([]string, time.Time)
	tenants Tenants
	turn    time.Duration // 0 means 15 s
	retry   time.Duration // 0 means 1 ms
	store   Store         // of hubs that are started; nil: none
	brief   bool          // the hub's folder is lost with its pod
	limit   time.Duration // for which a state is awaited; 0 means 30 s
}

type node struct {
	ring   string
	server *httptest.Server
	client *http.Client // nil: the server's
	cut    atomic.Int64 // bytes after which a response ends; 0: none
	down   atomic.Bool
}

func newCluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), node: map[string]*node{},
		api: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource.Snapshots: "SnapshotList"})}
	data, err := os.ReadFile("../../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		n := &node{ring: filepath.Join(t.TempDir(), "ring")}
		if _, err := ringtest.Fill(n.ring, data, 1, 20); err != nil {
			t.Fatal(err)
		}
		h := pins.Open(n.ring, name).Handler(slog.New(slog.DiscardHandler))
		n.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if left := n.cut.Load(); left > 0 && strings.Contains(r.URL.Path, "/files/") {
				w = &cutter{w, int(left)}
			}
			h.ServeHTTP(w, r)
		}))
		t.Cleanup(n.server.Close)
		c.node[name] = n
	}
	return c
}

// cutter ends a response after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func (c *cluster) find(_ context.Context, name string) (*pins.Client, error) {
	n := c.node[name]
	switch {
	case n == nil:
		return nil, &collect.MissingError{Reason: collect.NotScheduled, Text: "the cluster has no such node", Final: true}
	case n.down.Load():
		return nil, &collect.MissingError{Reason: collect.NotScheduled, Text: "no recorder runs there"}
	}
	u, err := url.Parse(n.server.URL)
	client := n.client
	if client == nil {
		client = n.server.Client()
	}
	return &pins.Client{URL: u, HTTP: client}, err
}

// stamp records what a hub adds to a bundle.
func (c *cluster) stamp(path string, s collect.Seen) error {
	c.stamped.Store(path, s)
	return nil
}

// collector is that of a hub, and of a Job's pod.
func (c *cluster) collector() *collect.Collector {
	return &collect.Collector{Find: c.find, Witness: c.witness, Stamp: c.stamp, Hub: "test", Retry: cmp.Or(c.retry, time.Millisecond), Log: slog.New(slog.DiscardHandler),
		Make: func(_ context.Context, from, to string, _ [2]ring.Time) error {
			if c.full.Load() {
				return &os.PathError{Op: "write", Path: to, Err: errors.New("no space left on device")}
			}
			c.made.Add(1)
			return os.CopyFS(to, os.DirFS(from)) // as good as a bundle here
		},
		Count: func(path string) (n collect.Counts, err error) {
			list, err := ring.Segments(path)
			for _, s := range list {
				if s.Seal != nil && !s.Missing {
					n.Packets += int64(s.Seal.Packets)
				}
			}
			return n, err
		}}
}

// start starts a hub; stop ends it.
func (c *cluster) start() (stop func()) {
	c.t.Helper()
	x := New(Options{Client: c.api, Namespace: namespace, Tenants: c.tenants, Turn: c.turn, Store: c.store, Temporary: c.brief, Dir: c.dir, Retry: time.Millisecond, Log: slog.New(slog.DiscardHandler), Jobs: c.jobs, Large: c.size,
		Nodes: func(context.Context) (names []string, err error) {
			for name := range c.node {
				names = append(names, name)
			}
			return names, nil
		},
		Ran: c.ran, Collector: c.collector()})
	c.hub = x
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); x.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	c.t.Cleanup(stop)
	return stop
}

func (c *cluster) objects(ns string) dynamic.ResourceInterface {
	return c.api.Resource(resource.Snapshots).Namespace(ns)
}

// began is the time from which each ring has everything.
func (c *cluster) began() string {
	last := ring.Time(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	for _, n := range c.node {
		if r, err := ring.Open(n.ring); err == nil {
			last = max(last, r.Began)
		}
	}
	return last.String()
}

// create creates a snapshot of the whole time of the rings.
func (c *cluster) create(name, ns string, change func(*resource.Snapshot)) {
	c.t.Helper()
	s := &resource.Snapshot{ObjectMeta: v1.ObjectMeta{Name: name, Namespace: ns, UID: types.UID("uid-" + name), CreationTimestamp: v1.Now()},
		Spec: resource.Spec{From: c.began(), To: v1.Now().UTC().Format(time.RFC3339), Patience: &v1.Duration{}}}
	if change != nil {
		change(s)
	}
	u, err := s.Object()
	if err == nil {
		_, err = c.objects(ns).Create(c.t.Context(), u, v1.CreateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) get(name, ns string) *resource.Snapshot {
	c.t.Helper()
	u, err := c.objects(ns).Get(c.t.Context(), name, v1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := resource.FromObject(u)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cluster) await(name string, ok func(*resource.Snapshot) bool) *resource.Snapshot {
	c.t.Helper()
	return c.awaitIn(name, namespace, ok)
}

func (c *cluster) awaitIn(name, ns string, ok func(*resource.Snapshot) bool) *resource.Snapshot {
	c.t.Helper()
	for end := time.Now().Add(cmp.Or(c.limit, 30*time.Second)); ; time.Sleep(5 * time.Millisecond) {
		s := c.get(name, ns)
		if ok(s) {
			return s
		}
		if time.Now().After(end) {
			c.t.Fatalf("it stays at %+v", s.Status)
		}
	}
}

func finished(s *resource.Snapshot) bool { return s.Status.Finished() }

func is(s *resource.Snapshot, kind string) (bool, string) {
	c := meta.FindStatusCondition(s.Status.Conditions, kind)
	if c == nil {
		return false, "no condition"
	}
	return c.Status == v1.ConditionTrue, c.Reason + ": " + c.Message
}

// check checks the state of a condition and a part of its text.
func check(t *testing.T, s *resource.Snapshot, kind string, want bool, text string) {
	t.Helper()
	if got, why := is(s, kind); got != want || !strings.Contains(why, text) {
		t.Errorf("%s is %v, %s; want %v, %q", kind, got, why, want, text)
	}
}
