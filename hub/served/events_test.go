package served

import (
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// TestEventsOfConditions: there is one for each change of a condition's state or reason, and none while work is under
// way or if only a message changed.
func TestEventsOfConditions(t *testing.T) {
	api := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource.Captures: "CaptureList", Events: "EventList"})
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "pcapsule.dev/v1beta1", "kind": "Capture", "metadata": map[string]any{"name": "x", "namespace": "pcapsule", "uid": "u1"}}}
	if _, err := api.Resource(resource.Captures).Namespace("pcapsule").Create(t.Context(), u, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	type status struct {
		Conditions []v1.Condition `json:"conditions"`
	}
	var said []string
	var s status
	for _, tt := range []struct {
		kind, reason, message string
		is                    bool
		want                  string // the new event; empty: none
	}{
		{"Accepted", "Valid", "the window is fixed", true, "Normal Valid: the window is fixed"},
		{"Complete", "Collecting", "parts are collected", false, ""},
		{"Complete", "NodesMissing", "a " + strings.Repeat("long ", 500) + "list", false, "Warning NodesMissing: a long long"},
		{"Complete", "NodesMissing", "another text", false, ""},
		{"Complete", "AllNodes", "every part is there", true, "Normal AllNodes: every part is there"},
	} {
		before := status{slices.Clone(s.Conditions)}
		Condition(&s.Conditions, tt.kind, tt.is, tt.reason, tt.message, 1)
		if err := Status(t.Context(), api, resource.Captures, u, before, s); err != nil {
			t.Fatal(err)
		}
		list, err := api.Resource(Events).Namespace("pcapsule").List(t.Context(), v1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var now []string
		for _, e := range list.Items {
			of, _, _ := unstructured.NestedString(e.Object, "regarding", "uid")
			note, _, _ := unstructured.NestedString(e.Object, "note")
			reason, _, _ := unstructured.NestedString(e.Object, "reason")
			kind, _, _ := unstructured.NestedString(e.Object, "type")
			if of != "u1" || len(note) > 1024 {
				t.Errorf("%d bytes about %s", len(note), of)
			}
			now = append(now, kind+" "+reason+": "+note)
		}
		added := slices.DeleteFunc(slices.Clone(now), func(x string) bool { return slices.Contains(said, x) })
		if said = now; tt.want == "" && len(added) > 0 || tt.want != "" && (len(added) != 1 || !strings.HasPrefix(added[0], tt.want)) {
			t.Errorf("%s: events %.200q, want %q", tt.reason, added, tt.want)
		}
	}
}
