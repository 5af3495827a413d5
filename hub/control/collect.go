package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/served"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// progressEvery is how often the status is updated with the progress of a snapshot.
const (
	progressEvery = time.Second
	pinsAtOnce    = 64
	turn          = 5 * time.Second  // of a node while others wait
	pinPatience   = 30 * time.Second // for one node; receiving its part has its own
)

// collect does everything for a snapshot. It returns an error if it must be called again.
func (c *Controller) collect(ctx context.Context, s *resource.Snapshot) error {
	from, to, err := s.Window()
	if err == nil {
		err = s.Check()
	}
	if errors.Is(err, resource.ErrSpec) {
		return c.reject(ctx, s, served.Reason(err), err.Error())
	}
	if err != nil {
		return err
	}
	dir, err := c.folder(s.UID)
	if err != nil {
		return c.reject(ctx, s, "Invalid", err.Error())
	}
	if err := c.accept(ctx, s, from, to); err != nil || s.Status.Finished() {
		return err
	}
	// The last packets of the window reach the ring a moment later.
	if err := sleepUntil(ctx, time.Unix(0, int64(to)).Add(c.o.Retry)); err != nil {
		return err
	}
	if ok, err := c.choose(ctx, s, from, to); err != nil || !ok {
		return err
	}
	j := &collection{c: c, s: s, dir: dir, nodes: slices.Clone(s.Status.Nodes)}
	if j.plan, err = collect.ReadPlan(dir); err != nil {
		return err
	}
	for _, n := range j.nodes {
		j.parts = append(j.parts, collect.Part{Dir: dir, Pin: string(s.UID), Node: n.Name, From: from, To: to, Patience: s.Patience()})
	}
	if err := j.run(ctx); err != nil {
		return c.failed(ctx, s, err)
	}
	if c.o.Owners != nil { // before the memory of pods forgets them
		if err := offer.WriteOwners(dir, c.o.Owners(time.Unix(0, int64(from)), time.Unix(0, int64(to)))); err != nil {
			return err
		}
	}
	if err := c.update(ctx, s, func(s *resource.Snapshot) { finish(s, c.shown(s, j.nodes)); c.durable(s) }); err != nil {
		return err
	}
	c.o.Log.Info("a snapshot is ready", "snapshot", s.Name, "nodes", s.Status.Collected, "packets", s.Status.Packets, "calls", s.Status.Calls)
	for _, p := range j.parts {
		if err := c.o.Collector.Clean(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// failed states why the work on a snapshot ended, for the time until it is tried again.
func (c *Controller) failed(ctx context.Context, s *resource.Snapshot, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	reason, why := "Error", err.Error()+"; it will be tried again"
	if collect.IsDisk(err) {
		reason = "HubDisk"
	}
	if c.isTenant(s) {
		why = concealedWork
	}
	return errors.Join(err, c.update(ctx, s, func(s *resource.Snapshot) {
		condition(s, resource.Done, false, reason, why)
	}))
}

func sleepUntil(ctx context.Context, t time.Time) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(t)):
		return nil
	}
}

// accept fixes the window, and the nodes unless they depend on where pods run in it. It does nothing if the snapshot is
// finished, which the cache may not know yet.
func (c *Controller) accept(ctx context.Context, s *resource.Snapshot, from, to ring.Time) error {
	names, err := c.candidates(ctx, s)
	if err != nil {
		return err
	}
	return c.update(ctx, s, func(s *resource.Snapshot) {
		if s.Status.Finished() {
			return
		}
		if !c.byPods(s) {
			fix(s, names)
		}
		s.Status.From, s.Status.To = from.String(), to.String()
		if s.Status.Phase == "" || s.Status.Phase == resource.Pending {
			s.Status.Phase = resource.Collecting
		}
		condition(s, resource.Accepted, true, "Valid", "the window and the nodes are fixed")
		condition(s, resource.Complete, false, "Collecting", "parts of nodes are being collected")
		condition(s, resource.Done, false, "Collecting", "parts of nodes are being collected")
	})
}

