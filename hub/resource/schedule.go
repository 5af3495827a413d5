package resource

import (
	"fmt"
	"slices"
	"strings"
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

// Schedule creates snapshots repeatedly.
type Schedule struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            ScheduleSpec   `json:"spec"`
	Status          ScheduleStatus `json:"status,omitzero"`
}

// ScheduleSpec is a person's request: snapshots at fixed times (Every), or of incidents of workloads (Incidents).
// Windows of Every end at its multiples since 1970, UTC.
type ScheduleSpec struct {
	Every     *meta.Duration `json:"every,omitempty"`
	Last      *meta.Duration `json:"last,omitempty"`      // with Every: length of each window; default: Every
	Incidents []string       `json:"incidents,omitempty"` // kinds of these
	Before    *meta.Duration `json:"before,omitempty"`    // with Incidents: as of a snapshot around an event
	After     *meta.Duration `json:"after,omitempty"`     // with Incidents
	PerHour   int64          `json:"perHour,omitempty"`   // with Incidents: snapshots in an hour; default 4
	Errors    int64          `json:"errors,omitempty"`    // of ErrorBurst: failed calls in a minute; default 60
	Cooldown  *meta.Duration `json:"cooldown,omitempty"`  // with Incidents: between two of the same workload; default 15 minutes
	Nodes     []string       `json:"nodes,omitempty"`
	Select    Selection      `json:"select,omitzero"` // of each snapshot; with Incidents: whose incidents count
	Patience  *meta.Duration `json:"patience,omitempty"`
	RetainFor *meta.Duration `json:"retainFor,omitempty"`
	Suspend   bool           `json:"suspend,omitempty"`
}

// ScheduleStatus lists what a schedule has created.
type ScheduleStatus struct {
	LastWindow   string           `json:"lastWindow,omitempty"` // end of the last one, RFC 3339
	LastSnapshot string           `json:"lastSnapshot,omitempty"`
	Recent       []Made           `json:"recent,omitempty"` // snapshots of incidents, as long as they count for the limits
	Conditions   []meta.Condition `json:"conditions,omitempty"`
}

// Made is a snapshot of an incident.
type Made struct {
	Snapshot string    `json:"snapshot"`
	Workload string    `json:"workload"`
	At       meta.Time `json:"at"` // of the incident
	Reason   string    `json:"reason"`
}

// Kinds of incidents.
const (
	OOMKilled     = "OOMKilled"     // a container was killed because it was out of memory
	Crash         = "Crash"         // a container failed or was restarted, also because of memory
	FailedRollout = "FailedRollout" // a Deployment did not progress within its deadline
	ErrorBurst    = "ErrorBurst"    // many calls to a workload failed in a minute
)

var kinds = []string{OOMKilled, Crash, FailedRollout, ErrorBurst}

// Limits of a schedule.
const (
	defaultErrors   = 60
	defaultPerHour  = 4
	maxPerHour      = 60
	defaultCooldown = 15 * time.Minute
	maxCooldown     = 6 * time.Hour
	minEvery        = time.Minute
	maxSchedule     = 40 // bytes of its name, to which the time of a window is added
	maxMissed       = 10 // missed windows for which snapshots are created after a time without a hub
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
	case (every == nil) == (len(s.Spec.Incidents) == 0):
		return invalid("give one of every and incidents")
	case every == nil:
		return s.checkRule()
	case s.Spec.Before != nil || s.Spec.After != nil || s.Spec.PerHour != 0 || s.Spec.Cooldown != nil || s.Spec.Errors != 0:
		return invalid("before, after, perHour, errors and cooldown need incidents")
	case every.Duration < minEvery || every.Duration > maxLast:
		return invalid("every must be %s to %s", minEvery, maxLast)
	}
	return s.Snapshot(time.Unix(0, 0).Add(maxLast)).checkAll()
}

// checkRule checks a schedule of incidents.
func (s *Schedule) checkRule() error {
	for _, kind := range s.Spec.Incidents {
		if !slices.Contains(kinds, kind) {
			return invalid("incidents: %.80q is not one of %s", kind, strings.Join(kinds, ", "))
		}
	}
	switch cooldown := s.Cooldown(); {
	case s.Spec.Last != nil:
		return invalid("last needs every; with incidents, give before and after")
	case s.Spec.Errors < 0 || s.Spec.Errors != 0 && !slices.Contains(s.Spec.Incidents, ErrorBurst):
		return invalid("errors is %d: must be at least 1, and needs the incident %s", s.Spec.Errors, ErrorBurst)
	case s.Spec.PerHour < 0 || s.Spec.PerHour > maxPerHour:
		return invalid("perHour is %d: must be 1 to %d", s.Spec.PerHour, maxPerHour)
	case cooldown < 0 || cooldown > maxCooldown:
		return invalid("cooldown is %s: must be 0 to %s", cooldown, maxCooldown)
	}
	return s.Around("x", time.Unix(0, 0).Add(maxLast), &Pod{Namespace: "x", Name: "x"}).checkAll()
}

// checkAll checks a snapshot with its window.
func (s *Snapshot) checkAll() error {
	if _, _, err := s.Window(); err != nil {
		return err
	}
	return s.Check()
}

// PerHour is how many snapshots of incidents are made in an hour.
func (s *Schedule) PerHour() int {
	if s.Spec.PerHour == 0 {
		return defaultPerHour
	}
	return int(s.Spec.PerHour)
}

// Errors is how many failed calls in a minute are a burst.
func (s *Schedule) Errors() int64 {
	if s.Spec.Errors == 0 {
		return defaultErrors
	}
	return s.Spec.Errors
}

// Cooldown is the time after a workload's incident in which its further incidents are not collected.
func (s *Schedule) Cooldown() time.Duration {
	if s.Spec.Cooldown == nil {
		return defaultCooldown
	}
	return s.Spec.Cooldown.Duration
}

// Around returns the snapshot of a workload's incident; its name derives from the id of the incident.
func (s *Schedule) Around(id string, at time.Time, p *Pod) *Snapshot {
	return &Snapshot{
		ObjectMeta: meta.ObjectMeta{Namespace: s.Namespace, Name: s.Name + "-" + id, Labels: map[string]string{ScheduleLabel: s.Name}, CreationTimestamp: meta.NewTime(at)},
		Spec: Spec{Around: at.UTC().Format(time.RFC3339Nano), Before: s.Spec.Before, After: s.Spec.After, Nodes: s.Spec.Nodes, Patience: s.Spec.Patience, RetainFor: s.Spec.RetainFor,
			Select: Selection{Workloads: p.names(), Filter: s.Spec.Select.Filter, KFL: s.Spec.Select.KFL}},
	}
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
		Spec: Spec{From: end.Add(-last.Duration).Format(time.RFC3339Nano), To: end.Format(time.RFC3339Nano), Nodes: s.Spec.Nodes, Select: s.Spec.Select,
			Patience: s.Spec.Patience, RetainFor: s.Spec.RetainFor},
	}
}
