package control

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

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
	eventually(t, "no event says that the snapshot is ready", func() bool {
		return slices.ContainsFunc(c.api.Actions(), func(a clienttesting.Action) bool {
			x, ok := a.(clienttesting.CreateAction)
			return ok && a.Matches("create", "events") && fmt.Sprint(x.GetObject().(*unstructured.Unstructured).Object["reason"]) == "Bundled"
		})
	})
	eventually(t, "the snapshot is not counted as ready", func() bool { return maps.Equal(c.hub.Phases(), map[string]int{resource.Ready: 1}) })
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
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "pcapsule.dev/v1beta1", "kind": "Snapshot",
		"metadata": map[string]any{"name": "x", "namespace": namespace, "uid": "uid-x", "creationTimestamp": v1.Now().Add(-time.Hour).UTC().Format(time.RFC3339)},
		"spec":     map[string]any{"last": "1h", "patience": "0.0h", "unknown": "kept"}}}
	want := fmt.Sprint(u.Object["spec"])
	if _, err := c.objects(namespace).Create(t.Context(), u, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.await("x", func(s *resource.Snapshot) bool { return len(s.Finalizers) == 1 })
	for _, a := range c.api.Actions() {
		if x, ok := a.(clienttesting.UpdateAction); ok && a.GetResource() == resource.Snapshots && x.GetSubresource() == "" {
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

// TestLegalHold: neither a retention nor a person removes a snapshot on hold; without the hold it goes.
func TestLegalHold(t *testing.T) {
	c := newCluster(t, "a")
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) {
		s.Spec.RetainFor, s.Spec.LegalHold = &v1.Duration{Duration: time.Millisecond}, "District Court, 3 C 17/26"
	})
	c.await("x", finished)
	time.Sleep(100 * time.Millisecond)
	for _, a := range c.api.Actions() {
		if a.GetVerb() == "delete" {
			t.Fatal("the retention deleted it")
		}
	}
	change := func(f func(s *resource.Snapshot)) {
		s := c.get("x", namespace)
		f(s)
		u, err := s.Object()
		if err == nil {
			_, err = c.objects(namespace).Update(t.Context(), u, v1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	now := v1.Now()
	change(func(s *resource.Snapshot) { s.DeletionTimestamp = &now }) // as the API does while there is a finalizer
	s := c.await("x", func(s *resource.Snapshot) bool { ok, _ := is(s, resource.Held); return ok })
	check(t, s, resource.Held, true, "District Court")
	bundle := filepath.Join(c.dir, "uid-x", "bundles", "a.pcapsule")
	if _, err := os.Stat(bundle); err != nil {
		t.Errorf("the bundle of a snapshot on hold: %v", err)
	}
	change(func(s *resource.Snapshot) { s.Spec.LegalHold = "" })
	eventually(t, "it is not deleted", func() bool { _, err := os.Stat(bundle); return err != nil })
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

// TestBundlesAreLost: the status says what the hub's disk has, also after the disk is back.
func TestBundlesAreLost(t *testing.T) {
	c := newCluster(t, "a", "b")
	stop := c.start()
	c.create("x", namespace, nil)
	c.await("x", func(s *resource.Snapshot) bool { return s.Status.Phase == resource.Ready })
	bundles := filepath.Join(c.dir, "uid-x", "bundles")
	away := filepath.Join(t.TempDir(), "away")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	again := func() {
		stop()
		stop = c.start()
	}
	move(filepath.Join(bundles, "b.pcapsule"), away)
	again()
	s := c.await("x", func(s *resource.Snapshot) bool { return s.Status.Collected == "1/2" })
	check(t, s, resource.Complete, false, "b ("+noBundle+")")
	check(t, s, resource.Done, true, "")
	move(away, filepath.Join(bundles, "b.pcapsule"))
	again()
	check(t, c.await("x", func(s *resource.Snapshot) bool { return s.Status.Collected == "2/2" }), resource.Complete, true, "")
	move(bundles, away)
	again()
	s = c.await("x", func(s *resource.Snapshot) bool { return s.Status.Phase == resource.Lost })
	check(t, s, resource.Done, false, "no bundle is on the hub's disk")
	move(away, bundles)
	again()
	s = c.await("x", func(s *resource.Snapshot) bool { return s.Status.Phase == resource.Ready })
	check(t, s, resource.Done, true, "Bundled")
	check(t, s, resource.Complete, true, "AllNodes")
}

// TestWindowBeforeTheRecording: a snapshot whose window begins before the recording, or before what retention left, is not
// complete, and says since when it is.
func TestWindowBeforeTheRecording(t *testing.T) {
	c := newCluster(t, "a")
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.From = "2000-01-01T00:00:00Z" })
	s := c.await("x", finished)
	r, err := ring.Open(c.node["a"].ring)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, resource.Complete, false, "a from "+r.Began.String())
	if n := s.Status.Nodes[0]; n.RecordedFrom != r.Began.String() || n.State != resource.Bundled {
		t.Errorf("%+v", n)
	}
}
