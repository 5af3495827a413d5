package resource

import (
	"fmt"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Schedules is the resource SnapshotSchedule.
var Schedules = schema.GroupVersionResource{Group: Group, Version: Version, Resource: "snapshotschedules"}

// ScheduleLabel names the schedule that created a snapshot.
const ScheduleLabel = "pcapsule.dev/schedule"

// Scheduling is the condition of a schedule: snapshots are created.
const Scheduling = "Scheduling"

// Schedule creates snapshots again and again.
type Schedule struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            ScheduleSpec   `json:"spec"`
	Status          ScheduleStatus `json:"status,omitzero"`
}

// ScheduleSpec is a person's request. Windows end at multiples of Every since 1970, UTC.
type ScheduleSpec struct {
	Every     *meta.Duration `json:"every"`
	Last      *meta.Duration `json:"last,omitempty"` // length of each window; default: Every
	Nodes     []string       `json:"nodes,omitempty"`
	Patience  *meta.Duration `json:"patience,omitempty"`
	RetainFor *meta.Duration `json:"retainFor,omitempty"`
	Suspend   bool           `json:"suspend,omitempty"`
}

// ScheduleStatus is what it has created.
type ScheduleStatus struct {
	LastWindow   string           `json:"lastWindow,omitempty"` // end of the last one, RFC 3339
	LastSnapshot string           `json:"lastSnapshot,omitempty"`
	Conditions   []meta.Condition `json:"conditions,omitempty"`
}

// Limits of a schedule.
const (
	minEvery    = time.Minute
	maxSchedule = 40 // bytes of its name, to which the time of a window is added
	maxMissed   = 10 // windows that are made up for after a time without a hub
)

// ScheduleFromObject reads a schedule of the API.
func ScheduleFromObject(u *unstructured.Unstructured) (*Schedule, error) {
	var s Schedule
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
		return nil, fmt.Errorf("reading SnapshotSchedule %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	return &s, nil
}

// Check returns an error that wraps ErrSpec if it cannot be served.
func (s *Schedule) Check() error {
	every := s.Spec.Every
	switch {
	case len(s.Name) > maxSchedule:
		return invalid("the name has %d bytes, the limit is %d", len(s.Name), maxSchedule)
	case every == nil || every.Duration < minEvery || every.Duration > maxLast:
		return invalid("every must be %s to %s", minEvery, maxLast)
	}
	example := s.Snapshot(time.Unix(0, 0).Add(maxLast))
	if _, _, err := example.Window(); err != nil {
		return err
	}
	return example.Check()
}

// Due returns the ends of windows that have passed at now and have no snapshot yet, the oldest first, and how many more
// there were.
func (s *Schedule) Due(now time.Time) (ends []time.Time, missed int) {
	every := s.Spec.Every.Duration
	after := s.CreationTimestamp.Time
	if last, err := time.Parse(time.RFC3339, s.Status.LastWindow); err == nil && last.After(after) {
		after = last
	}
	for end := now.UTC().Truncate(every); end.After(after); end = end.Add(-every) {
		if len(ends) == maxMissed {
			return ends, int((end.Sub(after)-1)/every) + 1
		}
		ends = append([]time.Time{end}, ends...)
	}
	return ends, 0
}

// Snapshot is the snapshot of a window. Its name follows from the end, so that it is created once.
func (s *Schedule) Snapshot(end time.Time) *Snapshot {
	last := s.Spec.Last
	if last == nil {
		last = s.Spec.Every
	}
	end = end.UTC()
	return &Snapshot{
		ObjectMeta: meta.ObjectMeta{Namespace: s.Namespace, Name: s.Name + "-" + end.Format("20060102t150405z"), Labels: map[string]string{ScheduleLabel: s.Name}, CreationTimestamp: meta.NewTime(end)},
		Spec:       Spec{From: end.Add(-last.Duration).Format(time.RFC3339Nano), To: end.Format(time.RFC3339Nano), Nodes: s.Spec.Nodes, Patience: s.Spec.Patience, RetainFor: s.Spec.RetainFor},
	}
}
