package schedule

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"github.com/pcapsule/pcapsule/hub/pods"
	"github.com/pcapsule/pcapsule/hub/resource"
)

var begin = time.Date(2026, 3, 2, 9, 0, 30, 0, time.UTC)

// world is an API with one schedule.
type world struct {
	t *testing.T
	o Options
}

func newWorld(t *testing.T, name string, spec map[string]any) *world {
	t.Helper()
	api := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource.Schedules: "SnapshotScheduleList", resource.Snapshots: "SnapshotList"})
	w := &world{t, Options{Client: api, Namespace: "pcapsule", Incidents: func() []pods.Incident { return nil }, Log: slog.New(slog.DiscardHandler)}}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "pcapsule.dev/v1beta1", "kind": "SnapshotSchedule",
		"metadata": map[string]any{"name": name, "namespace": "pcapsule", "creationTimestamp": begin.Format(time.RFC3339)}, "spec": spec}}
	if _, err := api.Resource(resource.Schedules).Namespace("pcapsule").Create(t.Context(), u, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// at is a round some time after the begin.
func (w *world) at(d time.Duration) {
	w.t.Helper()
	if err := w.o.round(w.t.Context(), begin.Add(d)); err != nil {
		w.t.Fatal(err)
	}
}

// snapshots are the names and windows of all snapshots.
func (w *world) snapshots() (list []string) {
	w.t.Helper()
	all, err := w.o.Client.Resource(resource.Snapshots).Namespace("pcapsule").List(w.t.Context(), v1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range all.Items {
		s, err := resource.FromObject(&all.Items[i])
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, s.Name+" "+s.Spec.From+" "+s.Spec.To)
	}
	slices.Sort(list)
	return list
}

func (w *world) schedule(name string) *resource.Schedule {
	w.t.Helper()
	u, err := w.o.Client.Resource(resource.Schedules).Namespace("pcapsule").Get(w.t.Context(), name, v1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := resource.ScheduleFromObject(u)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestWindowsMeet(t *testing.T) {
	w := newWorld(t, "hourly", map[string]any{"every": "1h", "retainFor": "24h", "nodes": []any{"a"}})
	w.at(0)
	w.at(50 * time.Minute)
	if list := w.snapshots(); len(list) > 0 {
		t.Errorf("before a window has ended: %q", list)
	}
	w.at(time.Hour)
	w.at(time.Hour + time.Minute)
	w.at(2 * time.Hour)
	want := []string{"hourly-20260302t100000z 2026-03-02T09:00:00Z 2026-03-02T10:00:00Z", "hourly-20260302t110000z 2026-03-02T10:00:00Z 2026-03-02T11:00:00Z"}
	if list := w.snapshots(); !slices.Equal(list, want) {
		t.Errorf("%q, want %q", list, want)
	}
	s := w.schedule("hourly")
	if s.Status.LastSnapshot != "hourly-20260302t110000z" || !meta.IsStatusConditionTrue(s.Status.Conditions, resource.Scheduling) {
		t.Errorf("%+v", s.Status)
	}
	u, err := w.o.Client.Resource(resource.Snapshots).Namespace("pcapsule").Get(t.Context(), "hourly-20260302t110000z", v1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := resource.FromObject(u); err != nil || x.Spec.RetainFor.Duration != 24*time.Hour || !slices.Equal(x.Spec.Nodes, []string{"a"}) || x.Labels[resource.ScheduleLabel] != "hourly" {
		t.Errorf("%+v, %v", x, err)
	}
}

// TestMissedWindows: a hub that was away makes up for windows, within a limit, and says what it could not.
func TestMissedWindows(t *testing.T) {
	w := newWorld(t, "often", map[string]any{"every": "10m", "last": "15m"})
	w.at(10 * time.Minute)
	w.at(40 * time.Minute)
	if list := w.snapshots(); len(list) != 4 || !strings.HasSuffix(list[3], " 2026-03-02T09:25:00Z 2026-03-02T09:40:00Z") {
		t.Errorf("%q", list)
	}
	w.at(40*time.Minute + 5*time.Hour)
	if list := w.snapshots(); len(list) != 14 {
		t.Errorf("%d snapshots, want 4 and the newest 10", len(list))
	}
	if c := meta.FindStatusCondition(w.schedule("often").Status.Conditions, resource.Scheduling); c.Reason != "Missed" || !strings.HasPrefix(c.Message, "no snapshots of 20 windows before 2026-03-02T13:10:00Z") {
		t.Errorf("%+v", c)
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spec   map[string]any
		reason string
	}{
		"never":                 {map[string]any{"every": "0s"}, "Invalid"},
		"too-often":             {map[string]any{"every": "1s"}, "Invalid"},
		"nothing":               {map[string]any{}, "Invalid"},
		"odd-node":              {map[string]any{"every": "1h", "nodes": []any{"../x"}}, "Invalid"},
		"backwards":             {map[string]any{"every": "1h", "last": "-1h"}, "Invalid"},
		"gone-at-once":          {map[string]any{"every": "1h", "retainFor": "0s"}, "Invalid"},
		"both":                  {map[string]any{"every": "1h", "incidents": []any{"Crash"}}, "Invalid"},
		"a-limit-of-nothing":    {map[string]any{"every": "1h", "perHour": int64(3)}, "Invalid"},
		"another-incident":      {map[string]any{"incidents": []any{"Fire"}}, "Invalid"},
		"far-apart":             {map[string]any{"incidents": []any{"Crash"}, "cooldown": "7h"}, "Invalid"},
		"too-many":              {map[string]any{"incidents": []any{"Crash"}, "perHour": int64(61)}, "Invalid"},
		"odd-filter":            {map[string]any{"every": "1h", "select": map[string]any{"kfl": "http &&"}}, "InvalidFilter"},
		"odd-filter-on":         {map[string]any{"incidents": []any{"Crash"}, "select": map[string]any{"filter": "port eighty"}}, "InvalidFilter"},
		"paused":                {map[string]any{"every": "1h", "suspend": true}, "Suspended"},
		strings.Repeat("x", 41): {map[string]any{"every": "1h"}, "Invalid"},
	} {
		w := newWorld(t, name, tt.spec)
		w.at(5 * time.Hour)
		if list := w.snapshots(); len(list) > 0 {
			t.Errorf("%s: %q", name, list)
		}
		if c := meta.FindStatusCondition(w.schedule(name).Status.Conditions, resource.Scheduling); c == nil || c.Status != v1.ConditionFalse || c.Reason != tt.reason {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
