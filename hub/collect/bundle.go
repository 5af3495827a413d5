package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// bundled reports whether the part's bundle exists. It is complete then, because a bundle gets its name last.
func (p Part) bundled() (bool, error) {
	_, err := os.Stat(p.Bundle())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Bundle makes the bundle of a part that was received, is missing or failed, unless it exists, and reads its numbers.
// It returns the final state. Several programs may call it at once: the bundle of the first that finishes stays.
func (c *Collector) Bundle(ctx context.Context, p Part, n resource.Node) (resource.Node, error) {
	there, err := p.bundled()
	if err != nil {
		return n, err
	}
	from := p.source(n)
	if !there {
		if err := c.state(from, p, n); err != nil {
			return n, err
		}
		if err := c.make(ctx, from, p); err != nil {
			return n, fmt.Errorf("making the bundle of node %s: %w", p.Node, err)
		}
	}
	if err := c.stamp(p); err != nil {
		return n, fmt.Errorf("adding the anchor to the bundle of node %s: %w", p.Node, err)
	}
	gaps(from, p, &n)
	counts, err := c.Count(p.Bundle())
	if err != nil {
		return n, fmt.Errorf("reading the bundle of node %s: %w", p.Node, err)
	}
	n.Packets, n.Calls, n.Bundle = counts.Packets, counts.Calls, BundleName(p.Node)
	if !n.Finished() {
		n.State = resource.Bundled
	}
	return n, nil
}

// make makes the bundle in the part's own folder and then moves it to its place. In the folder of all bundles it would
// be next to those of programs on other machines, whose locks a shared volume may not show.
func (c *Collector) make(ctx context.Context, from string, p Part) error {
	made, all := filepath.Join(p.node(), filepath.Base(p.Bundle())), filepath.Dir(p.Bundle())
	if _, err := os.Stat(made); errors.Is(err, fs.ErrNotExist) { // otherwise a program was killed before it moved it
		if err := c.Make(ctx, from, made, [2]ring.Time{p.From, p.To}); err != nil {
			if there, _ := p.bundled(); there {
				return nil // another program was first
			}
			return err
		}
	}
	if err := os.MkdirAll(all, 0o700); err != nil {
		return err
	}
	err := os.Rename(made, p.Bundle()) // never onto a bundle: a folder that is not empty is not replaced
	if there, _ := p.bundled(); err != nil && there {
		return os.RemoveAll(made)
	}
	if err != nil {
		return err
	}
	return whole.SyncFolder(all)
}

// Fail stores why a received part could not be bundled, and makes a bundle that states the gap. The collected files
// stay until the snapshot is deleted.
func (c *Collector) Fail(ctx context.Context, p Part, n resource.Node, why string) (resource.Node, error) {
	n.State, n.Reason, n.Message = resource.Failed, Gone, why
	if err := c.keep(p, failedName, n); err != nil {
		return n, err
	}
	return c.Bundle(ctx, p, n)
}

// Clean removes files that a finished bundle no longer needs, here and on the node, which may be
// gone.
func (c *Collector) Clean(ctx context.Context, p Part) error {
	if client, err := c.Find(ctx, p.Node); err == nil {
		if err := client.Release(ctx, p.Pin); err != nil {
			c.Log.Warn("a node keeps its part for a day", "node", p.Node, "pin", p.Pin, "error", err)
		}
	}
	return sweep(p.node())
}

// Sweep removes files that the bundles of a finished snapshot no longer need.
func Sweep(dir string) error {
	nodes := filepath.Join(dir, "nodes")
	list, err := os.ReadDir(nodes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		err = errors.Join(err, sweep(filepath.Join(nodes, e.Name())))
	}
	return err
}

// sweep removes a node's folder, unless it has the only copy of a part.
func sweep(node string) error {
	_, err := os.Stat(filepath.Join(node, failedName))
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(node)
	}
	return err
}

// source is the folder from which the bundle is made: the received part, or a ring that only states the gap.
func (p Part) source(n resource.Node) string {
	if _, err := os.Stat(filepath.Join(p.Held(), "seals.jsonl")); err == nil && n.State != resource.Failed {
		return p.Held()
	}
	return filepath.Join(p.node(), "absent")
}

// state makes the ring that only states the gap, unless dir is the received part.
func (c *Collector) state(dir string, p Part, n resource.Node) error {
	if dir == p.Held() {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(p.node(), 0o700); err != nil {
		return err
	}
	reason := n.Reason
	if reason == "" {
		reason = Gone
	}
	return ring.Absent(dir, p.Node, c.Hub, ring.Hole{Reason: reason, From: p.From, To: p.To, Packets: -1, Detail: "node " + p.Node + ": " + n.Message})
}

// gaps counts the coverage gaps in the window, and finds out whether the recording begins in it.
func gaps(dir string, p Part, n *resource.Node) {
	r, err := ring.Open(dir)
	if err != nil {
		return // the exporter reports it
	}
	n.Gaps, n.RecordedFrom = 0, ""
	began := r.Began
	for _, h := range r.Holes {
		if h.Reason == ring.Retention {
			began = max(began, h.To)
		}
		if (h.From == 0 || h.From <= p.To) && (h.To == 0 || h.To >= p.From) {
			n.Gaps++
		}
	}
	if began > p.From && n.State != resource.Missing && n.State != resource.Failed {
		n.RecordedFrom = min(began, p.To).String()
	}
}
