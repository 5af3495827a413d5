// Package capture serves the resource Capture: the recording of some pods from now on.
//
// Recorders record anyway, so a Capture is a snapshot whose window begins when the Capture was created. The snapshot's
// name follows from the Capture's, and the Capture keeps a finalizer until the snapshot and its files are gone.
package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/rounds"
	"github.com/pcapsule/pcapsule/hub/served"
)

const every = 2 * time.Second // between two looks

// Finalizer of a Capture that has a snapshot.
const Finalizer = "pcapsule.dev/capture-snapshot"

// Options of Run.
type Options struct {
	Client    dynamic.Interface
	Namespace string
	Log       *slog.Logger
}

// Run serves Captures until ctx ends.
func Run(ctx context.Context, o Options) error {
	rounds.Every(ctx, every, o.Log, "serving Captures; trying again", func(ctx context.Context) error { return o.round(ctx, time.Now()) })
	return nil
}

// round does the next step of each Capture.
func (o *Options) round(ctx context.Context, now time.Time) error {
	list, err := served.List(ctx, o.Client, resource.Captures, o.Namespace)
	if err != nil {
		return err
	}
	var all []error
	for i := range list {
		all = append(all, o.serve(ctx, &list[i], now))
	}
	return errors.Join(all...)
}

// serve does the next step of a Capture.
func (o *Options) serve(ctx context.Context, u *unstructured.Unstructured, now time.Time) error {
	c, err := resource.CaptureFromObject(u)
	if err != nil {
		return err
	}
	before := c.Status
	before.Conditions = slices.Clone(c.Status.Conditions)
	s, err := o.snapshot(ctx, c)
	switch {
	case err != nil:
		return err
	case c.DeletionTimestamp != nil:
		return o.delete(ctx, u, s)
	case c.Status.Phase == resource.Failed && c.Status.Snapshot == "":
		return nil
	case s == nil && c.Status.Snapshot != "": // its snapshot was deleted, such as after retainFor
		return ignoreGone(o.captures().Delete(ctx, c.Name, v1.DeleteOptions{Preconditions: &v1.Preconditions{UID: &c.UID}}))
	case s == nil:
		if err := c.Check(); err != nil {
			c.Status.Phase = resource.Failed
			served.Condition(&c.Status.Conditions, resource.Accepted, false, served.Reason(err), err.Error(), c.Generation)
			break
		}
		if err := o.finalizer(ctx, u, true); err != nil {
			return err
		}
		if err := served.Create(ctx, o.Client, c.Snapshot()); err != nil {
			return err
		}
		o.Log.Info("created the snapshot of a Capture", "capture", c.Name, "until", c.Snapshot().Spec.To)
	default:
		mirror(c, s, now)
	}
	return served.Status(ctx, o.Client, resource.Captures, u, before, c.Status)
}

// mirror sets the status of a Capture from its snapshot.
func mirror(c *resource.Capture, s *resource.Snapshot, now time.Time) {
	x := &c.Status
	x.Snapshot, x.Until, x.Phase = s.Name, s.Spec.To, s.Status.Phase
	if until, err := time.Parse(time.RFC3339, s.Spec.To); err == nil && now.Before(until) && !s.Status.Finished() {
		x.Phase = resource.Recording
	}
	x.Collected, x.Packets, x.Calls = s.Status.Collected, s.Status.Packets, s.Status.Calls
	for _, q := range s.Status.Conditions {
		if q.Type == resource.Held {
			continue
		}
		served.Condition(&x.Conditions, q.Type, q.Status == v1.ConditionTrue, q.Reason, q.Message, c.Generation)
	}
}

// snapshot reads the snapshot of a Capture, nil if there is none. A snapshot of this name that does not belong to the
// Capture is an error.
func (o *Options) snapshot(ctx context.Context, c *resource.Capture) (*resource.Snapshot, error) {
	name := c.Snapshot().Name
	u, err := o.snapshots().Get(ctx, name, v1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if u.GetLabels()[resource.CaptureLabel] != string(c.UID) {
		if c.DeletionTimestamp != nil || c.Status.Snapshot != "" {
			return nil, nil
		}
		return nil, fmt.Errorf("serving Capture %s: snapshot %s exists and is not its own; delete one of them", c.Name, name)
	}
	return resource.FromObject(u)
}

// delete deletes the snapshot of a Capture and waits until its files are removed.
func (o *Options) delete(ctx context.Context, u *unstructured.Unstructured, s *resource.Snapshot) error {
	if s == nil {
		return ignoreGone(o.finalizer(ctx, u, false))
	}
	if s.DeletionTimestamp != nil {
		return nil
	}
	return ignoreGone(o.snapshots().Delete(ctx, s.Name, v1.DeleteOptions{Preconditions: &v1.Preconditions{UID: &s.UID}}))
}

// finalizer adds or removes the finalizer.
func (o *Options) finalizer(ctx context.Context, u *unstructured.Unstructured, there bool) error {
	rest := slices.DeleteFunc(u.GetFinalizers(), func(f string) bool { return f == Finalizer }) // of a copy
	if there {
		rest = append(rest, Finalizer)
	}
	if len(rest) == len(u.GetFinalizers()) {
		return nil
	}
	u.SetFinalizers(rest)
	now, err := o.captures().Update(ctx, u, v1.UpdateOptions{})
	if err == nil {
		*u = *now
	}
	return err
}

func (o *Options) captures() dynamic.ResourceInterface {
	return o.Client.Resource(resource.Captures).Namespace(o.Namespace)
}

func (o *Options) snapshots() dynamic.ResourceInterface {
	return o.Client.Resource(resource.Snapshots).Namespace(o.Namespace)
}

// ignoreGone returns nil for the error that something no longer exists.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
