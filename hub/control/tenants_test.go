package control

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// tenants has nodes a, b and c, with pods of the namespace shop on a and b, of payments on c.
func tenants(t *testing.T, limits Tenants) *cluster {
	c := newCluster(t, "a", "b", "c")
	c.tenants = limits
	c.ran = func(accept func(*resource.Pod) bool, _, _ time.Time) (nodes []string, since time.Time) {
		for node, p := range map[string]resource.Pod{"a": {Namespace: "shop", Name: "web"}, "b": {Namespace: "shop", Name: "store"}, "c": {Namespace: "payments", Name: "biller"}} {
			if accept(&p) {
				nodes = append(nodes, node)
			}
		}
		return nodes, time.Unix(1, 0)
	}
	return c
}

// TestTenantsMakeSnapshots: those of a namespace, from the nodes where its pods ran, with a status that says nothing of
// what others did there.
func TestTenantsMakeSnapshots(t *testing.T) {
	c := tenants(t, Tenants{Snapshots: 1})
	c.node["b"].down.Store(true)
	c.start()
	c.create("x", "shop", func(s *resource.Snapshot) {
		s.Spec.Select.Workloads = []string{"payments/biller", "shop/web", "shop/store"}
	})
	s := c.awaitIn("x", "shop", finished)
	check(t, s, resource.Done, true, "")
	check(t, s, resource.Complete, false, "b (its part is missing")
	if s.Status.Collected != "1/2" || s.Status.Find("a") == nil || s.Status.Find("b") == nil {
		t.Errorf("%+v", s.Status)
	}
	text, err := json.Marshal(s.Status)
	if err != nil || s.Status.Packets != 0 {
		t.Errorf("%d packets of all namespaces, %v", s.Status.Packets, err)
	}
	for _, word := range []string{`"packets"`, `"calls"`, `"bytes"`, `"received"`, `"segments"`, `"gaps"`, "no recorder runs", "payments"} {
		if strings.Contains(string(text), word) {
			t.Errorf("the status says %q: %s", word, text)
		}
	}
	if _, dir, err := c.hub.Find("shop", "x"); err != nil || !strings.Contains(dir, "uid-x") {
		t.Errorf("%s, %v", dir, err)
	}
	if _, _, err := c.hub.Find("", "x"); err == nil {
		t.Error("the hub's namespace has the snapshot of another")
	}
}

// TestWhatTenantsGetNot are requests that would keep or collect more than the limits.
func TestWhatTenantsGetNot(t *testing.T) {
	c := tenants(t, Tenants{Snapshots: 2, Window: time.Hour})
	c.start()
	now := time.Now().UTC()
	window := func(length time.Duration, change func(*resource.Snapshot)) func(*resource.Snapshot) {
		return func(s *resource.Snapshot) {
			s.CreationTimestamp = v1.Time{Time: now}
			now = now.Add(time.Second) // each is created a second after the one before
			s.Spec.From, s.Spec.To = time.Now().Add(-length).UTC().Format(time.RFC3339Nano), time.Now().UTC().Format(time.RFC3339Nano)
			if change != nil {
				change(s)
			}
		}
	}
	for _, tt := range []struct {
		name, reason string
		change       func(*resource.Snapshot)
	}{
		{"held", "Invalid", window(time.Minute, func(s *resource.Snapshot) { s.Spec.LegalHold = "me" })},
		{"nodes", "Invalid", window(time.Minute, func(s *resource.Snapshot) { s.Spec.Nodes = []string{"c"} })},
		{"long", "Invalid: the window is", window(2*time.Hour, nil)},
		{"others", "NothingSelected", window(time.Minute, func(s *resource.Snapshot) { s.Spec.Select.Namespaces = []string{"payments"} })},
		{"first", "", window(time.Minute, nil)},
		{"second", "", window(time.Minute, nil)},
		{"third", "TooMany", window(time.Minute, nil)},
	} {
		c.create(tt.name, "shop", tt.change)
		s := c.awaitIn(tt.name, "shop", finished)
		if tt.reason == "" {
			check(t, s, resource.Done, true, "")
			continue
		}
		check(t, s, resource.Accepted, false, tt.reason)
	}
	c.create("fourth", "payments", window(time.Minute, nil)) // each namespace has its own limit
	check(t, c.awaitIn("fourth", "payments", finished), resource.Done, true, "")
}

// TestTenantsAtOnce: snapshots that are created in the same second, in any order of their UIDs, or at once, get as many
// places as there are. A finalizer, which people can set, is none.
func TestTenantsAtOnce(t *testing.T) {
	for _, names := range [][]string{{"a", "b", "c"}, {"c", "b", "a"}} {
		for _, wait := range []bool{true, false} {
			c := tenants(t, Tenants{Snapshots: 2})
			c.start()
			at := v1.Now()
			for _, name := range names {
				c.create(name, "shop", func(s *resource.Snapshot) {
					s.CreationTimestamp, s.Finalizers = at, []string{resource.Finalizer}
				})
				if wait {
					c.awaitIn(name, "shop", finished)
				}
			}
			done := 0
			for _, name := range names {
				s := c.awaitIn(name, "shop", finished)
				if ok, _ := is(s, resource.Done); ok {
					done++
				} else {
					check(t, s, resource.Accepted, false, "TooMany")
				}
			}
			if done != 2 {
				t.Errorf("%v, one after the other %v: %d snapshots, want 2", names, wait, done)
			}
		}
	}
}

// TestTenantsKeepLittle: without retainFor, or with a longer one, a snapshot of a tenant ends with the limit. A hold that
// is set later does not keep it.
func TestTenantsKeepLittle(t *testing.T) {
	c := tenants(t, Tenants{Snapshots: 9, RetainFor: 300 * time.Millisecond})
	c.start()
	c.create("x", "shop", nil)
	c.create("y", "shop", func(s *resource.Snapshot) { s.Spec.RetainFor = &v1.Duration{Duration: time.Hour} })
	c.create("kept", namespace, func(s *resource.Snapshot) { s.Spec.RetainFor = &v1.Duration{Duration: time.Hour} })
	c.await("kept", finished)
	for _, name := range []string{"x", "y"} {
		eventually(t, name+" is still there", func() bool {
			u, err := c.objects("shop").Get(t.Context(), name, v1.GetOptions{})
			return apierrors.IsNotFound(err) || err == nil && u.GetDeletionTimestamp() != nil
		})
	}
	c.get("kept", namespace)
}
