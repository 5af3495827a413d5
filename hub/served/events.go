package served

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Events are the events of Kubernetes.
var Events = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}

const (
	maxNote  = 1000 // bytes; the API's limit is 1 KiB
	reporter = "pcapsule-hub"
)

// underWay are reasons of conditions that will become true: they are no events.
var underWay = map[string]bool{"Collecting": true, "Bundling": true, "Waiting": true, "Storing": true}

// Conditions are those in the status of an object.
func Conditions(u *unstructured.Unstructured) []v1.Condition {
	var x struct {
		Status struct {
			Conditions []v1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"status": u.Object["status"]}, &x) != nil {
		return nil
	}
	return x.Status.Conditions
}

// Announce creates an event for each condition of an object that has another state or reason than before, which
// kubectl describe shows. The status has the same, so an event that the API does not accept is left out.
func Announce(ctx context.Context, client dynamic.Interface, u *unstructured.Unstructured, before []v1.Condition) {
	for _, c := range Conditions(u) {
		old := meta.FindStatusCondition(before, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason || c.Status != v1.ConditionTrue && underWay[c.Reason] {
			continue
		}
		kind := "Normal"
		if c.Status != v1.ConditionTrue {
			kind = "Warning"
		}
		Event(ctx, client, u, kind, c.Type, c.Reason, c.Message)
	}
}

// Event creates an event about an object, of type Normal or Warning. One that the API does not accept is left out.
func Event(ctx context.Context, client dynamic.Interface, u *unstructured.Unstructured, kind, action, reason, note string) {
	now := time.Now()
	_, _ = client.Resource(Events).Namespace(u.GetNamespace()).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "events.k8s.io/v1", "kind": "Event",
		"metadata":            map[string]any{"name": fmt.Sprintf("%s.%x", clip.Cut(u.GetName(), 200), now.UnixNano()), "namespace": u.GetNamespace()},
		"eventTime":           v1.NewMicroTime(now).UTC().Format(v1.RFC3339Micro),
		"reportingController": reporter, "reportingInstance": reporter,
		"action": action, "reason": reason, "note": clip.Text(note, maxNote), "type": kind,
		"regarding": map[string]any{"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "name": u.GetName(), "namespace": u.GetNamespace(), "uid": string(u.GetUID())},
	}}, v1.CreateOptions{})
}
