package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	shared "github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/hub"
	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

const uid = "0a1b2c3d-0000-4000-8000-000000000000"

// received makes the folder of a hub that has received the part of one node, and knows that of another to be missing.
func received(t *testing.T) (dir string) {
	t.Helper()
	data, err := os.ReadFile("../../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	snapshot := filepath.Join(dir, hub.Snapshots, uid)
	held := filepath.Join(snapshot, "nodes", "node-a", "held")
	if _, err := ringtest.Fill(held, data, 1, 20); err != nil {
		t.Fatal(err)
	}
	nodes := map[string]resource.Node{"node-a/received.json": {Name: "node-a", State: resource.Received}, "node-b/missing.json": {Name: "node-b", State: resource.Missing, Reason: collect.Gone, Message: "away"}}
	for name, n := range nodes {
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(snapshot, "nodes", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plan := &collect.Plan{Nodes: []string{"node-a", "node-b", "node-c"}, From: 1, To: ring.Time(time.Now().UnixNano())}
	if err := plan.Write(snapshot); err != nil {
		t.Fatal(err)
	}
	return dir
}

// part runs pcapsule-hub part with the environment of a pod.
func part(t *testing.T, dir, index string, args ...string) (code int, out, errOut string) {
	t.Helper()
	t.Setenv("JOB_COMPLETION_INDEX", index)
	var o, e bytes.Buffer
	code = Main(append([]string{"part", "--data=" + dir, "--snapshot=" + uid}, args...), &o, &e)
	return code, o.String(), e.String()
}

func TestPart(t *testing.T) {
	dir := received(t)
	snapshot := filepath.Join(dir, hub.Snapshots, uid)
	killed := filepath.Join(snapshot, "nodes", "node-a", ".node-a.pcapsule.partial-0123456789ab")
	if err := os.Mkdir(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := part(t, dir, "0", "--memory=128Mi")
	if code != exit.Done || !strings.HasPrefix(out, "node-a.pcapsule: ") || strings.Contains(out, " 0 packets") {
		t.Fatalf("%d %q %q", code, out, errOut)
	}
	path := filepath.Join(snapshot, "bundles", "node-a.pcapsule")
	if rep, err := bundle.Verify(t.Context(), path, nil); err != nil || !rep.OK() {
		t.Errorf("%v, %v", rep, err)
	}
	if _, err := os.Stat(killed); err == nil {
		t.Error("what a killed pod left is still there")
	}
	before, err := os.ReadFile(filepath.Join(path, "manifest-sha256.txt"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if code, second, _ := part(t, dir, "0"); code != exit.Done || second != out {
		t.Errorf("the second time: %d %q", code, second)
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(info, now) {
		t.Errorf("the bundle was replaced: %v", err)
	}
	if now, err := os.ReadFile(filepath.Join(path, "manifest-sha256.txt")); err != nil || !bytes.Equal(now, before) {
		t.Errorf("the bundle was changed: %v", err)
	}
	if code, out, _ := part(t, dir, "1"); code != exit.Done || out != "node-b.pcapsule: 0 packets, 0 calls\n" {
		t.Errorf("a missing part: %d %q", code, out)
	}
}

// TestPartWasNearlyDone continues after a pod that was killed before it moved its bundle, and beside one that is first.
func TestPartWasNearlyDone(t *testing.T) {
	dir := received(t)
	snapshot := filepath.Join(dir, hub.Snapshots, uid)
	made, final := filepath.Join(snapshot, "nodes", "node-a", "node-a.pcapsule"), filepath.Join(snapshot, "bundles", "node-a.pcapsule")
	if code, _, errOut := part(t, dir, "0"); code != exit.Done {
		t.Fatal(errOut)
	}
	if err := os.Rename(final, made); err != nil {
		t.Fatal(err)
	}
	x := &maker{memory: exporter.DefaultMemory, turn: make(chan struct{}, 1)}
	c := &collect.Collector{Count: count, Make: func(context.Context, string, string, [2]ring.Time) error { t.Error("it was made twice"); return nil }}
	if n, err := c.BundleIndex(t.Context(), snapshot, 0); err != nil || n.Packets == 0 {
		t.Fatalf("%+v, %v", n, err)
	}
	if err := os.Rename(final, final+".first"); err != nil {
		t.Fatal(err)
	}
	c.Make = func(ctx context.Context, from, to string, w [2]ring.Time) error {
		if err := x.make(ctx, from, to, w); err != nil {
			return err
		}
		return os.Rename(final+".first", final) // by the other pod
	}
	if n, err := c.BundleIndex(t.Context(), snapshot, 0); err != nil || n.State != resource.Bundled {
		t.Fatalf("%+v, %v", n, err)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the second bundle is left")
	}
	if rep, err := bundle.Verify(t.Context(), final, nil); err != nil || !rep.OK() {
		t.Errorf("%v, %v", rep, err)
	}
}

func TestPartRefuses(t *testing.T) {
	dir := received(t)
	for _, tt := range []struct {
		name, index string
		args        []string
		code        int
		want        string
	}{
		{"no index", "", nil, exit.Usage, "must be a whole number"},
		{"an index below 0", "-1", nil, exit.Usage, "must be a whole number"},
		{"an index that no node has", "3", nil, exit.Other, "index 3 is outside 0 to 2"},
		{"a part that is not there yet", "2", nil, exit.Other, "node-c was not received yet"},
		{"a path as a snapshot", "0", []string{"--snapshot=../x"}, exit.Usage, "must be the UID of a snapshot"},
		{"another snapshot", "0", []string{"--snapshot=other"}, exit.Other, "has no job.json"},
		{"no memory", "0", []string{"--memory=1Mi"}, exit.Usage, "must be 64MiB to 1024TiB"},
		{"an argument", "0", []string{"x"}, exit.Usage, `unexpected argument "x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, _, errOut := part(t, dir, tt.index, tt.args...); code != tt.code || !strings.Contains(errOut, tt.want) {
				t.Errorf("%d %q, want %d %q", code, errOut, tt.code, tt.want)
			}
		})
	}
	if list, _ := os.ReadDir(filepath.Join(dir, hub.Snapshots, uid, "bundles")); len(list) > 0 {
		t.Errorf("refused parts left %v", list)
	}
	snapshot := filepath.Join(dir, hub.Snapshots, uid)
	if err := os.WriteFile(filepath.Join(snapshot, "job.json"), []byte(`{"nodes":["../../x"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := part(t, dir, "0"); code != exit.Other || !strings.Contains(errOut, "cannot be the name of a node") {
		t.Errorf("%d %q", code, errOut)
	}
}

// TestJobFlags: which snapshots are large, and what is wrong with the file.
func TestJobFlags(t *testing.T) {
	job := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(job, []byte("{apiVersion: batch/v1, kind: Job, spec: {backoffLimitPerIndex: 1, template: {spec: {restartPolicy: Never, containers: [{name: part}]}}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		job     string
		large   shared.Size
		want    int64
		problem string
	}{
		{"", 4 << 30, 0, ""}, {job, 0, 0, ""}, {job, 4 << 30, 4 << 30, ""}, {job, 1, 1, ""},
		{"none.yaml", 1, 0, "none.yaml"},
	} {
		var o hub.Options
		err := (&flags{job: tt.job, large: tt.large}).jobs(&o)
		if (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%q %s: %v", tt.job, &tt.large, err)
		}
		if err == nil && (o.Job != nil) != (tt.want > 0) || o.Job != nil && o.Large != tt.want {
			t.Errorf("%q %s: %v, %d", tt.job, &tt.large, o.Job != nil, o.Large)
		}
	}
	env := func(name string) (string, bool) { return "7Gi", name == "PCAPSULE_JOB_THRESHOLD" }
	c := command(env, &bytes.Buffer{})
	if err := fromEnvironment(c.Flags(), env); err != nil || c.Flags().Lookup("job-threshold").Value.String() != "7GiB" {
		t.Errorf("%v", err)
	}
}

// TestStamp: what the hub says of a ring is added to a bundle's custody log once, also by a hub that starts again.
func TestStamp(t *testing.T) {
	dir := received(t)
	if code, _, errOut := part(t, dir, "0", "--memory=128Mi"); code != exit.Done {
		t.Fatal(errOut)
	}
	path := filepath.Join(dir, hub.Snapshots, uid, "bundles", "node-a.pcapsule")
	a := ring.Anchor{Ring: "r", Of: 3, Hash: "00", Witness: "hub"}
	for _, tt := range []struct {
		seen    collect.Seen
		entries int
		event   string
	}{
		{collect.Seen{Anchor: &a}, 2, bundle.EventAnchored}, {collect.Seen{Anchor: &a}, 2, bundle.EventAnchored},
		{collect.Seen{Problem: "its tail was cut"}, 3, bundle.EventContradicted}, {collect.Seen{Problem: "its tail was cut"}, 3, bundle.EventContradicted},
	} {
		if err := stamp(path, tt.seen); err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if list, _, err := b.Custody(); err != nil || len(list) != tt.entries || list[len(list)-1].Event != tt.event {
			t.Errorf("%+v: %+v, %v", tt.seen, list, err)
		}
	}
	if rep, err := bundle.Verify(t.Context(), path, nil); err != nil || !rep.OK() {
		t.Errorf("%v, %v", rep, err)
	}
}

func TestAccessLogThatCannotBeWritten(t *testing.T) {
	var out, errOut bytes.Buffer
	code := Main([]string{"--namespace", "x", "--access-log", filepath.Join(t.TempDir(), "none", "log.jsonl")}, &out, &errOut)
	if code != exit.Disk || !strings.Contains(errOut.String(), "opening access log") {
		t.Errorf("%d %s", code, errOut.String())
	}
}

// TestAccessLogLines: a line has who asked what, without the secrets in it.
func TestAccessLogLines(t *testing.T) {
	var out bytes.Buffer
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	if err := recordTo(accesslog.To(&out))(download.Request{At: at, User: "ada", Remote: "192.0.2.1:1", Method: "http GET", Path: "/mcp/calls", Query: "kfl=http&password=hunter2hunter2", Error: "403 Forbidden", Took: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	var e accesslog.Entry
	if err := json.Unmarshal(out.Bytes(), &e); err != nil || strings.Count(out.String(), "\n") != 1 || e.User != "ada" || e.Name != "/mcp/calls" || e.Time != "2026-03-02T09:00:00Z" || e.Error != "403 Forbidden" || e.Ms != 1 ||
		!strings.Contains(e.Arguments, "kfl=http") || strings.Contains(out.String(), "hunter2") || e.SHA256 == "" {
		t.Errorf("%s, %v", out.String(), err)
	}
}
