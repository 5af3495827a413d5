package control

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// Tenants are the limits of snapshots in other namespaces than the hub's, which people without rights in that one
// create. They have the traffic of their namespace only, and their status says nothing about that of others.
type Tenants struct {
	Snapshots int           // in one namespace; 0: none is served
	Window    time.Duration // the longest; 0: any
	RetainFor time.Duration // the longest, which also applies to snapshots that name none; 0: any
}

// concealed are the messages of nodes and conditions in other namespaces: those of the hub's own could have numbers,
// names or addresses of the traffic of others.
const (
	concealed     = "its part is missing; the hub's log has the reason"
	concealedWork = "the hub could not make the bundles, and will try again; its log has the reason"
)

func (c *Controller) isTenant(s *resource.Snapshot) bool { return s.Namespace != c.o.Namespace }

// refuse returns why a snapshot of another namespace is not served; an empty reason: it is.
func (c *Controller) refuse(s *resource.Snapshot) (reason, message string) {
	if c.o.Tenants.Snapshots == 0 {
		return "WrongNamespace", fmt.Sprintf("snapshots are served in namespace %s; create it there", c.o.Namespace)
	}
	if s.Spec.LegalHold != "" || len(s.Spec.Nodes) > 0 {
		return "Invalid", "outside the hub's namespace a snapshot can have neither legalHold nor nodes: its nodes are those where pods of its namespace ran"
	}
	if from, to, err := s.Window(); err == nil && c.o.Tenants.Window > 0 && time.Duration(to-from) > c.o.Tenants.Window {
		return "Invalid", fmt.Sprintf("the window is %s: must be at most %s", time.Duration(to-from), c.o.Tenants.Window)
	}
	if n, ok := c.admit(s); !ok {
		return "TooMany", fmt.Sprintf("namespace %s has %d snapshots, the limit is %d: delete one, and create this one again", s.Namespace, n, c.o.Tenants.Snapshots)
	}
	return "", ""
}

// admit reports whether a namespace may have one more snapshot, and how many others it has that did not fail. Who
// comes first gets a place: of the fields of a snapshot, only its phase proves that it was admitted, because people
// set the others, and times of creation are equal within a second.
func (c *Controller) admit(s *resource.Snapshot) (others int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	admitted := map[types.UID]bool{}
	for _, obj := range c.cached.List() {
		u := obj.(*unstructured.Unstructured)
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		if phase == "" && c.admitted[u.GetUID()] { // its phase is not in the cache yet
			admitted[u.GetUID()] = true
		}
		if u.GetNamespace() == s.Namespace && u.GetUID() != s.UID && (admitted[u.GetUID()] || phase != "" && phase != resource.Failed) {
			others++
		}
	}
	ok = admitted[s.UID] || others < c.o.Tenants.Snapshots
	if ok {
		admitted[s.UID] = true
	}
	c.admitted = admitted
	return others, ok
}

// accepts returns a function that reports whether a snapshot is about a pod; nil: about all.
func (c *Controller) accepts(s *resource.Snapshot) func(*resource.Pod) bool {
	selected := s.Spec.Select.Accepts()
	if !c.isTenant(s) {
		return selected
	}
	return func(p *resource.Pod) bool { return p.Namespace == s.Namespace && (selected == nil || selected(p)) }
}

// retainFor is how long a finished snapshot is kept; 0: until somebody deletes it.
func (c *Controller) retainFor(s *resource.Snapshot) (d time.Duration) {
	if s.Spec.RetainFor != nil {
		d = s.Spec.RetainFor.Duration
	}
	most := c.o.Tenants.RetainFor
	if c.isTenant(s) && most > 0 && (d == 0 || d > most) {
		return most
	}
	return d
}

// shown returns the nodes for the status of a snapshot.
func (c *Controller) shown(s *resource.Snapshot, nodes []resource.Node) []resource.Node {
	nodes = slices.Clone(nodes)
	if !c.isTenant(s) {
		return nodes
	}
	for i, n := range nodes {
		x := &nodes[i]
		*x = resource.Node{Name: n.Name, State: n.State, Reason: n.Reason, Bundle: n.Bundle, RecordedFrom: n.RecordedFrom}
		switch {
		case n.Message == noBundle:
			x.Message = noBundle
		case n.Gone():
			x.Message = concealed
		}
	}
	return nodes
}
