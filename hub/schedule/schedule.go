// Package schedule creates the snapshots of SnapshotSchedules: at fixed times, and of incidents.
//
// A snapshot's name follows from its schedule and the end of its window, so a restarted hub, or a second one, creates
// none twice. Windows that ended while no hub ran get their snapshots later, because rings may still have them.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/pcapsule/pcapsule/hub/pods"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/rounds"
	"github.com/pcapsule/pcapsule/hub/served"
)

const every = 10 * time.Second // between two looks

// Options of Run.
type Options struct {
	Client    dynamic.Interface
	Namespace string
	Incidents func() []pods.Incident // of the last hour, the oldest first
	Bursts    *Bursts                // nil: failed calls are not counted
	Log       *slog.Logger
}

// Run creates snapshots when they are due until ctx ends.
func Run(ctx context.Context, o Options) error {
	rounds.Every(ctx, every, o.Log, "serving SnapshotSchedules; trying again", func(ctx context.Context) error { return o.round(ctx, time.Now()) })
	return nil
}

// round creates what is due at a time.
func (o *Options) round(ctx context.Context, now time.Time) error {
	list, err := served.List(ctx, o.Client, resource.Schedules, o.Namespace)
	if err != nil {
		return err
	}
	var all []error
	if o.Bursts != nil && slices.ContainsFunc(list, wantsBursts) {
		all = append(all, o.Bursts.look(ctx, now))
	}
	for i := range list {
		all = append(all, o.serve(ctx, &list[i], now))
	}
	return errors.Join(all...)
}

// serve creates the snapshots of one schedule and keeps its status.
func (o *Options) serve(ctx context.Context, u *unstructured.Unstructured, now time.Time) error {
	s, err := resource.ScheduleFromObject(u)
	if err != nil {
		return err
	}
	before := s.Status
	before.Conditions, before.Recent = slices.Clone(s.Status.Conditions), slices.Clone(s.Status.Recent)
	switch err := s.Check(); {
	case err != nil:
		state(s, false, served.Reason(err), err.Error())
	case s.Spec.Suspend:
		state(s, false, "Suspended", "spec.suspend is set")
	case s.Spec.Every == nil:
		if err := o.collect(ctx, s, now); err != nil {
			return err
		}
	default:
		if err := o.create(ctx, s, now); err != nil {
			return err
		}
	}
	if s.DeletionTimestamp != nil {
		return nil
	}
	return served.Status(ctx, o.Client, resource.Schedules, u, before, s.Status)
}

// create creates the snapshots that are due.
func (o *Options) create(ctx context.Context, s *resource.Schedule, now time.Time) error {
	ends, missed := s.Due(now)
	if missed > 0 {
		o.Log.Warn("windows of a schedule ended while no hub ran, too many to make up for", "schedule", s.Name, "windows", missed)
		state(s, true, "Missed", fmt.Sprintf("no snapshots of %d windows before %s: no hub ran", missed, ends[0].Format(time.RFC3339)))
	} else if len(ends) > 0 || !meta.IsStatusConditionTrue(s.Status.Conditions, resource.Scheduling) {
		state(s, true, "Valid", "a snapshot is created at the end of each window")
	}
	for _, end := range ends {
		x := s.Snapshot(end)
		if err := served.Create(ctx, o.Client, x); err != nil {
			return err
		}
		s.Status.LastWindow, s.Status.LastSnapshot = end.Format(time.RFC3339), x.Name
	}
	return nil
}

func state(s *resource.Schedule, is bool, reason, message string) {
	served.Condition(&s.Status.Conditions, resource.Scheduling, is, reason, message, s.Generation)
}
