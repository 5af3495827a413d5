package capture

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"github.com/pcapsule/pcapsule/hub/resource"
)

var begin = time.Date(2026, 3, 2, 9, 0, 30, 0, time.UTC)

// world is an API with one Capture, x.
type world struct {
	t *testing.T
	o Options
}

func newWorld(t *testing.T, spec map[string]any) *world {
	t.Helper()
	api := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource.Captures: "CaptureList", resource.Snapshots: "SnapshotList"})
	w := &world{t, Options{Client: api, Namespace: "pcapsule", Log: slog.New(slog.DiscardHandler)}}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "pcapsule.dev/v1beta1", "kind": "Capture",
		"metadata": map[string]any{"name": "x", "namespace": "pcapsule", "uid": "u1", "creationTimestamp": begin.Format(time.RFC3339)}, "spec": spec}}
	if _, err := w.o.captures().Create(t.Context(), u, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// at is a round some time after the begin.
func (w *world) at(d time.Duration) *resource.Capture {
	w.t.Helper()
	if err := w.o.round(w.t.Context(), begin.Add(d)); err != nil {
		w.t.Fatal(err)
	}
	return w.capture()
}

func (w *world) capture() *resource.Capture {
	w.t.Helper()
	u, err := w.o.captures().Get(w.t.Context(), "x", v1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := resource.CaptureFromObject(u)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// change changes an object as another program would: its hub, a person, or the API.
func (w *world) change(name string, change func(*unstructured.Unstructured)) {
	w.t.Helper()
	of := w.o.snapshots()
	if name == "x" {
		of = w.o.captures()
	}
	u, err := of.Get(w.t.Context(), name, v1.GetOptions{})
	if err == nil {
		change(u)
		_, err = of.Update(w.t.Context(), u, v1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deleting(name string) {
	w.change(name, func(u *unstructured.Unstructured) { now := v1.NewTime(begin); u.SetDeletionTimestamp(&now) })
}

var shop = map[string]any{"duration": "1m", "select": map[string]any{"workloads": []any{"shop/web"}, "kfl": "http"}}

func TestCaptureIsASnapshotFromNowOn(t *testing.T) {
	w := newWorld(t, shop)
	if c := w.at(2 * time.Second); len(c.Finalizers) != 1 {
		t.Errorf("%+v", c)
	}
	u, err := w.o.snapshots().Get(t.Context(), "capture-x", v1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := resource.FromObject(u)
	if err != nil || s.Spec.From != "2026-03-02T09:00:30Z" || s.Spec.To != "2026-03-02T09:01:30Z" || s.Spec.Select.KFL != "http" || s.Labels[resource.CaptureLabel] != "u1" {
		t.Errorf("%+v, %v", s, err)
	}
	if c := w.at(4 * time.Second); c.Status.Phase != resource.Recording || c.Status.Snapshot != "capture-x" || c.Status.Until != "2026-03-02T09:01:30Z" {
		t.Errorf("%+v", c.Status)
	}
	w.change("capture-x", func(u *unstructured.Unstructured) {
		u.Object["status"] = map[string]any{"phase": "Ready", "collected": "1/2", "packets": int64(7), "calls": int64(3), "conditions": []any{map[string]any{
			"type": "Complete", "status": "False", "reason": "NodesMissing", "message": "away", "lastTransitionTime": begin.Format(time.RFC3339)}}}
	})
	c := w.at(70 * time.Second)
	if q := meta.FindStatusCondition(c.Status.Conditions, resource.Complete); c.Status.Phase != resource.Ready || c.Status.Collected != "1/2" || c.Status.Packets != 7 || c.Status.Calls != 3 || q == nil || q.Message != "away" {
		t.Errorf("%+v", c.Status)
	}
	if err := w.o.snapshots().Delete(t.Context(), "capture-x", v1.DeleteOptions{}); err != nil { // after retainFor
		t.Fatal(err)
	}
	if w.at(time.Hour) != nil {
		t.Error("the Capture of a snapshot that is gone is left")
	}
}

// TestDeletionTakesTheSnapshotAlong: the Capture is there until the snapshot and its files are gone.
func TestDeletionTakesTheSnapshotAlong(t *testing.T) {
	w := newWorld(t, shop)
	w.at(2 * time.Second)
	w.change("capture-x", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{resource.Finalizer}) })
	w.at(4 * time.Second)
	w.deleting("x")
	w.deleting("capture-x") // what a real API does while there is a finalizer
	if c := w.at(6 * time.Second); c == nil || len(c.Finalizers) != 1 {
		t.Errorf("it did not wait for its snapshot: %+v", c)
	}
	if err := w.o.snapshots().Delete(t.Context(), "capture-x", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if c := w.at(8 * time.Second); c != nil && len(c.Finalizers) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestDeletionDeletesTheSnapshot(t *testing.T) {
	w := newWorld(t, shop)
	w.at(2 * time.Second)
	w.deleting("x")
	w.at(4 * time.Second)
	if _, err := w.o.snapshots().Get(t.Context(), "capture-x", v1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the snapshot is left: %v", err)
	}
}

// TestSomebodyElsesSnapshot of the same name is neither used nor deleted.
func TestSomebodyElsesSnapshot(t *testing.T) {
	w := newWorld(t, shop)
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "pcapsule.dev/v1beta1", "kind": "Snapshot", "metadata": map[string]any{"name": "capture-x", "namespace": "pcapsule"}, "spec": map[string]any{"last": "1m"}}}
	if _, err := w.o.snapshots().Create(t.Context(), u, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.o.round(t.Context(), begin); err == nil || !strings.Contains(err.Error(), "is not its own") {
		t.Errorf("%v", err)
	}
	w.deleting("x")
	w.at(time.Second)
	if _, err := w.o.snapshots().Get(t.Context(), "capture-x", v1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestCapturesThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spec   map[string]any
		reason string
	}{
		"no pods":   {map[string]any{"select": map[string]any{"kfl": "http"}}, "Invalid"},
		"a day":     {map[string]any{"duration": "25h", "select": map[string]any{"namespaces": []any{"shop"}}}, "Invalid"},
		"a bad KFL": {map[string]any{"select": map[string]any{"namespaces": []any{"shop"}, "kfl": "("}}, "InvalidFilter"},
	} {
		w := newWorld(t, tt.spec)
		w.at(time.Second)
		c := w.at(3 * time.Second)
		if q := meta.FindStatusCondition(c.Status.Conditions, resource.Accepted); c.Status.Phase != resource.Failed || q == nil || q.Status != v1.ConditionFalse || q.Reason != tt.reason || len(c.Finalizers) > 0 {
			t.Errorf("%s: %+v", name, c.Status)
		}
	}
}
