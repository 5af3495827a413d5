package control

import (
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// TestNodesOfSelectedPods: a node is left out only if the hub knows of the whole window that no selected pod ran there.
func TestNodesOfSelectedPods(t *testing.T) {
	long := time.Unix(0, 1)
	for _, tt := range []struct {
		name   string
		of     resource.Selection
		nodes  []string // of the request
		ran    []string
		since  time.Time
		want   string
		known  bool
		reason string
	}{
		{"where they ran", resource.Selection{Namespaces: []string{"shop"}}, nil, []string{"b"}, long, "b", true, "Known: selected pods ran on 1 of 2 nodes"},
		{"on a node that is gone", resource.Selection{Namespaces: []string{"shop"}}, nil, []string{"b", "gone"}, long, "b gone", true, "Known"},
		{"the hub began in the window", resource.Selection{Namespaces: []string{"shop"}}, nil, []string{"b"}, time.Now().Add(-time.Minute), "a b", false, "HubRestarted: all 2 nodes are collected"},
		{"the hub knows nothing", resource.Selection{Namespaces: []string{"shop"}}, nil, nil, time.Time{}, "a b", false, "does not know yet"},
		{"nodes that a person named", resource.Selection{Namespaces: []string{"shop"}}, []string{"a"}, []string{"b"}, long, "a", false, "no condition"},
		{"filters of connections", resource.Selection{Filter: "port 80", KFL: "http"}, nil, nil, long, "a b", false, "no condition"},
		{"nowhere", resource.Selection{Namespaces: []string{"shop"}}, nil, nil, long, "", false, "no condition"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, "a", "b")
			c.ran = func(accept func(*resource.Pod) bool, _, _ time.Time) ([]string, time.Time) {
				if !accept(&resource.Pod{Namespace: "shop", Name: "x"}) || accept(&resource.Pod{Namespace: "payments", Name: "x"}) {
					t.Error("it does not ask for the selected pods")
				}
				return tt.ran, tt.since
			}
			c.start()
			c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.Select, s.Spec.Nodes = tt.of, tt.nodes })
			s := c.await("x", finished)
			var got []string
			for _, n := range s.Status.Nodes {
				got = append(got, n.Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("nodes %q, want %q", got, tt.want)
			}
			check(t, s, resource.Selected, tt.known, tt.reason)
			if tt.want == "" {
				check(t, s, resource.Accepted, false, "NothingSelected: none of the selected pods ran on a node in the window: namespaces shop")
			}
		})
	}
}

func TestInvalidFilterIsRefused(t *testing.T) {
	c := newCluster(t, "a")
	c.start()
	c.create("x", namespace, func(s *resource.Snapshot) { s.Spec.Select.KFL = "http && statuscode == 500" })
	check(t, c.await("x", finished), resource.Accepted, false, "InvalidFilter: invalid snapshot: invalid filter: kfl: line 1, column 9")
}