// finish states the result.
func finish(s *resource.Snapshot, nodes []resource.Node) {
	now := v1.Now()
	s.Status.Phase, s.Status.Nodes, s.Status.CompletedAt = resource.Ready, nodes, &now
	var missing, late []string
	gaps := int64(0)
	for _, n := range nodes {
		switch gaps += n.Gaps; {
		case n.Gone():
			missing = append(missing, fmt.Sprintf("%s (%s)", n.Name, n.Message))
		case n.RecordedFrom != "":
			late = append(late, n.Name+" from "+n.RecordedFrom)
		}
	}
	switch {
	case len(missing) > 0:
		condition(s, resource.Complete, false, "NodesMissing", "stated as coverage gaps: "+strings.Join(missing, ", "))
	case len(late) > 0:
		condition(s, resource.Complete, false, "PartlyRecorded", "the window begins before what was recorded, or is left: "+strings.Join(late, ", "))
	case gaps > 0:
		condition(s, resource.Complete, true, "AllNodes", "every node's part is there, with "+plural.Count(gaps, "coverage gap", "coverage gaps"))
	default:
		condition(s, resource.Complete, true, "AllNodes", "every node's part is there")
	}
	condition(s, resource.Done, true, "Bundled", "get the bundles with pcapsule fetch")
}

// collection collects the parts of one snapshot.
type collection struct {
	c     *Controller
	s     *resource.Snapshot
	dir   string
	plan  *collect.Plan // of the snapshot's Job; nil while it has none
	parts []collect.Part

	mu    sync.Mutex
	nodes []resource.Node
	news  bool
}

func (j *collection) set(i int, n resource.Node) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.news = j.news || j.nodes[i] != n
	j.nodes[i] = n
}

func (j *collection) get(i int) resource.Node {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.nodes[i]
}

// run receives and bundles all parts, and writes the progress to the status meanwhile.
func (j *collection) run(ctx context.Context) error {
	done := make(chan struct{})
	told := make(chan struct{})
	go func() { defer close(told); j.tell(ctx, done) }()
	err := j.receive(ctx)
	if err == nil {
		err = j.runJob(ctx)
	}
	close(done)
	<-told
	return err
}

// pin pins the window on all nodes, so that their retention does not remove it before their turn comes.
func (j *collection) pin(ctx context.Context) {
	turns := make(chan struct{}, pinsAtOnce)
	var all sync.WaitGroup
	for _, p := range j.parts {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeout(ctx, pinPatience)
			defer cancel()
			if err := j.c.o.Collector.Pin(ctx, p); err != nil && ctx.Err() == nil {
				j.c.o.Log.Warn("a node's part is not pinned yet", "node", p.Node, "pin", p.Pin, "error", err)
			}
		})
	}
	all.Wait()
}

// receive pins all parts, receives several at once, and bundles each when it is there, except those that a Job will
// bundle.
func (j *collection) receive(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	turns := collect.NewTurns(j.c.o.Parallel, j.c.o.Turn)
	var all sync.WaitGroup
	all.Go(func() { j.pin(ctx) })
	for i := range j.parts {
		j.parts[i].Turns = turns
		all.Go(func() {
			if err := j.part(ctx, i); err != nil {
				cancel(err) // a later attempt continues the others
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

func (j *collection) part(ctx context.Context, i int) error {
	n := j.get(i)
	if !n.Finished() {
		var err error
		if n, err = j.c.o.Collector.Receive(ctx, j.parts[i], func(n resource.Node) { j.set(i, n) }); err != nil {
			return err
		}
		j.set(i, n)
	}
	if n.Bundle == "" && j.large(n) {
		return nil
	}
	return j.bundle(ctx, i)
}

// bundle bundles a part here, after those of other snapshots.
func (j *collection) bundle(ctx context.Context, i int) error {
	select {
	case j.c.bundles <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-j.c.bundles }()
	n, err := j.c.o.Collector.Bundle(ctx, j.parts[i], j.get(i))
	if err == nil {
		j.set(i, n)
	}
	return err
}

// tell writes the progress to the status until done is closed.
func (j *collection) tell(ctx context.Context, done <-chan struct{}) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
		}
		j.mu.Lock()
		news, nodes := j.news, slices.Clone(j.nodes)
		j.news = false
		j.mu.Unlock()
		if !news {
			continue
		}
		s := *j.s
		// If the API is away, the next time says more.
		err := j.c.tryUpdate(ctx, &s, func(s *resource.Snapshot) {
			s.Status.Nodes, s.Status.Phase = j.c.shown(s, nodes), phaseOf(nodes)
			if s.Status.Phase == resource.Bundling {
				done := len(nodes) - len(slices.DeleteFunc(slices.Clone(nodes), func(n resource.Node) bool { return n.Bundle != "" }))
				condition(s, resource.Done, false, "Bundling", fmt.Sprintf("%d of %d bundles are made", done, len(nodes)))
			}
		})
		if errors.Is(err, errDeleted) {
			return
		}
	}
}

// phaseOf is the phase of a snapshot that is not finished.
func phaseOf(nodes []resource.Node) string {
	for i := range nodes {
		if n := &nodes[i]; !n.Finished() && n.State != resource.Received {
			return resource.Collecting
		}
	}
	return resource.Bundling
}
