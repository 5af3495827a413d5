package kube

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// revision is the annotation that a Deployment's controller writes on its replica sets.
const revision = "deployment.kubernetes.io/revision"

// resolver finds the owners of the controllers of this node's pods. It requests each
// ReplicaSet and Job by name, once, so that nothing of other nodes is listed. Its fields are
// guarded by the Source's lock.
type resolver struct {
	s     *Source
	known map[string]*maker    // by UID
	rolls map[string]*rollout  // by the Deployment's UID
	queue []string             // UIDs to request
	again map[string]time.Time // UIDs to request again because the API did not respond
	wake  chan struct{}
}

// maker is a controller of pods that may have its own controller.
type maker struct {
	ref
	pods map[*entry]struct{}
	top  topOwner
	of   string // UID of the Deployment
	done bool
	wait bool // a request is queued
}

// rollout is the newest replica set of a Deployment that has pods on this node.
type rollout struct {
	set, setName string
	revision     int64
	makers       int
}

const retryAfter = 5 * time.Second

func newResolver(s *Source) *resolver {
	return &resolver{s: s, known: map[string]*maker{}, rolls: map[string]*rollout{}, again: map[string]time.Time{}, wake: make(chan struct{}, 1)}
}

func (r *resolver) hold(e *entry) {
	c := e.controller
	if c.uid == "" || c.kind != "ReplicaSet" && c.kind != "Job" {
		return
	}
	m := r.known[c.uid]
	if m == nil {
		m = &maker{ref: c, pods: map[*entry]struct{}{}}
		r.known[c.uid] = m
	}
	m.pods[e] = struct{}{}
}

func (r *resolver) release(e *entry) {
	m := r.known[e.controller.uid]
	if m == nil {
		return
	}
	if delete(m.pods, e); len(m.pods) > 0 {
		return
	}
	delete(r.known, m.uid)
	delete(r.again, m.uid)
	if x := r.rolls[m.of]; x != nil {
		if x.makers--; x.makers <= 0 {
			delete(r.rolls, m.of)
		}
	}
}

// resolve sets the owner of a pod as far as it is known, and requests it otherwise. A new pod
// of an older replica set may mean that its Deployment was rolled back.
func (r *resolver) resolve(e *entry, isNew bool) {
	c := e.controller
	m := r.known[c.uid]
	if m == nil {
		e.owner = guess(e)
		return
	}
	e.owner = m.top
	if !m.done {
		e.owner = guess(e)
	}
	x := r.rolls[m.of]
	if !m.wait && (!m.done || isNew && x != nil && x.set != m.uid) {
		m.wait = true
		r.queue = append(r.queue, m.uid)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// guess derives a Deployment's name from that of its replica set, which ends with the hash in
// its pods' labels, and a CronJob's name from that of its Job.
func guess(e *entry) topOwner {
	c := e.controller
	if base, ok := strings.CutSuffix(c.name, "-"+e.hash); ok && c.kind == "ReplicaSet" && e.hash != "" && base != "" {
		return topOwner{"Deployment", base, true}
	}
	if c.kind == "Job" {
		if name, ok := workload.CronJobOf(c.name, e.from); ok {
			return topOwner{"CronJob", name, true}
		}
	}
	if c.kind == "Node" {
		return topOwner{} // of a static pod
	}
	return topOwner{kind: c.kind, name: c.name}
}

// run requests controllers until ctx ends.
func (r *resolver) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-tick.C:
		}
		for ctx.Err() == nil {
			c, ok := r.next()
			if !ok {
				break
			}
			made, rev, err := r.request(ctx, c)
			r.s.feeds.record(ctx, "owners", noResponse(err))
			r.s.mu.Lock()
			r.apply(c, made, rev, err)
			r.s.mu.Unlock()
		}
	}
}

