package control

import (
	"context"
	"errors"
	"fmt"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

const namespace = "pcapsule"

// cluster has nodes with rings, an API, and a folder for the hub.
type cluster struct {
	t    *testing.T
	api  *fake.FakeDynamicClient
	dir  string
	mu   sync.Mutex
	node map[string]*node
	made atomic.Int64 // bundles
	full atomic.Bool  // the hub's disk
}

type node struct {
	ring   string
	server *httptest.Server
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
	return &pins.Client{URL: u, HTTP: n.server.Client()}, err
}

// start starts a hub; stop ends it.
func (c *cluster) start() (stop func()) {
	c.t.Helper()
	x := New(Options{Client: c.api, Namespace: namespace, Dir: c.dir, Retry: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Nodes: func(context.Context) (names []string, err error) {
			for name := range c.node {
				names = append(names, name)
			}
			return names, nil
		},
		Collector: &collect.Collector{Find: c.find, Hub: "test", Retry: time.Millisecond, Log: slog.New(slog.DiscardHandler),
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
			}}})
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

// create creates a snapshot of the whole time of the rings.
func (c *cluster) create(name, ns string, change func(*resource.Snapshot)) {
	c.t.Helper()
	s := &resource.Snapshot{ObjectMeta: v1.ObjectMeta{Name: name, Namespace: ns, UID: types.UID("uid-" + name), CreationTimestamp: v1.Now()},
		Spec: resource.Spec{From: "2000-01-01T00:00:00Z", To: v1.Now().UTC().Format(time.RFC3339), Patience: &v1.Duration{}}}
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
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
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

func TestSnapshotOfTwoNodes(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.start()
	c.create("x", namespace, nil)
	s := c.await("x", finished)
	check(t, s, resource.Accepted, true, "")
	check(t, s, resource.Complete, true, "AllNodes")
	check(t, s, resource.Done, true, "Bundled")
	if s.Status.Collected != "2/2" || s.Status.Packets == 0 || s.Status.Nodes[0].Packets != s.Status.Packets/2 || s.Status.CompletedAt == nil {
		t.Errorf("%+v", s.Status)
	}
	for _, n := range []string{"a", "b"} {
		if rep, err := ring.Verify(filepath.Join(c.dir, "uid-x", "bundles", n+".pcapsule"), ring.VerifyOptions{}); err != nil || !rep.OK() {
			t.Errorf("node %s: %v, %v", n, rep, err)
		}
		eventually(t, "the node keeps its pin", func() bool {
			list, _ := os.ReadDir(filepath.Join(c.node[n].ring, ".pins"))
			return len(list) == 0
		})
	}
	eventually(t, "collected files are left", func() bool {
		list, _ := os.ReadDir(filepath.Join(c.dir, "uid-x", "nodes"))
		return len(list) == 0
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestSpecIsKept checks that the hub writes no field of the request: an API server refuses a window that was
// 1h and becomes 1h0m0s.
func TestSpecIsKept(t *testing.T) {
	c := newCluster(t, "a")
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "pcapsule.dev/v1alpha1", "kind": "Snapshot",
		"metadata": map[string]any{"name": "x", "namespace": namespace, "uid": "uid-x", "creationTimestamp": v1.Now().Add(-time.Hour).UTC().Format(time.RFC3339)},
		"spec":     map[string]any{"last": "1h", "patience": "0.0h", "unknown": "kept"}}}
	want := fmt.Sprint(u.Object["spec"])
	if _, err := c.objects(namespace).Create(t.Context(), u, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.await("x", func(s *resource.Snapshot) bool { return len(s.Finalizers) == 1 })
	for _, a := range c.api.Actions() {
		if x, ok := a.(clienttesting.UpdateAction); ok && x.GetSubresource() == "" {
			if got := fmt.Sprint(x.GetObject().(*unstructured.Unstructured).Object["spec"]); got != want {
				t.Errorf("the hub wrote the spec %s, want %s", got, want)
			}
		}
	}
}

func TestNodesThatAreMissing(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.node["b"].down.Store(true)
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.Nodes = []string{"a", "b", "never"} })
	s := c.await("x", finished)
	check(t, s, resource.Done, true, "")
	check(t, s, resource.Complete, false, "b (no recorder runs there), never (the cluster has no such node)")
	if s.Status.Collected != "1/3" {
		t.Errorf("%+v", s.Status)
	}
	for _, n := range []string{"b", "never"} {
		r, err := ring.Open(filepath.Join(c.dir, "uid-x", "bundles", n+".pcapsule"))
		if err != nil || len(r.Holes) != 1 || r.Holes[0].Reason != "not_scheduled" || r.Holes[0].From.String() != s.Status.From || !strings.Contains(r.Holes[0].Detail, "node "+n) {
			t.Errorf("node %s: %+v, %v: the gap is not stated", n, r, err)
		}
	}
}

// TestNodeThatComesBack has a recorder that is down at first, and connections that are cut.
func TestNodeThatComesBack(t *testing.T) {
	c := newCluster(t, "a")
	c.node["a"].down.Store(true)
	c.node["a"].cut.Store(500)
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.Patience = &v1.Duration{Duration: time.Hour} })
	c.await("x", func(s *resource.Snapshot) bool {
		n := s.Status.Find("a")
		return n != nil && n.Message == "no recorder runs there"
	})
	c.node["a"].down.Store(false)
	check(t, c.await("x", finished), resource.Complete, true, "")
}

