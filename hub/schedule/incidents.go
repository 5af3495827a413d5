package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/pods"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/served"
)

// collect creates snapshots of the incidents that a schedule is about, within its limits. The status lists them, so a
// restarted hub keeps to the limits and creates none twice.
func (o *Options) collect(ctx context.Context, s *resource.Schedule, now time.Time) error {
	counts := max(time.Hour, s.Cooldown())
	s.Status.Recent = slices.DeleteFunc(s.Status.Recent, func(m resource.Made) bool { return now.Sub(m.At.Time) > counts })
	accept := s.Spec.Select.Accepts()
	why := ""
	for _, i := range slices.Concat(o.Incidents(), o.Bursts.over(s.Errors(), now)) {
		if !slices.Contains(s.Spec.Incidents, i.Kind) && (i.Kind != resource.OOMKilled || !slices.Contains(s.Spec.Incidents, resource.Crash)) ||
			i.At.Before(s.CreationTimestamp.Time) || accept != nil && !accept(&i.Pod) {
			continue
		}
		x := s.Around(i.ID, i.At, &i.Pod)
		if slices.ContainsFunc(s.Status.Recent, func(m resource.Made) bool { return m.Snapshot == x.Name }) {
			continue
		}
		if over := limited(s, i); over != "" {
			why = i.Text + ": no snapshot, because " + over
			continue
		}
		if err := served.Create(ctx, o.Client, x); err != nil {
			return err
		}
		o.Log.Info("created a snapshot of an incident", "schedule", s.Name, "snapshot", x.Name, "incident", i.Text)
		s.Status.LastWindow, s.Status.LastSnapshot = i.At.UTC().Format(time.RFC3339), x.Name
		s.Status.Recent = append(s.Status.Recent, resource.Made{Snapshot: x.Name, Workload: i.Pod.Workload(), At: v1.NewTime(i.At), Reason: i.Text})
	}
	if o.Bursts == nil && slices.Contains(s.Spec.Incidents, resource.ErrorBurst) {
		state(s, true, "NoLive", "there is no ErrorBurst, because the hub follows no calls: it needs mcp.enabled and live.enabled of the chart, and a LiveConfig")
	} else if why != "" {
		state(s, true, "Limited", why)
	} else {
		state(s, true, "Valid", "a snapshot is created of each incident")
	}
	return nil
}

// limited returns which limit of a schedule an incident exceeds, if any.
func limited(s *resource.Schedule, i pods.Incident) string {
	recent := 0
	for _, m := range s.Status.Recent {
		apart := i.At.Sub(m.At.Time).Abs()
		if m.Workload == i.Pod.Workload() && apart < s.Cooldown() {
			return fmt.Sprintf("%s has %s, less than %s apart", m.Workload, m.Snapshot, s.Cooldown())
		}
		if apart < time.Hour {
			recent++
		}
	}
	if recent >= s.PerHour() {
		return fmt.Sprintf("there are %d of one hour", recent)
	}
	return ""
}