// noResponse returns an error only if the API did not respond; "not found" is a response.
func noResponse(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (r *resolver) next() (ref, bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for uid, at := range r.again {
		if !r.s.o.now().Before(at) {
			delete(r.again, uid)
			r.queue = append(r.queue, uid)
		}
	}
	for len(r.queue) > 0 {
		uid := r.queue[0]
		if r.queue = r.queue[1:]; len(r.queue) == 0 {
			r.queue = nil
		}
		if m := r.known[uid]; m != nil {
			return m.ref, true
		}
	}
	return ref{}, false
}

// request requests a controller, and returns its own controller and its revision.
func (r *resolver) request(ctx context.Context, c ref) (by ref, rev int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var meta *metav1.ObjectMeta
	if c.kind == "ReplicaSet" {
		x, getErr := r.s.api.Apps.ReplicaSets(c.namespace).Get(ctx, c.name, metav1.GetOptions{})
		if getErr != nil {
			return ref{}, 0, fmt.Errorf("reading replica set %s/%s: %w", c.namespace, c.name, getErr)
		}
		meta = &x.ObjectMeta
	} else {
		x, getErr := r.s.api.Batch.Jobs(c.namespace).Get(ctx, c.name, metav1.GetOptions{})
		if getErr != nil {
			return ref{}, 0, fmt.Errorf("reading job %s/%s: %w", c.namespace, c.name, getErr)
		}
		meta = &x.ObjectMeta
	}
	if cleanName(string(meta.UID)) != c.uid {
		return ref{}, 0, apierrors.NewNotFound(schema.GroupResource{Resource: strings.ToLower(c.kind)}, c.name) // another of the same name
	}
	if n, err := strconv.ParseInt(meta.Annotations[revision], 10, 64); err == nil {
		rev = n
	}
	return controllerOf(meta.OwnerReferences, c.namespace), rev, nil
}

// apply applies the API's response.
func (r *resolver) apply(c, by ref, rev int64, err error) {
	m := r.known[c.uid]
	if m == nil {
		return
	}
	final := err == nil || apierrors.IsNotFound(err) || apierrors.IsForbidden(err)
	if !final {
		r.again[c.uid] = r.s.o.now().Add(retryAfter)
		return
	}
	m.wait = false
	if err != nil && m.done {
		return // it was already known
	}
	m.done = true
	for e := range m.pods {
		top := topOwner{kind: c.kind, name: c.name}
		switch {
		case err != nil:
			top = guess(e)
		case by.uid != "" || by.name != "":
			top = topOwner{kind: by.kind, name: by.name}
		}
		m.top = top
		if e.owner != top {
			e.owner = top
			r.s.changed(e)
		}
	}
	if err == nil && by.kind == "Deployment" && by.uid != "" {
		r.rolled(m, by, rev)
	}
}

// rolled records which replica set of a Deployment is the newest, and reports when that
// changes.
func (r *resolver) rolled(m *maker, by ref, rev int64) {
	x := r.rolls[by.uid]
	if x == nil {
		x = &rollout{set: m.uid, setName: m.name, revision: rev}
		r.rolls[by.uid] = x
	}
	if m.of == "" {
		m.of = by.uid
		x.makers++
	}
	if rev <= x.revision || x.set == m.uid {
		x.revision = max(x.revision, rev)
		return
	}
	images := ""
	for e := range m.pods {
		for _, c := range e.containers {
			images += ", " + c.name + " " + c.image
		}
		break // all pods of a replica set are equal
	}
	r.s.reportEvent(workload.Event{
		TsNs: r.s.now(), Type: "Normal", Reason: "Rolled", Kind: "Deployment", Namespace: by.namespace, Name: by.name, UID: by.uid, Count: 1, Source: "replica sets", Node: r.s.o.Node,
		Message: clean(fmt.Sprintf("revision %d, replica set %s, after revision %d, replica set %s%s", rev, m.name, x.revision, x.setName, images), maxMessage),
	})
	x.set, x.setName, x.revision = m.uid, m.name, rev
}
