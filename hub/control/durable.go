package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// Store keeps copies of bundles outside the hub. Snapshots of other namespaces are not copied: their bundles have the
// traffic of all namespaces until they are cut for a reader, and are kept only for a short time.
type Store interface {
	// Address is that of a place, for people.
	Address(place string) string
	// Push copies a bundle to a place, unless it is there.
	Push(ctx context.Context, bundle, place string) error
	// Fetch copies a verified bundle from a place to a folder that does not exist.
	Fetch(ctx context.Context, place, bundle string) error
}

// Reasons of the condition resource.Durable.
const (
	onVolume = "Volume"   // of the hub
	inPod    = "EmptyDir" // which is lost with the hub's pod
	storing  = "Storing"
	stored   = "Stored"
	unstored = "StoreFailed"
)

// place is where a snapshot is in the store.
func place(s *resource.Snapshot) string {
	return path.Join(s.Namespace, s.Name+"-"+string(s.UID))
}

// durable states whether the bundles of a finished snapshot survive the hub's pod.
func (c *Controller) durable(s *resource.Snapshot) {
	switch {
	case c.stores(s):
		condition(s, resource.Durable, false, storing, "the bundles are being copied to "+c.o.Store.Address(place(s)))
	case c.o.Temporary:
		condition(s, resource.Durable, false, inPod, "the bundles are lost with the hub's pod, because its data is in an emptyDir: fetch them, or set hub.storage or hub.store of the chart")
	default:
		condition(s, resource.Durable, true, onVolume, "the bundles are on the hub's volume")
	}
}

// stores reports whether the bundles of a snapshot are copied.
func (c *Controller) stores(s *resource.Snapshot) bool { return c.o.Store != nil && !c.isTenant(s) }

// isStored reports whether all of them are.
func isStored(s *resource.Snapshot) bool {
	x := meta.FindStatusCondition(s.Status.Conditions, resource.Durable)
	return x != nil && x.Status == v1.ConditionTrue && x.Reason == stored
}

// keep copies the bundles of a finished snapshot to the store, or back if the hub's disk has lost them, until its
// retention ends. Without a copy, retention does not remove it. It copies in the background, and reports whether it does.
func (c *Controller) keep(ctx context.Context, key types.NamespacedName, s *resource.Snapshot) (working bool, err error) {
	if lost := c.lost(s); len(lost) > 0 && c.stores(s) && isStored(s) && !c.expired(s) {
		c.start(ctx, key, s, func(ctx context.Context, s *resource.Snapshot) error { return c.restore(ctx, s, lost) })
		return true, nil
	}
	if err := c.recheck(ctx, s); err != nil {
		return false, err
	}
	if c.stores(s) && !isStored(s) && s.Status.Phase == resource.Ready {
		c.start(ctx, key, s, c.push)
		return true, nil
	}
	return false, c.expire(ctx, s)
}

// copying waits for the turn of a snapshot to be copied. done ends it.
func (c *Controller) copying(ctx context.Context) (done func(), err error) {
	select {
	case c.copies <- struct{}{}:
		return func() { <-c.copies }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// push copies the bundles to the store.
func (c *Controller) push(ctx context.Context, s *resource.Snapshot) error {
	done, err := c.copying(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.update(ctx, s, func(*resource.Snapshot) {}); err != nil || isStored(s) { // reads what the cache does not have yet
		return err
	}
	dir, err := c.folder(s.UID)
	for i := range s.Status.Nodes {
		if n := &s.Status.Nodes[i]; err == nil && n.Bundle != "" {
			err = c.o.Store.Push(ctx, collect.Part{Dir: dir, Node: n.Name}.Bundle(), path.Join(place(s), collect.BundleName(n.Name)))
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return errors.Join(err, c.update(ctx, s, func(s *resource.Snapshot) {
			condition(s, resource.Durable, false, unstored, err.Error()+"; it will be tried again")
		}))
	}
	return c.update(ctx, s, func(s *resource.Snapshot) {
		condition(s, resource.Durable, true, stored, "the bundles are in "+c.o.Store.Address(place(s)))
	})
}

// lost lists the nodes whose bundles were on the hub's disk and are not.
func (c *Controller) lost(s *resource.Snapshot) (nodes []string) {
	dir, err := c.folder(s.UID)
	if err != nil {
		return nil
	}
	for i := range s.Status.Nodes {
		n := &s.Status.Nodes[i]
		_, err := os.Stat(collect.Part{Dir: dir, Node: n.Name}.Bundle())
		if errors.Is(err, fs.ErrNotExist) && (n.Bundle != "" || n.Message == noBundle) {
			nodes = append(nodes, n.Name)
		}
	}
	return nodes
}

// restore gets bundles from the store. The status then says what is there.
func (c *Controller) restore(ctx context.Context, s *resource.Snapshot, nodes []string) error {
	done, err := c.copying(ctx)
	if err != nil {
		return err
	}
	defer done()
	dir, err := c.folder(s.UID)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "bundles"), 0o700); err != nil {
		return err
	}
	for _, node := range nodes {
		if err := c.o.Store.Fetch(ctx, path.Join(place(s), collect.BundleName(node)), collect.Part{Dir: dir, Node: node}.Bundle()); err != nil {
			return errors.Join(fmt.Errorf("restoring the bundle of node %s: %w", node, err), c.recheck(ctx, s))
		}
	}
	c.o.Log.Info("restored bundles from the store", "snapshot", s.Name, "bundles", len(nodes))
	return c.recheck(ctx, s)
}
