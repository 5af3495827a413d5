// Package control serves the resource Snapshot: it collects and bundles the parts of all nodes, and
// keeps the status of the resource up to date.
//
// Its state is in the API and in one folder for each snapshot, so it can end at any moment. A snapshot's files are
// removed only when the resource is deleted.
package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/jobs"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/served"
)

const (
	workers = 4

	copiesAtOnce = 2
	resync       = 5 * time.Minute
	maxDelay     = time.Minute
)

// Options of a Controller.
type Options struct {
	Client    dynamic.Interface
	Namespace string                                      // whose snapshots are served
	Tenants   Tenants                                     // limits of snapshots in other namespaces
	Dir       string                                      // for collected files
	Nodes     func(ctx context.Context) ([]string, error) // of the cluster
	// Ran lists the nodes on which accepted pods ran in a time range, and returns the time from which it knows all
	// pods; zero: it knows none. nil: this is not known.
	Ran func(accept func(*resource.Pod) bool, from, to time.Time) (nodes []string, since time.Time)
	// Owners lists the addresses that pods and services had in a time range; nil: this is not known.
	Owners    func(from, to time.Time) *offer.Owners
	Collector *collect.Collector
	Store     Store         // gets the bundles of finished snapshots; nil: they are on the hub's disk only
	Temporary bool          // Dir is lost with the hub's pod
	Jobs      *jobs.Runner  // bundles the parts of large snapshots; nil: the hub bundles all
	Large     int64         // bytes of all parts above which a snapshot is large
	Parallel  int           // nodes that are asked at once for a snapshot; 0 means 16
	Turn      time.Duration // of a node while others wait and nothing else is done; 0 means 15 s
	Retry     time.Duration // first delay after an error; 0 means 1 s
	Log       *slog.Logger
}

// Controller serves snapshots.
type Controller struct {
	o       Options
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	cached  cache.Indexer
	bundles chan struct{} // held while a bundle is made
	copies  chan struct{} // held while a snapshot is copied to or from the store

	mu       sync.Mutex
	runs     map[types.UID]*run // snapshots that are being collected
	admitted map[types.UID]bool // snapshots of tenants, until their phase says so
}

// run is a snapshot that is being collected.
type run struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

var errDeleted = errors.New("the snapshot was deleted")

// New creates a controller.
func New(o Options) *Controller {
	if o.Parallel == 0 {
		o.Parallel = 16
	}
	if o.Turn == 0 {
		o.Turn = 15 * time.Second
	}
	if o.Retry == 0 {
		o.Retry = time.Second
	}
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](o.Retry, maxDelay)
	return &Controller{o: o, queue: workqueue.NewTypedRateLimitingQueue(limit), runs: map[types.UID]*run{}, bundles: make(chan struct{}, 1), copies: make(chan struct{}, copiesAtOnce)}
}

// Run serves snapshots until ctx ends, and waits until all writing has ended.
func (c *Controller) Run(ctx context.Context) error {
	if err := os.MkdirAll(c.o.Dir, 0o700); err != nil {
		return err
	}
	informer := dynamicinformer.NewDynamicSharedInformerFactory(c.o.Client, resync).ForResource(resource.Snapshots).Informer()
	c.mu.Lock()
	c.cached = informer.GetIndexer()
	c.mu.Unlock()
	add := func(obj any) {
		if u, ok := obj.(*unstructured.Unstructured); ok {
			c.queue.Add(types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()})
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }}); err != nil {
		return err
	}
	var all sync.WaitGroup
	all.Go(func() { informer.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		c.reportOrphans()
		for range workers {
			all.Go(func() {
				for c.next(ctx) {
				}
			})
		}
	}
	<-ctx.Done()
	c.queue.ShutDown()
	all.Wait()
	c.mu.Lock()
	left := make([]*run, 0, len(c.runs))
	for _, r := range c.runs {
		left = append(left, r)
	}
	c.mu.Unlock()
	for _, r := range left {
		<-r.done
	}
	return nil
}

// reportOrphans names folders without a snapshot. They are evidence, so a person decides.
func (c *Controller) reportOrphans() {
	known := map[string]bool{}
	for _, obj := range c.cached.List() {
		known[string(obj.(*unstructured.Unstructured).GetUID())] = true
	}
	list, err := os.ReadDir(c.o.Dir)
	if err != nil {
		c.o.Log.Error("listing collected files", "error", err)
	}
	for _, e := range list {
		if e.IsDir() && !known[e.Name()] && e.Name() != "lost+found" {
			c.o.Log.Warn("collected files belong to no snapshot; remove them if nobody needs them", "folder", filepath.Join(c.o.Dir, e.Name()))
		}
	}
}

func (c *Controller) next(ctx context.Context) bool {
	key, closed := c.queue.Get()
	if closed {
		return false
	}
	defer c.queue.Done(key)
	working, err := c.reconcile(ctx, key)
	switch {
	case err != nil && ctx.Err() == nil:
		c.o.Log.Warn("serving a snapshot; trying again", "snapshot", key, "error", err)
		c.queue.AddRateLimited(key)
	case !working: // otherwise the work may fail again, and the next attempt waits longer
		c.queue.Forget(key)
	}
	return true
}

