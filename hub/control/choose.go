package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// byPods reports whether the nodes of a snapshot are those where selected pods ran.
func (c *Controller) byPods(s *resource.Snapshot) bool {
	return len(s.Spec.Nodes) == 0 && c.accepts(s) != nil
}

// candidates lists the nodes that a snapshot names or, if it names none, all.
func (c *Controller) candidates(ctx context.Context, s *resource.Snapshot) (names []string, err error) {
	if len(s.Status.Nodes) > 0 {
		return nil, nil // they are fixed
	}
	if names = s.Spec.Nodes; len(names) == 0 {
		if names, err = c.o.Nodes(ctx); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(n string) bool { return !resource.NodeName(n) }), nil
}

// fix sets the nodes of a snapshot, once.
func fix(s *resource.Snapshot, names []string) {
	if len(s.Status.Nodes) > 0 {
		return
	}
	for _, name := range names {
		s.Status.Nodes = append(s.Status.Nodes, resource.Node{Name: name, State: resource.Waiting})
	}
}

// choose fixes the nodes of a snapshot of pods when its window is over. A node is left out only if the hub knows all
// pods of the window, and none of the selected ones ran there. It reports whether the snapshot is served.
func (c *Controller) choose(ctx context.Context, s *resource.Snapshot, from, to ring.Time) (ok bool, err error) {
	if !c.byPods(s) || len(s.Status.Nodes) > 0 {
		return true, nil
	}
	names, err := c.candidates(ctx, s)
	if err != nil {
		return false, err
	}
	var ran []string
	var since time.Time
	if c.o.Ran != nil {
		ran, since = c.o.Ran(c.accepts(s), time.Unix(0, int64(from)), time.Unix(0, int64(to)))
	}
	known := !since.IsZero() && !since.After(time.Unix(0, int64(from)))
	reason, message := "HubRestarted", fmt.Sprintf("all %d nodes are collected: the hub knows where pods ran only since %s", len(names), since.UTC().Format(time.RFC3339))
	switch {
	case since.IsZero():
		message = fmt.Sprintf("all %d nodes are collected: the hub does not know yet where pods ran", len(names))
	case known:
		reason, message = "Known", fmt.Sprintf("selected pods ran on %d of %d nodes", len(ran), len(names))
		names = ran // also nodes that no longer exist: their gap is stated
	}
	if len(names) == 0 {
		return false, c.reject(ctx, s, "NothingSelected", strings.TrimSuffix("none of the selected pods ran on a node in the window: "+s.Spec.Select.OfPods(), ": "))
	}
	return true, c.update(ctx, s, func(s *resource.Snapshot) {
		fix(s, names)
		condition(s, resource.Selected, known, reason, message)
	})
}
