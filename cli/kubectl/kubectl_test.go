package kubectl_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/kubectl"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// fakeKubectl answers like kubectl about one snapshot, x, and notes its command lines.
const fakeKubectl = `#!/bin/sh
echo "$*" >>"$FAKE/lines"
case "$1 $2" in
"create -f") cat >"$FAKE/created"; [ -e "$FAKE/exists" ] && { echo 'Error from server (AlreadyExists): snapshots "x" already exists' >&2; exit 1; }
	cat "$FAKE/snapshot.1" ;;
"get snapshots.pcapsule.dev"*) [ "$3" = -o ] && { cat "$FAKE/list"; exit; }
	cat "$FAKE/snapshot.$([ -e "$FAKE/asked" ] && echo 2 || echo 1)"; touch "$FAKE/asked" ;;
"get captures.pcapsule.dev") cat "$FAKE/snapshot.$([ -e "$FAKE/asked" ] && echo 2 || echo 1)"; touch "$FAKE/asked" ;;
"get configmap") cat "$FAKE/ca" ;;
"create token") echo good ;;
"config view") cat "$FAKE/token" ;;
"delete captures.pcapsule.dev") ;;
"port-forward "*) echo "Forwarding from 127.0.0.1:$(cat "$FAKE/port") -> 8443"; exec sleep 600 ;;
*) echo "error: unknown command" >&2; exit 1 ;;
esac
`

// cluster is what the fake kubectl knows.
type cluster struct {
	t   *testing.T
	dir string
	hub *fakeHub
}

