package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/jobs"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// large reports whether a received part is left for a Job: one of the plan or, before there is a plan, one that arrived
// after the snapshot had become large. A part that has not arrived is never large, and none of a snapshot in another
// namespace: it could not own a Job in the hub's.
func (j *collection) large(n resource.Node) bool {
	if j.c.o.Jobs == nil || j.c.isTenant(j.s) || n.Received == 0 || n.State == resource.Failed {
		return false
	}
	if j.plan != nil {
		return slices.Contains(j.plan.Nodes, n.Name)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var sum int64
	for i := range j.nodes {
		sum += j.nodes[i].Bytes
	}
	return sum > j.c.o.Large
}

// runJob lets a Job bundle the parts that were left for it, and waits for them.
func (j *collection) runJob(ctx context.Context) error {
	if j.plan == nil {
		plan := &collect.Plan{}
		for i, p := range j.parts {
			plan.From, plan.To = p.From, p.To // of each
			if j.get(i).Bundle == "" {
				plan.Nodes = append(plan.Nodes, p.Node)
			}
		}
		if len(plan.Nodes) == 0 {
			return nil
		}
		if err := plan.Write(j.dir); err != nil {
			return err
		}
		j.plan = plan
	}
	if j.c.o.Jobs == nil {
		return nil // receive has bundled all of them
	}
	for {
		left, err := j.look(ctx)
		if err != nil || left == 0 {
			return err
		}
		if err := sleepUntil(ctx, time.Now().Add(2*j.c.o.Retry)); err != nil {
			return err
		}
	}
}

// look does the next step for each index of the Job, and returns the number of unfinished ones.
func (j *collection) look(ctx context.Context) (left int, err error) {
	at := map[string]int{} // of the nodes that are left
	for i := range j.parts {
		if n := j.get(i); n.Bundle == "" {
			at[n.Name] = i
		}
	}
	if len(at) == 0 {
		return 0, nil
	}
	all, err := j.c.o.Jobs.Look(ctx, j.s, len(j.plan.Nodes))
	if err != nil {
		return 0, err
	}
	for k, x := range all {
		i, ok := at[j.plan.Nodes[k]]
		if !ok {
			continue
		}
		if err := j.follow(ctx, i, x); err != nil {
			return 0, err
		}
		if j.get(i).Bundle == "" {
			left++
		}
	}
	return left, nil
}

// follow applies the state of an index of the Job to its part.
func (j *collection) follow(ctx context.Context, i int, x jobs.Index) error {
	n := j.get(i)
	switch x.State {
	case jobs.Done:
		n, err := j.c.o.Collector.Receive(ctx, j.parts[i], nil) // what it was before it had a pod
		if err == nil {
			n, err = j.c.o.Collector.Bundle(ctx, j.parts[i], n) // reads its numbers
		}
		if err == nil {
			j.set(i, n)
		}
		return err
	case jobs.Failed:
		why := fmt.Sprintf("its part was collected, but no bundle was made of it: %s. The hub keeps it in %s", x.Text, j.parts[i].Held())
		j.c.o.Log.Error("a node's part was not bundled", "snapshot", j.s.Name, "node", n.Name, "why", x.Text)
		n, err := j.c.o.Collector.Fail(ctx, j.parts[i], n, why)
		if err == nil {
			j.set(i, n)
		}
		return err
	case jobs.Running:
		n.Message = "bundled by " + x.Text
	default:
		n.Message = x.Text
	}
	if n.State != resource.Missing {
		j.set(i, n)
	}
	return nil
}
