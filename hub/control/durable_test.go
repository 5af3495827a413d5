package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// shelf is a store in a folder, which can be out of reach.
type shelf struct {
	dir    string
	away   atomic.Bool
	pushes atomic.Int64
}

func (s *shelf) Address(place string) string { return "file:///shelf/" + place }

func (s *shelf) Push(_ context.Context, bundle, place string) error {
	if s.pushes.Add(1); s.away.Load() {
		return errors.New("the server cannot be reached")
	}
	to := filepath.Join(s.dir, place)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	return os.CopyFS(to, os.DirFS(bundle))
}

func (s *shelf) Fetch(_ context.Context, place, bundle string) error {
	if s.away.Load() {
		return errors.New("the server cannot be reached")
	}
	return os.CopyFS(bundle, os.DirFS(filepath.Join(s.dir, place)))
}

// TestBundlesAreStored: the status says when the copies are there, and bundles come back when the hub's disk has lost
// them.
func TestBundlesAreStored(t *testing.T) {
	c := newCluster(t, "a", "b")
	s := &shelf{dir: t.TempDir()}
	s.away.Store(true)
	c.store, c.brief = s, true
	stop := c.start()
	c.create("x", namespace, nil)
	isDurable := func(want bool, reason string) func(*resource.Snapshot) bool {
		return func(x *resource.Snapshot) bool {
			got, why := is(x, resource.Durable)
			return got == want && len(why) >= len(reason) && why[:len(reason)] == reason
		}
	}
	check(t, c.await("x", isDurable(false, unstored+": the server cannot be reached")), resource.Done, true, "")
	s.away.Store(false)
	x := c.await("x", isDurable(true, stored+": the bundles are in file:///shelf/pcapsule/x-uid-x"))
	bundles := filepath.Join(c.dir, "uid-x", "bundles")
	for _, n := range []string{"a", "b"} {
		if _, err := os.Stat(filepath.Join(s.dir, "pcapsule", "x-uid-x", n+".pcapsule", "seals.jsonl")); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := os.RemoveAll(c.dir); err != nil { // the pod got another disk
		t.Fatal(err)
	}
	s.away.Store(true)
	stop = c.start()
	c.await("x", func(x *resource.Snapshot) bool { return x.Status.Phase == resource.Lost })
	s.away.Store(false)
	back := c.await("x", func(x *resource.Snapshot) bool { return x.Status.Phase == resource.Ready })
	check(t, back, resource.Durable, true, stored)
	check(t, back, resource.Complete, true, "AllNodes")
	if back.Status.Packets != x.Status.Packets {
		t.Errorf("%d packets are back of %d", back.Status.Packets, x.Status.Packets)
	}
	for _, n := range []string{"a", "b"} {
		if _, err := os.Stat(filepath.Join(bundles, n+".pcapsule", "seals.jsonl")); err != nil {
			t.Error(err)
		}
	}
	stop()
}

// TestStoreThatIsAway: attempts become rarer, retention does not remove what is nowhere else, and a snapshot can be
// deleted meanwhile.
func TestStoreThatIsAway(t *testing.T) {
	c := newCluster(t, "a")
	s := &shelf{dir: t.TempDir()}
	s.away.Store(true)
	c.store = s
	c.start()
	c.create("x", namespace, func(x *resource.Snapshot) { x.Spec.RetainFor = &v1.Duration{Duration: time.Millisecond} })
	eventually(t, "nothing is pushed", func() bool { return s.pushes.Load() > 2 })
	time.Sleep(500 * time.Millisecond)
	if n := s.pushes.Load(); n > 20 { // 1, 2, 4, … ms
		t.Errorf("%d attempts in half a second", n)
	}
	if c.get("x", namespace).DeletionTimestamp != nil {
		t.Error("the retention removed the only copy")
	}
	s.away.Store(false)
	eventually(t, "the retention does not end", func() bool {
		_, err := c.objects(namespace).Get(t.Context(), "x", v1.GetOptions{})
		return err != nil
	})
}

// TestWhatIsDurable: a volume, and not an emptyDir. Snapshots of tenants are not copied.
func TestWhatIsDurable(t *testing.T) {
	for _, tt := range []struct {
		name, ns string
		brief    bool
		store    Store
		want     bool
		reason   string
	}{
		{"a volume", namespace, false, nil, true, onVolume},
		{"an emptyDir", namespace, true, nil, false, inPod},
		{"a tenant's, on a volume", "shop", false, &shelf{dir: "/nowhere"}, true, onVolume},
		{"a tenant's, in an emptyDir", "shop", true, &shelf{dir: "/nowhere"}, false, inPod},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tenants(t, Tenants{Snapshots: 1})
			c.brief, c.store = tt.brief, tt.store
			c.start()
			c.create("x", tt.ns, nil)
			check(t, c.awaitIn("x", tt.ns, finished), resource.Durable, tt.want, tt.reason)
			eventually(t, "the metrics do not say so", func() bool { return (c.hub.Phases()[AtRisk] == 1) != tt.want })
		})
	}
}
