package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// logger writes to the test's log until the test ends.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(&testLog{t}, nil))
}

type testLog struct{ t *testing.T }

func (l *testLog) Write(p []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// startHub starts a hub with the rights of its service account.
func (a *apiServer) startHub(dir string) (address string, stop func() error) {
	a.t.Helper()
	port := freePort(a.t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Cluster: a.config(a.token("pcapsule-hub", nil)), Namespace: "pcapsule", Dir: dir, Listen: "127.0.0.1:" + port, Identity: "hub-" + port, Release: "test", Log: logger(a.t),
			Make: func(ctx context.Context, from, to string, w [2]ring.Time) error {
				_, err := exporter.Run(ctx, []string{from}, to, exporter.Options{FromNs: int64(w[0]), ToNs: int64(w[1])})
				return err
			},
			Count: func(path string) (n collect.Counts, err error) {
				b, err := bundle.Open(path)
				if err == nil {
					n.Packets = b.Manifest.Accounts.Packets
				}
				return n, err
			}})
	}()
	stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	a.t.Cleanup(func() { stop() })
	return "127.0.0.1:" + port, stop
}

func (a *apiServer) get(name string) *resource.Snapshot {
	a.t.Helper()
	u, err := a.snapshots().Get(a.t.Context(), name, v1.GetOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	s, err := resource.FromObject(u)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

func (a *apiServer) finished(name string) *resource.Snapshot {
	a.t.Helper()
	a.await("snapshot "+name, 2*time.Minute, func() error {
		if s := a.get(name); !s.Status.Finished() {
			return fmt.Errorf("%+v", s.Status)
		}
		return nil
	})
	return a.get(name)
}

// TestHubOnARealAPI installs the manifests on a real API server, with their rights enforced, and
// collects a snapshot of two nodes.
func TestHubOnARealAPI(t *testing.T) {
	a := startAPI(t)
	a.install()
	if t.Failed() {
		return
	}
	tokenA, _ := a.node("node-a")
	a.node("node-b")
	dir := t.TempDir()
	_, stop := a.startHub(dir)
	if err := a.create("incident", `{from: "2000-01-01T00:00:00Z", to: "`+time.Now().UTC().Format(time.RFC3339)+`", patience: 1m}`); err != nil {
		t.Fatal(err)
	}
	s := a.finished("incident")
	// The rings begin long after the window.
	if c := meta.FindStatusCondition(s.Status.Conditions, resource.Complete); c == nil || c.Status != v1.ConditionFalse || c.Reason != "PartlyRecorded" || s.Status.Collected != "2/2" || s.Status.Packets == 0 {
		t.Errorf("%+v", s.Status)
	}
	if c := a.columns("snapshots/incident"); c["Phase"] != "Ready" || c["Nodes"] != "2/2" || c["Complete"] != "False" {
		t.Errorf("columns %v", c)
	}
	for _, n := range []string{"node-a", "node-b"} {
		if rep, err := bundle.Verify(t.Context(), filepath.Join(dir, "snapshots", string(s.UID), "bundles", n+".pcapsule"), nil); err != nil || !rep.OK() {
			t.Errorf("%s: %v, %v", n, rep, err)
		}
	}
	key, _, err := mutual.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.certificate(tokenA, mutual.Node("node-b"), key); err == nil || !strings.Contains(err.Error(), "denied") {
		t.Errorf("node-a got the certificate of node-b: %v", err)
	}
	t.Run("configuration", func(t *testing.T) { a.testConfig(t, tokenA) })
	t.Run("invalid snapshots", func(t *testing.T) { a.testInvalid(t) })
	t.Run("selections", func(t *testing.T) { a.testSelections(t) })
	t.Run("captures", func(t *testing.T) { a.testCaptures(t) })
	t.Run("incidents", func(t *testing.T) { a.testIncidents(t) })
	if err := stop(); err != nil {
		t.Errorf("ending the hub: %v", err)
	}
	address, _ := a.startHub(dir)
	t.Run("who may fetch", func(t *testing.T) { a.testAccess(t, address) })
	t.Run("nodes that are gone", func(t *testing.T) { a.testGone(t, dir) })
	a.testDeletion(t, s, dir)
}

// testInvalid creates snapshots that the API must not accept.
func (a *apiServer) testInvalid(t *testing.T) {
	for _, spec := range []string{`{}`, `{last: 1m, from: "2026-01-01T00:00:00Z", to: "2026-01-01T00:00:00Z"}`, `{from: "2026-01-01T00:00:00Z"}`, `{last: soon}`, `{last: -1m}`,
		`{last: 1m, nodes: ["../x"]}`, `{last: 1m, nodes: [a, a]}`, `{from: yesterday, to: "2026-01-01T00:00:00Z"}`, `{last: 1m, namespaces: [shop]}`} {
		if err := a.create("invalid", spec); err == nil {
			t.Errorf("%s was accepted", spec)
		}
	}
	s := a.get("incident")
	s.Spec.To = "2030-01-01T00:00:00Z"
	u, err := s.Object()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.snapshots().Update(t.Context(), u, v1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("the window was changed: %v", err)
	}
}

// testAccess checks who gets the content of a snapshot.
func (a *apiServer) testAccess(t *testing.T, address string) {
	accounts := a.core.ServiceAccounts("pcapsule")
	for _, name := range []string{"ada", "eve"} {
		if _, err := accounts.Create(t.Context(), &core.ServiceAccount{ObjectMeta: v1.ObjectMeta{Name: name}}, v1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&rbac.RoleBinding{TypeMeta: v1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"}, ObjectMeta: v1.ObjectMeta{Name: "ada"},
		RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: "pcapsule-investigator"}, Subjects: []rbac.Subject{{Kind: "ServiceAccount", Name: "ada", Namespace: "pcapsule"}}})
	if err != nil {
		t.Fatal(err)
	}
	bindings := a.objects.Resource(schema.GroupVersionResource{Group: rbac.GroupName, Version: "v1", Resource: "rolebindings"}).Namespace("pcapsule")
	if _, err := bindings.Create(t.Context(), &unstructured.Unstructured{Object: o}, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	root, err := a.core.ConfigMaps("pcapsule").Get(t.Context(), mutual.Authority, v1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ca := root.Data[mutual.AuthorityKey]
	a.await("the hub", time.Minute, func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
	ada := a.token("ada", nil)
	a.await("the right", time.Minute, func() error {
		if code, text := get(t, address, ca, ada, "/v1/snapshots/incident"); code != 200 || !strings.Contains(text, "incident-node-a.pcapsule") {
			return fmt.Errorf("%d %.300s", code, text)
		}
		return nil
	})
	for name, tt := range map[string]struct {
		token string
		want  int
	}{"another account": {a.token("eve", nil), 403}, "a recorder": {a.token("pcapsule-recorder", nil), 403}, "no token of Kubernetes": {"x", 401}} {
		if code, text := get(t, address, ca, tt.token, "/v1/snapshots/incident"); code != tt.want {
			t.Errorf("%s: %d %.200s, want %d", name, code, text, tt.want)
		}
	}
	if code, _ := get(t, address, ca, ada, "/v1/snapshots/other"); code != 404 {
		t.Errorf("an unknown snapshot: %d", code)
	}
}

// testGone removes a recorder and asks for its node, and for one that never was.
func (a *apiServer) testGone(t *testing.T, dir string) {
	zero := int64(0)
	pods, err := a.core.Pods("pcapsule").List(t.Context(), v1.ListOptions{FieldSelector: "spec.nodeName=node-b"})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%v, %v", pods, err)
	}
	if err := a.core.Pods("pcapsule").Delete(t.Context(), pods.Items[0].Name, v1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(listAge) // the hub does not list pods more often
	if err := a.create("gone", `{last: 1h, nodes: [node-a, node-b, node-c], patience: 0s}`); err != nil {
		t.Fatal(err)
	}
	s := a.finished("gone")
	c := meta.FindStatusCondition(s.Status.Conditions, resource.Complete)
	if c == nil || c.Status != v1.ConditionFalse || !strings.Contains(c.Message, "node-b (no recorder runs there)") || !strings.Contains(c.Message, "node-c (the cluster has no such node)") {
		t.Errorf("%+v", s.Status)
	}
	for _, n := range []string{"node-a", "node-b", "node-c"} {
		if _, err := os.Stat(filepath.Join(dir, "snapshots", string(s.UID), "bundles", n+".pcapsule")); err != nil {
			t.Error(err)
		}
	}
}

// testDeletion deletes a snapshot and waits until the API and the hub have forgotten it.
func (a *apiServer) testDeletion(t *testing.T, s *resource.Snapshot, dir string) {
	if err := a.snapshots().Delete(t.Context(), s.Name, v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	a.await("the deletion", time.Minute, func() error {
		if _, err := a.snapshots().Get(t.Context(), s.Name, v1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %v", err)
		}
		return nil
	})
	if _, err := os.Stat(filepath.Join(dir, "snapshots", string(s.UID))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files are left: %v", err)
	}
}
