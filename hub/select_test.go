package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// shop creates a pod in the namespace shop, on node-a.
func (a *apiServer) shop(name string) *core.Pod {
	a.t.Helper()
	_, err := a.core.Namespaces().Create(a.t.Context(), &core.Namespace{ObjectMeta: v1.ObjectMeta{Name: "shop"}}, v1.CreateOptions{})
	if err == nil || apierrors.IsAlreadyExists(err) {
		_, err = a.core.ServiceAccounts("shop").Create(a.t.Context(), &core.ServiceAccount{ObjectMeta: v1.ObjectMeta{Name: "default"}}, v1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		a.t.Fatal(err)
	}
	p, err := a.core.Pods("shop").Create(a.t.Context(), &core.Pod{ObjectMeta: v1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}},
		Spec: core.PodSpec{NodeName: "node-a", Containers: []core.Container{{Name: "app", Image: "x"}}}}, v1.CreateOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

// testSelections creates snapshots of pods: the hub collects the nodes where they ran, if it knows.
func (a *apiServer) testSelections(t *testing.T) {
	a.shop("web-1")
	now := time.Now().UTC()
	window := fmt.Sprintf("from: %q, to: %q", now.Format(time.RFC3339Nano), now.Add(time.Second).Format(time.RFC3339Nano))
	for _, tt := range []struct{ name, spec, nodes, reason string }{
		{"of-shop", window + ", select: {namespaces: [shop]}", "node-a", "Known"},
		{"of-web", window + ", select: {workloads: [shop/Pod/web-1], labels: 'app in (web)', filter: port 80, kfl: http}", "node-a", "Known"},
		{"of-earlier", `from: "2000-01-01T00:00:00Z", to: "2000-01-02T00:00:00Z", select: {namespaces: [shop]}`, "node-a node-b", "HubRestarted"},
		{"of-a-node", window + ", nodes: [node-b], select: {namespaces: [shop]}", "node-b", ""},
	} {
		if err := a.create(tt.name, "{"+tt.spec+"}"); err != nil {
			t.Fatal(err)
		}
		s := a.finished(tt.name)
		var nodes []string
		for _, n := range s.Status.Nodes {
			nodes = append(nodes, n.Name)
		}
		c := meta.FindStatusCondition(s.Status.Conditions, resource.Selected)
		if s.Status.Phase != resource.Ready || strings.Join(nodes, " ") != tt.nodes || (c == nil) != (tt.reason == "") || c != nil && c.Reason != tt.reason {
			t.Errorf("%s: %+v", tt.name, s.Status)
		}
	}
	for _, tt := range []struct{ name, spec, reason, message string }{
		{"bad-kfl", "last: 1s, select: {kfl: 'http &&'}", "InvalidFilter", "line 1, column 8"},
		{"bad-filter", "last: 1s, select: {filter: port eighty}", "InvalidFilter", "at byte 5"},
		{"no-pods", window + ", select: {workloads: [shop/nobody]}", "NothingSelected", "none of the selected pods"},
	} {
		if err := a.create(tt.name, "{"+tt.spec+"}"); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(a.finished(tt.name).Status.Conditions, resource.Accepted)
		if c == nil || c.Status != v1.ConditionFalse || c.Reason != tt.reason || !strings.Contains(c.Message, tt.message) {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
	for _, spec := range []string{`{last: 1m, select: {workloads: [web]}}`, `{last: 1m, select: {workloads: [../x/y]}}`, `{last: 1m, select: {namespaces: [a, a]}}`, `{last: 1m, select: {pods: [a]}}`} {
		if err := a.create("invalid", spec); err == nil {
			t.Errorf("%s was accepted", spec)
		}
	}
	u, err := a.snapshots().Get(t.Context(), "of-shop", v1.GetOptions{})
	if err == nil {
		err = unstructured.SetNestedStringSlice(u.Object, []string{"payments"}, "spec", "select", "namespaces")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.snapshots().Update(t.Context(), u, v1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("the selection was changed: %v", err)
	}
}

// testCaptures records a pod, and deletes that again.
func (a *apiServer) testCaptures(t *testing.T) {
	a.shop("web-2")
	if err := a.createOf("Capture", "minute", `{duration: 6s, select: {workloads: [shop/web-2]}, retainFor: 1h}`); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	a.await("the Capture", 2*time.Minute, func() error {
		c := a.columns("captures/minute")
		seen[fmt.Sprint(c["Phase"])] = true
		if c["Phase"] != "Ready" {
			return fmt.Errorf("%v", c)
		}
		return nil
	})
	if c := a.columns("captures/minute"); !seen["Recording"] || c["Nodes"] != "1/1" || c["Snapshot"] != "capture-minute" {
		t.Errorf("%v, phases %v", c, seen)
	}
	if s := a.get("capture-minute"); len(s.Status.Nodes) != 1 || s.Status.Nodes[0].Name != "node-a" || s.Spec.RetainFor.Duration != time.Hour {
		t.Errorf("%+v", s)
	}
	if err := a.of("Capture").Delete(t.Context(), "minute", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	a.await("the deletion", time.Minute, func() error {
		if _, err := a.of("Capture").Get(t.Context(), "minute", v1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %v", err)
		}
		return nil
	})
	if _, err := a.snapshots().Get(t.Context(), "capture-minute", v1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("its snapshot is left: %v", err)
	}
	for _, spec := range []string{`{}`, `{select: {}}`, `{select: {filter: port 80}}`, `{duration: soon, select: {namespaces: [shop]}}`, `{select: {namespaces: [shop]}, last: 1m}`} {
		if err := a.createOf("Capture", "invalid", spec); err == nil {
			t.Errorf("%s was accepted", spec)
		}
	}
	if err := a.createOf("Capture", "bad-kfl", `{select: {namespaces: [shop], kfl: "("}}`); err != nil {
		t.Fatal(err)
	}
	a.await("the refusal", time.Minute, func() error {
		if c := a.columns("captures/bad-kfl"); c["Phase"] != "Failed" || !strings.Contains(fmt.Sprint(c["Message"]), "line 1, column") {
			return fmt.Errorf("%v", c)
		}
		return nil
	})
}

// testIncidents kills a container, as a kubelet would report it.
func (a *apiServer) testIncidents(t *testing.T) {
	if err := a.createOf("SnapshotSchedule", "oom", `{incidents: [OOMKilled], before: 1s, after: 1s, perHour: 1, select: {namespaces: [shop]}}`); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{`{}`, `{every: 1h, incidents: [Crash]}`, `{every: 1h, cooldown: 1m}`, `{incidents: [Fire]}`, `{incidents: []}`, `{incidents: [Crash], last: 1m}`, `{incidents: [Crash], perHour: 0}`} {
		if err := a.createOf("SnapshotSchedule", "invalid", spec); err == nil {
			t.Errorf("%s was accepted", spec)
		}
	}
	for _, name := range []string{"web-3", "web-4"} {
		p := a.shop(name)
		ended := core.ContainerState{Terminated: &core.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: v1.NewTime(time.Now().Add(time.Second))}}
		p.Status = core.PodStatus{Phase: core.PodRunning, ContainerStatuses: []core.ContainerStatus{{Name: "app", RestartCount: 1, LastTerminationState: ended,
			State: core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: v1.Now()}}}}}
		if _, err := a.core.Pods("shop").UpdateStatus(t.Context(), p, v1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	a.await("a snapshot", time.Minute, func() error {
		if c := a.columns("snapshotschedules/oom"); !strings.HasPrefix(fmt.Sprint(c["Snapshot"]), "oom-") || !strings.Contains(fmt.Sprint(c["Message"]), "there are 1 of one hour") {
			return fmt.Errorf("%v", c)
		}
		return nil
	})
	list, err := a.snapshots().List(t.Context(), v1.ListOptions{LabelSelector: resource.ScheduleLabel + "=oom"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d snapshots, %v", len(list.Items), err)
	}
	if s := a.finished(list.Items[0].GetName()); s.Status.Phase != resource.Ready || len(s.Status.Nodes) != 1 || !strings.HasPrefix(s.Spec.Select.Workloads[0], "shop/Pod/web-") {
		t.Errorf("%+v", s)
	}
}
