package everyquestion_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
)

// TestServicesAreNamedAlikeByEveryFace puts more Services in front of the pods of a cluster: one on a port without calls,
// which comes first by name, and one on the port of the calls. Every face names each call after the Service of its port.
func TestServicesAreNamedAlikeByEveryFace(t *testing.T) {
	text, err := os.ReadFile("../../samples/shop.kube.json")
	if err != nil {
		t.Fatal(err)
	}
	var dump map[string]any
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	service := func(name, app string, port int) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"namespace": "shop", "name": name, "uid": name},
			"spec": map[string]any{"clusterIP": "None", "selector": map[string]any{"app": app}, "ports": []any{map[string]any{"port": port}}}}
	}
	dump["items"] = append(dump["items"].([]any), service("admin", "payment", 9999), service("also", "payment", 8080), service("debug", "postgres", 9999))
	if text, err = json.Marshal(dump); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kube, bundle := filepath.Join(dir, "kube.json"), filepath.Join(dir, "shop.pcapsule")
	if err := os.WriteFile(kube, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, errOut := clitest.At(t, 80, "bundle", "../../samples/shop.pcapng", "--kube", kube, "-o", bundle); !strings.Contains(out+errOut, "calls") {
		t.Fatal(out, errOut)
	}
	const want = "shop/payment"
	sql, _ := clitest.At(t, 80, "sql", bundle, "--format", "csv", "SELECT DISTINCT d.who, d.service FROM calls c JOIN endpoints d ON d.endpoint_id = c.dst_id WHERE list_contains(d.services, 'payment')")
	if !strings.HasSuffix(strings.TrimSpace(sql), "\n"+want+",payment") {
		t.Errorf("SQL: %s", sql)
	}
	for _, args := range [][]string{
		{"query", bundle, `dst.service == "payment"`, "--count", "--format", "csv"},
		{"query", bundle, `"also" in dst.services`, "--count", "--format", "csv"},
	} {
		if out, errOut := clitest.At(t, 80, args...); !strings.Contains(out, "21") {
			t.Errorf("%q: %s%s", args, out, errOut)
		}
	}
	for _, q := range []string{"get-service-map", "list-findings", "get-latency", "find-failures"} {
		out, _ := clitest.At(t, 80, "ask", q, bundle, "--json")
		for _, wrong := range []string{"shop/admin", "shop/also", "shop/debug"} {
			if strings.Contains(out, wrong) {
				t.Errorf("%s names %s", q, wrong)
			}
		}
	}
	face := faces(t, bundle)
	for _, tt := range []struct {
		question, field, name, want string
	}{
		{"get_latency", "service", "admin", "no call in the recording is to admin; those to the pods behind this service are to shop/payment"},
		{"find_failures", "client", "shop/also", "no call in the recording is from shop/also; those from the pods behind this service are from shop/payment"},
		{"find_failures", "client", "debug", "no call in the recording is from debug"},
		{"get_api_stats", "client", "postgres", "no call in the recording is from postgres: it only receives calls"},
		{"get_latency", "service", "admn", "nothing in the recording is called admn; did you mean admin?"},
	} {
		for name, ask := range face {
			if got := ask(tt.question, map[string]any{tt.field: tt.name}); !slices.Contains(got, tt.want) {
				t.Errorf("%s %s=%s by %s: %q", tt.question, tt.field, tt.name, name, got)
			}
		}
	}
}