// reconcile does the next step of a snapshot. It reports whether work continues in the background.
func (c *Controller) reconcile(ctx context.Context, key types.NamespacedName) (working bool, err error) {
	obj, exists, err := c.cached.GetByKey(key.String())
	if err != nil || !exists {
		return false, err
	}
	s, err := resource.FromObject(obj.(*unstructured.Unstructured))
	if err != nil {
		return false, err
	}
	held := s.DeletionTimestamp != nil && s.Spec.LegalHold != "" && hasFinalizer(s) && !c.isTenant(s)
	if held {
		err := c.update(ctx, s, func(s *resource.Snapshot) {
			condition(s, resource.Held, true, "LegalHold", "it is deleted when spec.legalHold is removed: "+s.Spec.LegalHold)
		})
		if err != nil {
			return false, err
		}
	}
	if s.DeletionTimestamp == nil && c.isTenant(s) && s.Status.Phase == "" {
		if reason, message := c.refuse(s); reason != "" {
			return false, c.reject(ctx, s, reason, message)
		}
	}
	switch {
	case s.DeletionTimestamp != nil && !held:
		return false, c.delete(ctx, s)
	case s.Status.Finished():
		return c.keep(ctx, key, s)
	case !hasFinalizer(s):
		return false, c.setFinalizer(ctx, s, true)
	}
	c.start(ctx, key, s, c.collect)
	return true, nil
}

func (c *Controller) objects(s *resource.Snapshot) dynamic.ResourceInterface {
	return c.o.Client.Resource(resource.Snapshots).Namespace(s.Namespace)
}

func hasFinalizer(s *resource.Snapshot) bool {
	return slices.Contains(s.Finalizers, resource.Finalizer)
}

// setFinalizer adds or removes the finalizer. It changes nothing else in the object: these Go values would write a
// duration such as 1h as 1h0m0s, and a window cannot be changed.
func (c *Controller) setFinalizer(ctx context.Context, s *resource.Snapshot, there bool) error {
	u, err := c.objects(s).Get(ctx, s.Name, meta.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && u.GetUID() != s.UID {
		return nil
	}
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(u.GetFinalizers(), func(f string) bool { return f == resource.Finalizer })
	if there {
		rest = append(rest, resource.Finalizer)
	}
	u.SetFinalizers(rest)
	_, err = c.objects(s).Update(ctx, u, meta.UpdateOptions{})
	return err
}

// folder is the folder of a snapshot's files. A UID is a plain name, regardless of the snapshot's
// name.
func (c *Controller) folder(uid types.UID) (string, error) {
	if !resource.NodeName(string(uid)) {
		return "", fmt.Errorf("the snapshot has the UID %.80q, which cannot name a folder", uid)
	}
	return filepath.Join(c.o.Dir, string(uid)), nil
}

// AtRisk is the key under which Phases counts the ready snapshots whose bundles would be lost with the hub's pod, or are
// not in the store yet.
const AtRisk = "AtRisk"

// Phases counts the snapshots of each phase, and AtRisk.
func (c *Controller) Phases() map[string]int {
	cached := c.indexer()
	n := map[string]int{}
	if cached == nil {
		return n
	}
	for _, obj := range cached.List() {
		if u := obj.(*unstructured.Unstructured); u.GetNamespace() == c.o.Namespace || c.o.Tenants.Snapshots > 0 {
			phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
			n[cmp.Or(phase, resource.Pending)]++
			if x := apimeta.FindStatusCondition(served.Conditions(u), resource.Durable); phase == resource.Ready && x != nil && x.Status == meta.ConditionFalse {
				n[AtRisk]++
			}
		}
	}
	return n
}

var errStarting = errors.New("the hub is starting")

// indexer has the snapshots as last seen; nil while the hub is starting.
func (c *Controller) indexer() cache.Indexer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cached
}

// Find returns a snapshot and the folder of its bundles, or download.ErrNone. Without a namespace it is in the hub's.
func (c *Controller) Find(namespace, name string) (*resource.Snapshot, string, error) {
	namespace = cmp.Or(namespace, c.o.Namespace)
	cached := c.indexer()
	if cached == nil {
		return nil, "", errStarting
	}
	obj, exists, err := cached.GetByKey(namespace + "/" + name)
	if err != nil {
		return nil, "", err
	}
	if !exists {
		return nil, "", fmt.Errorf("%s in namespace %s: %w", name, namespace, download.ErrNone)
	}
	s, err := resource.FromObject(obj.(*unstructured.Unstructured))
	if err != nil {
		return nil, "", err
	}
	dir, err := c.folder(s.UID)
	return s, filepath.Join(dir, "bundles"), err
}

