package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/pcapsule/pcapsule/hub/rollout"
	"github.com/pcapsule/pcapsule/recorder/pins"
)

func (a *apiServer) configIn(namespace string) dynamic.ResourceInterface {
	return a.objects.Resource(rollout.Resource).Namespace(namespace)
}

// createConfig creates a RecorderConfig with a spec in YAML.
func (a *apiServer) createConfig(namespace, name, spec string) (*unstructured.Unstructured, error) {
	a.t.Helper()
	u := &unstructured.Unstructured{}
	text := fmt.Sprintf("{apiVersion: pcapsule.dev/v1beta1, kind: RecorderConfig, metadata: {name: %q}, spec: %s}", name, spec)
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		a.t.Fatal(err)
	}
	return a.configIn(namespace).Create(a.t.Context(), u, v1.CreateOptions{FieldValidation: "Strict"})
}

// rolledOut waits for a reason of the condition, and returns the status.
func (a *apiServer) rolledOut(namespace, reason string) *rollout.Status {
	a.t.Helper()
	var s rollout.Status
	a.await("RecorderConfig "+reason, time.Minute, func() error {
		u, err := a.configIn(namespace).Get(a.t.Context(), "default", v1.GetOptions{})
		if err != nil {
			return err
		}
		s = rollout.Status{}
		if status, ok := u.Object["status"].(map[string]any); ok {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(status, &s); err != nil {
				return err
			}
		}
		if c := meta.FindStatusCondition(s.Conditions, rollout.Applied); c == nil || c.Reason != reason || c.ObservedGeneration != u.GetGeneration() {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	return &s
}

// testConfig gives two recorders a RecorderConfig, which one of them rejects at first.
func (a *apiServer) testConfig(t *testing.T, token string) {
	for spec, name := range map[string]string{`{}`: "other", `{nevr: []}`: "default", `{never: [{}]}`: "default", `{never: [{port: []}]}`: "default", `{unknown: keep}`: "default", `{only: {}}`: "default",
		`{keys: {of: [all], to: [/etc/shadow]}}`: "default", `{retention: {maxSize: much}}`: "default", `{snapshotLength: 0}`: "default", `{filter: ""}`: "default"} {
		if _, err := a.createConfig("pcapsule", name, spec); !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
			t.Errorf("%s with spec %s: %v", name, spec, err)
		}
	}
	u, err := a.createConfig("pcapsule", "default", `{never: [{namespace: [pay], port: [5432, "6000-6100"]}], filter: not port 22, retention: {maxSize: 1Gi, namespaces: [{namespace: shop, maxAge: 1h}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if s := a.rolledOut("pcapsule", "Waiting"); s.Applied != "0/2" {
		t.Errorf("%+v", s)
	}
	a.testRecordersRights(t, token)
	said := func(node, problem string, applied int64) {
		a.configs.Store(node, pins.Config{Known: true, UID: string(u.GetUID()), Generation: u.GetGeneration(), AppliedUID: string(u.GetUID()), Applied: applied, Problem: problem})
	}
	said("node-a", "", 1)
	said("node-b", "filter: no such word", 0)
	if s := a.rolledOut("pcapsule", "Rejected"); s.Applied != "1/2" || len(s.Nodes) != 2 || s.Nodes[1].Message != "filter: no such word" {
		t.Errorf("%+v", s)
	}
	said("node-b", "", 1)
	if s := a.rolledOut("pcapsule", "Everywhere"); s.Applied != "2/2" {
		t.Errorf("%+v", s)
	}
	if c := a.columns("recorderconfigs/default"); c["Applied"] != "2/2" || c["Status"] != "Everywhere" {
		t.Errorf("columns %v", c)
	}
	if _, err := a.createConfig("kube-public", "default", `{}`); err != nil {
		t.Fatal(err)
	}
	a.rolledOut("kube-public", "WrongNamespace")
	// A new version is asked for at once, although the one before had arrived everywhere.
	if u, err = a.configIn("pcapsule").Get(t.Context(), "default", v1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	u.Object["spec"] = map[string]any{"filter": "tcp"}
	if u, err = a.configIn("pcapsule").Update(t.Context(), u, v1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	a.rolledOut("pcapsule", "Waiting")
}

// testRecordersRights checks that a recorder reads the RecorderConfig of its namespace, and no more.
func (a *apiServer) testRecordersRights(t *testing.T, token string) {
	client, err := dynamic.NewForConfig(a.config(token))
	if err != nil {
		t.Fatal(err)
	}
	own := client.Resource(rollout.Resource).Namespace("pcapsule")
	list, err := own.List(t.Context(), v1.ListOptions{FieldSelector: "metadata.name=default"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("a recorder cannot read its configuration: %v", err)
	}
	w, err := own.Watch(t.Context(), v1.ListOptions{FieldSelector: "metadata.name=default", ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatalf("a recorder cannot watch its configuration: %v", err)
	}
	w.Stop()
	_, all := own.List(t.Context(), v1.ListOptions{})
	_, elsewhere := client.Resource(rollout.Resource).Namespace("kube-public").List(t.Context(), v1.ListOptions{FieldSelector: "metadata.name=default"})
	_, write := own.Update(t.Context(), &list.Items[0], v1.UpdateOptions{})
	_, status := own.UpdateStatus(t.Context(), &list.Items[0], v1.UpdateOptions{})
	for what, err := range map[string]error{"list all": all, "read another namespace": elsewhere, "write": write, "write the status": status} {
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "recorderconfigs") {
			t.Errorf("a recorder may %s: %v", what, err)
		}
	}
}
