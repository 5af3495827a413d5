package kubectl_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/kubectl"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// TestAssistantsOfACluster create, record and fetch snapshots by the resources.
func TestAssistantsOfACluster(t *testing.T) {
	c := newCluster(t)
	c.put("list", `{"items":[{"metadata":{"name":"old","creationTimestamp":"2026-03-01T09:00:00Z"},"status":{"phase":"Failed","conditions":[{"type":"Ready","status":"False","message":"no node"}]}},
		{"metadata":{"name":"x","uid":"0b1c","creationTimestamp":"2026-03-02T09:00:00Z"},"spec":{"select":{"namespaces":["shop"],"kfl":"http"}},
		"status":{"phase":"Ready","from":"2026-03-02T08:59:00Z","to":"2026-03-02T09:00:00Z","packets":24,"bytes":9,"nodes":[{"name":"a","state":"Bundled"},{"name":"b","state":"Missing","message":"away"}]}}]}`)
	var out, errOut strings.Builder
	s := kubectl.NewStore(&console.Streams{Out: &out, Err: &errOut}, "pcapsule")
	t.Cleanup(s.Close)
	list, err := s.Snapshots(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "x" || list[0].Status != "completed" || list[0].DurationMs != 60000 || list[0].Nodes != 2 || list[0].Filter != "shop; http" || list[0].Missing[0] != "node b: away" ||
		list[1].Status != "failed" || list[1].Error != "no node" {
		t.Errorf("%+v, %v", list, err)
	}
	if x, err := s.Capture(t.Context(), store.CaptureRequest{Name: "capture-20260302T090000.000", Duration: 30 * time.Second, Filter: "port 80", Owners: []string{"pod=shop/web", "namespace=shop", "label=app=web"}}); err != nil || x.Name != "capture-20260302t090000.000" || x.Status != "recording" {
		t.Errorf("%+v, %v", x, err)
	}
	if text := c.read("created"); !strings.Contains(text, `"kind":"Capture"`) || !strings.Contains(text, `"name":"20260302t090000.000"`) || !strings.Contains(text, `"duration":"30s"`) ||
		!strings.Contains(text, `"select":{"namespaces":["shop"],"workloads":["shop/web"],"labels":"app=web","filter":"port 80"}`) {
		t.Errorf("created %s", text)
	}
	for _, r := range []store.CaptureRequest{{Name: "x", Duration: time.Minute}, {Name: "x", Duration: 2 * time.Hour, Owners: []string{"namespace=a"}}, {Name: "x", Duration: time.Minute, Owners: []string{"process=web"}},
		{Name: "../x", Duration: time.Minute, Owners: []string{"namespace=a"}}} {
		if _, err := s.Capture(t.Context(), r); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
	if _, err := s.CreateSnapshot(t.Context(), store.SnapshotRequest{Name: "snapshot-20260302T090000.000", Last: time.Minute}); err != nil || !strings.Contains(c.read("created"), `"kind":"Snapshot"`) || !strings.Contains(c.read("created"), `"last":"1m0s"`) {
		t.Errorf("created %s, %v", c.read("created"), err)
	}
	if d, err := s.StartDissection(t.Context(), "x", "main"); err != nil || d.Status != "running" || d.DB != "x/main" {
		t.Fatalf("%+v, %v", d, err)
	}
	var d []store.Dissection
	for end := time.Now().Add(time.Minute); len(d) == 0 || d[0].Status == "running" && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if d, err = s.Dissections(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if d[0].Status != "completed" || d[0].Protocols["dns"] != 21 || len(d[0].Paths) != 1 || out.String() != "" {
		t.Errorf("%+v; on the stream of answers: %q; %s", d, out.String(), errOut.String())
	}
	for _, name := range []string{"--all", "../x", ""} {
		if err := s.DeleteSnapshot(t.Context(), name); err == nil {
			t.Errorf("%q was deleted", name)
		}
	}
	if err := s.DeleteSnapshot(t.Context(), "capture-x"); err != nil || !strings.Contains(c.read("lines"), "delete captures.pcapsule.dev x --wait=false --namespace=pcapsule") {
		t.Errorf("%s, %v", c.read("lines"), err)
	}
}

// TestCaptureTrafficInACluster is the whole way, from the message of an assistant to the resource.
func TestCaptureTrafficInACluster(t *testing.T) {
	c := newCluster(t)
	c.put("list", `{"items":[]}`)
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "mcp", "--cluster", "pcapsule")
	cmd.Args[0] = "pcapsule"
	cmd.Stdin = strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"capture_traffic","arguments":{"name":"rec","duration":"30s","owners":["pod=shop/web"]}}}
`)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	var made struct{ Kind string }
	if err := json.Unmarshal([]byte(c.read("created")), &made); err != nil || made.Kind != "Capture" || !strings.Contains(string(out), "capture-rec") {
		t.Errorf("created %+v, %v; %s", made, err, out)
	}
}