// List lists the snapshots of all namespaces, in no order.
func (c *Controller) List() (all []*resource.Snapshot, err error) {
	cached := c.indexer()
	if cached == nil {
		return nil, errStarting
	}
	for _, obj := range cached.List() {
		s, err := resource.FromObject(obj.(*unstructured.Unstructured))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// delete ends the work on a snapshot, removes its files, and lets the API remove it.
func (c *Controller) delete(ctx context.Context, s *resource.Snapshot) error {
	c.mu.Lock()
	r := c.runs[s.UID]
	c.mu.Unlock()
	if r != nil {
		r.cancel(errDeleted)
		select {
		case <-r.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if !hasFinalizer(s) {
		return nil
	}
	dir, err := c.folder(s.UID)
	if err != nil {
		return err
	}
	if c.o.Jobs != nil {
		if gone, err := c.o.Jobs.Remove(ctx, s.UID); err != nil {
			return err
		} else if !gone { // its pods may still write
			c.queue.AddAfter(types.NamespacedName{Namespace: s.Namespace, Name: s.Name}, 2*c.o.Retry)
			return nil
		}
	}
	if !s.Status.Finished() { // otherwise the nodes have released their parts
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for _, n := range s.Status.Nodes {
			if err := c.o.Collector.Clean(short, collect.Part{Dir: dir, Pin: string(s.UID), Node: n.Name}); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := c.setFinalizer(ctx, s, false); err != nil {
		return err
	}
	c.o.Log.Info("deleted a snapshot", "snapshot", s.Name, "uid", s.UID)
	return nil
}

// noBundle is the message of a node whose bundle was there.
const noBundle = "its bundle is no longer on the hub's disk"

// recheck states which bundles of a finished snapshot are on the hub's disk: a replaced pod may have another disk, and a
// volume may return.
func (c *Controller) recheck(ctx context.Context, s *resource.Snapshot) error {
	dir, err := c.folder(s.UID)
	if err != nil || s.Status.Phase == resource.Failed {
		return err
	}
	nodes, left := slices.Clone(s.Status.Nodes), 0
	for i := range nodes {
		n := &nodes[i]
		_, err := os.Stat(collect.Part{Dir: dir, Node: n.Name}.Bundle())
		switch there := err == nil; {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case there && n.Message == noBundle:
			n.State, n.Reason, n.Message, n.Bundle = resource.Bundled, "", "", collect.BundleName(n.Name)
		case !there && n.Bundle != "":
			n.State, n.Reason, n.Message, n.Bundle = resource.Missing, collect.Gone, noBundle, ""
		}
		if n.Bundle != "" {
			left++
		}
	}
	if slices.Equal(nodes, s.Status.Nodes) {
		return nil
	}
	return c.update(ctx, s, func(s *resource.Snapshot) {
		at := s.Status.CompletedAt
		finish(s, nodes)
		if s.Status.CompletedAt = at; !isStored(s) {
			c.durable(s)
			if slices.ContainsFunc(nodes, func(n resource.Node) bool { return n.Message == noBundle }) {
				condition(s, resource.Durable, false, "BundlesLost", "bundles are no longer on the hub's disk")
			}
		}
		if left == 0 {
			s.Status.Phase = resource.Lost
			condition(s, resource.Done, false, "BundlesLost", "no bundle is on the hub's disk; the recorders may still have the packets: create the snapshot again")
		}
	})
}

// left is the time for which a finished snapshot is kept, if its retention ends.
func (c *Controller) left(s *resource.Snapshot) (d time.Duration, ends bool) {
	keep := c.retainFor(s)
	if keep == 0 || s.Status.CompletedAt == nil || s.Spec.LegalHold != "" && !c.isTenant(s) {
		return 0, false
	}
	return time.Until(s.Status.CompletedAt.Add(keep)), true
}

func (c *Controller) expired(s *resource.Snapshot) bool {
	left, ends := c.left(s)
	return ends && left <= 0
}

// expire deletes a snapshot whose retention has ended.
func (c *Controller) expire(ctx context.Context, s *resource.Snapshot) error {
	if dir, err := c.folder(s.UID); err == nil {
		// A hub that ended after it had written the status left these.
		if err := collect.Sweep(dir); err != nil {
			return err
		}
	}
	left, ends := c.left(s)
	if !ends {
		return nil
	}
	if left > 0 {
		c.queue.AddAfter(types.NamespacedName{Namespace: s.Namespace, Name: s.Name}, left)
		return nil
	}
	err := c.objects(s).Delete(ctx, s.Name, meta.DeleteOptions{Preconditions: &meta.Preconditions{UID: &s.UID}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// start works on a snapshot in the background, once at a time.
func (c *Controller) start(ctx context.Context, key types.NamespacedName, s *resource.Snapshot, do func(context.Context, *resource.Snapshot) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs[s.UID] != nil || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := &run{cancel: cancel, done: make(chan struct{})}
	c.runs[s.UID] = r
	go func() {
		err := do(ctx, s)
		cancel(nil)
		c.mu.Lock()
		delete(c.runs, s.UID)
		c.mu.Unlock()
		close(r.done)
		if err != nil && !errors.Is(err, errDeleted) {
			c.o.Log.Error("collecting, storing or restoring a snapshot", "snapshot", key, "error", err)
			c.queue.AddRateLimited(key)
		} else if err == nil {
			c.queue.Forget(key)
			c.queue.AddAfter(key, c.o.Retry) // its newest state was perhaps ignored meanwhile
		}
	}()
}