func newCluster(t *testing.T) *cluster {
	h := newHub(t)
	h.offer.Missing = nil
	c := &cluster{t, t.TempDir(), h}
	ca, err := os.ReadFile(h.ca)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	c.put("kubectl", fakeKubectl)
	c.put("ca", string(ca))
	c.put("port", at.Port())
	c.put("token", "good")
	c.status(1, `{"phase":"Collecting","collected":"0/1"}`)
	c.status(2, `{"phase":"Ready","collected":"1/1","packets":24,"calls":12,"nodes":[{"name":"a","state":"Bundled"}]}`)
	t.Setenv("FAKE", c.dir)
	t.Setenv("PATH", c.dir+":"+os.Getenv("PATH"))
	t.Setenv("PCAPSULE_TOKEN", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return c
}

func (c *cluster) put(name, text string) {
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) status(n int, text string) {
	c.put("snapshot."+string(rune('0'+n)), `{"metadata":{"name":"x",`+map[bool]string{true: `"namespace":"shop",`}[c.hub.tenant]+`"uid":"0b1c"},"status":`+strings.Replace(text, "{", `{"snapshot":"x",`, 1)+"}")
}

func (c *cluster) read(name string) string {
	text, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// run runs the plugin.
func (c *cluster) run(args ...string) (code int, out, errOut string) {
	c.t.Helper()
	return clitest.Run(kubectl.Args(append([]string{"/usr/bin/" + kubectl.Plugin}, args...))...)
}

// TestKubectlSnapshot makes a snapshot, waits for it and gets its bundles.
func TestKubectlSnapshot(t *testing.T) {
	c := newCluster(t)
	dir := filepath.Join(t.TempDir(), "got")
	code, out, errOut := c.run("snapshot", "x", "--last", "10m", "--node", "a", "--workload", "shop/web", "--of-namespace", "shop", "-l", "app=web", "--kfl", "http", "--context", "lab", "-o", dir)
	if code != exit.Done || !strings.Contains(out, "x: ready, 1/1 nodes, 24 packets, 12 calls") {
		t.Fatalf("%d %s%s", code, out, errOut)
	}
	if want := "--namespace=pcapsule --context=lab"; !strings.Contains(c.read("lines"), want) {
		t.Errorf("kubectl was not asked with %s:\n%s", want, c.read("lines"))
	}
	var made struct {
		Kind     string            `json:"kind"`
		Metadata map[string]string `json:"metadata"`
		Spec     map[string]any    `json:"spec"`
	}
	if err := json.Unmarshal([]byte(c.read("created")), &made); err != nil || made.Kind != "Snapshot" || made.Metadata["name"] != "x" || made.Spec["last"] != "10m0s" ||
		!reflect.DeepEqual(made.Spec["select"], map[string]any{"workloads": []any{"shop/web"}, "namespaces": []any{"shop"}, "labels": "app=web", "kfl": "http"}) {
		t.Errorf("created %+v, %v", made, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 || list[0].Name() != "x-a.pcapsule" {
		t.Errorf("got %v, %v", list, err)
	}
}

// TestKubectlTenant makes a snapshot outside the hub's namespace, gets it without a forwarded port, and asks about it.
func TestKubectlTenant(t *testing.T) {
	c := newCluster(t)
	c.hub.tenant = true
	c.status(1, `{"phase":"Ready","collected":"1/1","nodes":[{"name":"a","state":"Bundled"}]}`)
	c.status(2, `{"phase":"Ready","collected":"1/1","nodes":[{"name":"a","state":"Bundled"}]}`)
	t.Chdir(t.TempDir())
	hub := []string{"--hub", c.hub.url, "--account", "shop/ada"}
	code, out, errOut := c.run(append(hub, "snapshot", "shop/x", "--last", "10m", "-o", "got")...)
	if code != exit.Done || !strings.HasPrefix(out, "shop/x: ready, 1/1 nodes\n") {
		t.Fatalf("%d %s%s", code, out, errOut)
	}
	if code, out, errOut := c.run(append(hub, "fetch", "shop/x")...); code != exit.Done {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	for _, dir := range []string{"got", "x"} {
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", dir, list, err)
		}
	}
	if code, out, errOut := c.runProgram(append(hub, "query", "shop/x", "dns", "--", "--count")...); code != 0 || !strings.Contains(out, "21") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	lines := c.read("lines")
	for _, want := range []string{"create -f - -o json --namespace=shop\n", "get snapshots.pcapsule.dev x -o json --namespace=shop\n", "create token ada --namespace=shop\n", "get configmap pcapsule-ca -o jsonpath={.data.ca\\.crt} --namespace=pcapsule\n"} {
		if !strings.Contains(lines, want) {
			t.Errorf("kubectl was not asked with %s", want)
		}
	}
	if strings.Contains(lines, "port-forward") {
		t.Errorf("a port was forwarded:\n%s", lines)
	}
	for _, wrong := range [][]string{{"fetch", "shop/x/y"}, {"fetch", "/x"}, {"query", "../x", "dns"}, {"snapshot", "shop/", "--last", "1m"}, {"fetch", "x", "--account", "a/b/c"}} {
		if code, out, errOut := c.run(wrong...); code != exit.Usage || !strings.Contains(errOut, "is not") {
			t.Errorf("%v: %d %s%s", wrong, code, out, errOut)
		}
	}
}

// TestKubectlSnapshotTimes makes snapshots from times as people write them.
func TestKubectlSnapshotTimes(t *testing.T) {
	c := newCluster(t)
	today := time.Now().UTC().Format(time.DateOnly)
	for _, x := range []struct{ from, to, want string }{
		{today + " 00:00", today + "T00:00:01.5Z", today + "T00:00:00.000000000Z"},
		{"00:00", "00:00:01.5", today + "T00:00:00.000000000Z"},
	} {
		if code, out, errOut := c.run("snapshot", "x", "--from", x.from, "--to", x.to, "--wait", "0"); code != exit.Done {
			t.Fatalf("%s: %d %s%s", x.from, code, out, errOut)
		}
		var made struct{ Spec struct{ From, To string } }
		if err := json.Unmarshal([]byte(c.read("created")), &made); err != nil || made.Spec.From != x.want || made.Spec.To != today+"T00:00:01.500000000Z" {
			t.Errorf("%s: created %+v, %v", x.from, made, err)
		}
	}
	if code, _, errOut := c.run("snapshot", "x", "--from", "noon"); code != exit.Usage || !strings.Contains(errOut, `--from: must be a time such as`) {
		t.Errorf("%d %s", code, errOut)
	}
}

// TestKubectlQuestions gets a snapshot for the first question only.
func TestKubectlQuestions(t *testing.T) {
	c := newCluster(t)
	for _, line := range [][]string{{"query", "x", "dns", "--", "--count"}, {"ask", "get-api-stats", "x", "--", "--json"}, {"query", "x", "dns", "--", "--count", "--format=json"}} {
		if code, out, errOut := c.runProgram(line...); code != 0 || !strings.Contains(out, "21") {
			t.Errorf("%v: %d %s%s", line, code, out, errOut)
		}
	}
	if n := strings.Count(c.read("lines"), "port-forward"); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// TestKubectlRecord makes a Capture, gets its bundle, and deletes it.
func TestKubectlRecord(t *testing.T) {
	c := newCluster(t)
	out := filepath.Join(t.TempDir(), "pod.pcapsule")
	if code, printed, errOut := c.runProgram("record", "shop/Deployment/payment", "--for", "1s", "--kfl", "http", "--bpf-filter", "port 80", "-o", out); code != 0 || printed != out+"\n" {
		t.Errorf("%d %s%s", code, printed, errOut)
	}
	if b, err := bundle.Open(out); err != nil || b.Manifest.Calls["dns"] != 21 {
		t.Errorf("%v, %v", b, err)
	}
	if lines := c.read("lines"); !strings.Contains(lines, "delete captures.pcapsule.dev x --wait=false --namespace=pcapsule\n") || strings.Contains(lines, "get pod") {
		t.Errorf("kubectl was asked:\n%s", lines)
	}
	var made struct {
		Kind string
		Spec struct {
			Duration, RetainFor string
			Select              resource.Selection
		}
	}
	if err := json.Unmarshal([]byte(c.read("created")), &made); err != nil || made.Kind != "Capture" || made.Spec.Duration != "1s" || made.Spec.RetainFor != "1h" ||
		!reflect.DeepEqual(made.Spec.Select, resource.Selection{Workloads: []string{"shop/Deployment/payment"}, Filter: "port 80", KFL: "http"}) {
		t.Errorf("created %s, %v", c.read("created"), err)
	}
	folder := filepath.Join(t.TempDir(), "all")
	if code, printed, errOut := c.runProgram("capture_traffic", "shop/payment", "--for", "1s", "-o", folder); code != 0 {
		t.Errorf("%d %s%s", code, printed, errOut)
	}
	if list, err := os.ReadDir(folder); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestKubectlMistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		line []string
		set  func(c *cluster)
		code int
		want string
	}{
		{"no window", []string{"snapshot", "x"}, nil, exit.Usage, "needs a window"},
		{"a hint names the plugin as its user calls it", []string{"fetch"}, nil, exit.Usage, "hint: see kubectl pcapsule fetch --help"},
		{"an unknown command", []string{"fetc"}, nil, exit.Usage, "hint: did you mean kubectl pcapsule fetch?"},
		{"no cluster", []string{"fetch", "x"}, func(c *cluster) {
			c.put("kubectl", "#!/bin/sh\necho 'error: error validating: Get \"http://localhost:8080/x\": dial tcp 127.0.0.1:8080: connect: connection refused; if you choose' >&2; exit 1\n")
		}, exit.Other, "error: the cluster cannot be reached: 127.0.0.1:8080: connection refused\nhint: kubectl cluster-info"},
		{"two windows", []string{"snapshot", "x", "--last", "1m", "--to", "2026-11-20T09:00:00Z"}, nil, exit.Usage, "needs a window"},
		{"a window that is no length", []string{"snapshot", "x", "--last", "soon"}, nil, exit.Usage, "must be a length of time"},
		{"a day that is no length", []string{"snapshot", "x", "--last", "1m", "--retain-for", "1 day"}, nil, exit.Usage, "must be a length of time"},
		{"an unknown format", []string{"tail", "--format", "json"}, nil, exit.Usage, "must be table or ndjson"},
		{"a path for a name", []string{"snapshot", "../x", "--last", "1m"}, nil, exit.Usage, "not the name of a snapshot"},
		{"a flag for a name", []string{"fetch", "--", "--all"}, nil, exit.Usage, "not the name of a snapshot"},
		{"no pod", []string{"record", "payment", "-o", "p.pcapsule"}, nil, exit.Usage, "use NAMESPACE/NAME"},
		{"a flag for a pod", []string{"record", "shop/--all", "-o", "p.pcapsule"}, nil, exit.Usage, "use NAMESPACE/NAME"},
		{"a pod that ran nowhere", []string{"record", "shop/payment", "-o", "p.pcapsule"}, func(c *cluster) {
			c.status(1, `{"conditions":[{"type":"Accepted","status":"False","message":"none of the selected pods ran"}]}`)
		}, exit.Other, "capture x cannot be served: none of the selected pods ran"},
		{"a name that exists", []string{"snapshot", "x", "--last", "1m"}, func(c *cluster) { c.put("exists", "") }, exit.Other, `snapshots "x" already exists`},
		{"a refused request", []string{"snapshot", "x", "--last", "1m"}, func(c *cluster) {
			c.status(1, `{"conditions":[{"type":"Accepted","status":"False","message":"last is 900h"}]}`)
		}, exit.Other, "cannot be served: last is 900h"},
		{"a failed snapshot", []string{"snapshot", "x", "--last", "1m"}, func(c *cluster) {
			c.status(1, `{"phase":"Failed","conditions":[{"type":"Ready","status":"False","message":"no node"}]}`)
		}, exit.Other, "failed: no node"},
		{"not ready in time", []string{"snapshot", "x", "--last", "1m", "--wait", "1ns"}, nil, exit.Limit, `its phase is "Collecting"`},
		{"a user without a token", []string{"fetch", "x"}, func(c *cluster) { c.put("token", "") }, exit.Usage, "has no token"},
		{"no kubectl", []string{"fetch", "x"}, func(c *cluster) { c.t.Setenv("PATH", "") }, exit.Other, "kubectl is not in the PATH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			if tt.set != nil {
				tt.set(c)
			}
			if code, out, errOut := c.run(tt.line...); code != tt.code || !strings.Contains(errOut, tt.want) {
				t.Errorf("%d %s%s; want %d and %q", code, out, errOut, tt.code, tt.want)
			}
		})
	}
}

// runProgram runs the plugin as a program of its own, which has standard streams.
func (c *cluster) runProgram(args ...string) (code int, out, errOut string) {
	c.t.Helper()
	cmd, stderr := clitest.Program(c.t, append([]string{"kubectl"}, args...)...)
	text, err := cmd.Output()
	return clitest.ExitCode(c.t, err), string(text), stderr.String()
}
