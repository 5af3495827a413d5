package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/pods"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// incident is one of the Deployment owner in a namespace, some time after the begin.
func incident(kind, namespace, owner string, after time.Duration) pods.Incident {
	return pods.Incident{ID: fmt.Sprintf("%x", int(after.Seconds())) + owner, Kind: kind, At: begin.Add(after), Text: kind + " of " + owner,
		Pod: resource.Pod{Namespace: namespace, Name: owner + "-1", Kind: "Deployment", Owner: owner}}
}

// TestIncidents: which incidents get a snapshot, also when a hub restarts between two looks.
func TestIncidents(t *testing.T) {
	for _, tt := range []struct {
		name      string
		spec      map[string]any
		incidents []pods.Incident
		want      []string // owners
		message   string
	}{
		{"the kinds that are named", map[string]any{"incidents": []any{"OOMKilled"}},
			[]pods.Incident{incident(resource.OOMKilled, "shop", "web", 60*time.Second), incident(resource.Crash, "shop", "api", 61*time.Second)}, []string{"web"}, "of each incident"},
		{"a crash because of memory is a crash", map[string]any{"incidents": []any{"Crash", "FailedRollout"}},
			[]pods.Incident{incident(resource.OOMKilled, "shop", "web", 60*time.Second), incident(resource.FailedRollout, "shop", "api", 61*time.Second)}, []string{"web", "api"}, "of each incident"},
		{"the workloads that are selected", map[string]any{"incidents": []any{"Crash"}, "select": map[string]any{"namespaces": []any{"shop"}}},
			[]pods.Incident{incident(resource.Crash, "shop", "web", 60*time.Second), incident(resource.Crash, "payments", "vault", 61*time.Second)}, []string{"web"}, "of each incident"},
		{"what was before the schedule", map[string]any{"incidents": []any{"Crash"}}, []pods.Incident{incident(resource.Crash, "shop", "web", -time.Second)}, nil, "of each incident"},
		{"one of a workload in a while", map[string]any{"incidents": []any{"Crash"}, "cooldown": "5m"},
			[]pods.Incident{incident(resource.Crash, "shop", "web", 0), incident(resource.Crash, "shop", "web", 299*time.Second), incident(resource.Crash, "shop", "web", 300*time.Second)},
			[]string{"web", "web"}, "less than 5m0s apart"},
		{"no cooldown", map[string]any{"incidents": []any{"Crash"}, "cooldown": "0s"}, []pods.Incident{incident(resource.Crash, "shop", "web", 0), incident(resource.Crash, "shop", "web", time.Second)},
			[]string{"web", "web"}, "of each incident"},
		{"some in an hour", map[string]any{"incidents": []any{"Crash"}, "perHour": int64(2)},
			[]pods.Incident{incident(resource.Crash, "shop", "a", 0), incident(resource.Crash, "shop", "b", time.Second), incident(resource.Crash, "shop", "c", 2*time.Second)},
			[]string{"a", "b"}, "there are 2 of one hour"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "rule", tt.spec)
			for i := range tt.incidents { // each look sees one more
				w.o.Incidents = func() []pods.Incident { return tt.incidents[:i+1] }
				w.at(10 * time.Minute)
				w.at(10 * time.Minute)
			}
			var made []string
			s := w.schedule("rule")
			for _, m := range s.Status.Recent {
				made = append(made, strings.TrimPrefix(m.Workload, "shop/Deployment/"))
			}
			if !slices.Equal(made, tt.want) || len(w.snapshots()) != len(tt.want) {
				t.Errorf("made %q, %q, want %q", made, w.snapshots(), tt.want)
			}
			if c := meta.FindStatusCondition(s.Status.Conditions, resource.Scheduling); c == nil || c.Status != v1.ConditionTrue || !strings.Contains(c.Message, tt.message) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestSnapshotOfAnIncident is about the minutes around it, and the workload to which it happened.
func TestSnapshotOfAnIncident(t *testing.T) {
	w := newWorld(t, "rule", map[string]any{"incidents": []any{"Crash"}, "before": "2m", "retainFor": "1h", "select": map[string]any{"labels": "!x", "filter": "port 80", "kfl": "http"}})
	w.o.Incidents = func() []pods.Incident { return []pods.Incident{incident(resource.Crash, "shop", "web", time.Minute)} }
	w.at(2 * time.Minute)
	u, err := w.o.Client.Resource(resource.Snapshots).Namespace("pcapsule").Get(t.Context(), "rule-3cweb", v1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := resource.FromObject(u)
	if err != nil {
		t.Fatal(err)
	}
	s.CreationTimestamp = v1.NewTime(begin.Add(2 * time.Minute))
	from, to, err := s.Window()
	if err != nil || from.String() != "2026-03-02T08:59:30.000000000Z" || to.String() != "2026-03-02T09:02:30.000000000Z" {
		t.Errorf("%s to %s, %v", from, to, err)
	}
	if x := s.Spec.Select; !slices.Equal(x.Workloads, []string{"shop/Deployment/web"}) || x.Filter != "port 80" || x.KFL != "http" || x.Labels != "" || s.Spec.RetainFor.Duration != time.Hour || s.Labels[resource.ScheduleLabel] != "rule" {
		t.Errorf("%+v", s)
	}
	w.at(3 * time.Hour) // the same incident, when its snapshot no longer counts for any limit
	if s := w.schedule("rule"); len(w.snapshots()) != 1 || s.Status.LastSnapshot != "rule-3cweb" {
		t.Errorf("%+v", s.Status)
	}
}