// TestHubIsKilled ends the hub again and again, and starts another on the same folder.
func TestHubIsKilled(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	for _, n := range c.node {
		n.cut.Store(300)
	}
	for i := range 5 {
		c.create(fmt.Sprint("x", i), namespace, func(s *resource.Snapshot) { s.Spec.Patience = &v1.Duration{Duration: time.Hour} })
	}
	kills := 0
	for done := false; !done; kills++ {
		stop := c.start()
		time.Sleep(time.Duration(1+kills%60) * time.Millisecond)
		if kills > 200 {
			time.Sleep(time.Second)
		}
		stop()
		done = true
		for i := range 5 {
			done = done && c.get(fmt.Sprint("x", i), namespace).Status.Finished()
		}
	}
	t.Logf("%d hubs", kills)
	window := ""
	for i := range 5 {
		s := c.get(fmt.Sprint("x", i), namespace)
		check(t, s, resource.Complete, true, "")
		for _, n := range s.Status.Nodes {
			if rep, err := ring.Verify(filepath.Join(c.dir, string(s.UID), "bundles", n.Name+".pcapsule"), ring.VerifyOptions{}); err != nil || !rep.OK() {
				t.Errorf("%s of %s: %v, %v", n.Name, s.Name, rep, err)
			}
		}
		window = s.Status.From
	}
	if window == "" {
		t.Error("no window")
	}
	if n := c.made.Load(); n != 15 {
		t.Logf("%d bundles were made for 15", n)
	}
}

func TestRejectedSnapshots(t *testing.T) {
	c := newCluster(t, "a")
	c.start()
	c.create("window", namespace, func(s *resource.Snapshot) { s.Spec.To = "1999-01-01T00:00:00Z" })
	c.create("nodes", namespace, func(s *resource.Snapshot) { s.Spec.Nodes = []string{"../../x"} })
	c.create("uid", namespace, func(s *resource.Snapshot) { s.UID = "../x" })
	c.create("elsewhere", "shop", nil)
	check(t, c.await("window", finished), resource.Accepted, false, "ends before it begins")
	check(t, c.await("nodes", finished), resource.Accepted, false, "cannot be the name of a node")
	check(t, c.await("uid", finished), resource.Accepted, false, "cannot name a folder")
	check(t, c.awaitIn("elsewhere", "shop", finished), resource.Accepted, false, "create it there")
	if list, _ := os.ReadDir(c.dir); len(list) > 0 {
		t.Errorf("rejected snapshots left %v", list)
	}
}

func TestHubDiskIsFull(t *testing.T) {
	c := newCluster(t, "a")
	c.full.Store(true)
	c.start()
	c.create("x", namespace, nil)
	s := c.await("x", func(s *resource.Snapshot) bool {
		_, why := is(s, resource.Done)
		return strings.Contains(why, "no space left")
	})
	check(t, s, resource.Done, false, "HubDisk")
	c.full.Store(false)
	check(t, c.await("x", finished), resource.Complete, true, "")
}

func TestDeletion(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.node["b"].down.Store(true)
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.Patience = &v1.Duration{Duration: time.Hour} })
	c.await("x", func(s *resource.Snapshot) bool {
		n := s.Status.Find("a")
		return n != nil && n.State == resource.Bundled
	})
	s := c.get("x", namespace)
	if len(s.Finalizers) != 1 {
		t.Fatalf("finalizers %v", s.Finalizers)
	}
	now := v1.Now()
	s.DeletionTimestamp = &now
	u, err := s.Object()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.objects(namespace).Update(t.Context(), u, v1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.await("x", func(s *resource.Snapshot) bool { return len(s.Finalizers) == 0 })
	if list, _ := os.ReadDir(c.dir); len(list) > 0 {
		t.Errorf("files are left: %v", list)
	}
	if list, _ := os.ReadDir(filepath.Join(c.node["a"].ring, ".pins")); len(list) > 0 {
		t.Errorf("the node keeps %v", list)
	}
}

func TestRetention(t *testing.T) {
	c := newCluster(t, "a")
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.RetainFor = &v1.Duration{Duration: time.Millisecond} })
	eventually(t, "it is not deleted", func() bool {
		for _, a := range c.api.Actions() {
			if a.GetVerb() == "delete" {
				return true
			}
		}
		return false
	})
}

// TestAlteredSegment alters a segment on the node: the rest comes, and the status says what does not.
func TestAlteredSegment(t *testing.T) {
	c := newCluster(t, "a")
	list, err := ring.Segments(c.node["a"].ring)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(list[1].Path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(list[1].Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.Patience = &v1.Duration{Duration: time.Hour} })
	s := c.await("x", finished)
	check(t, s, resource.Complete, false, list[1].ID.Segment()+" was altered")
	r, err := ring.Open(filepath.Join(c.dir, "uid-x", "bundles", "a.pcapsule"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Segments {
		if x.Missing != (x.ID == list[1].ID) {
			t.Errorf("%s: missing is %v", x.ID, x.Missing)
		}
	}
}
