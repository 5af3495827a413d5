package all_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// shopPolicies is the Kubernetes dump of the shop with network policies, of which the first makes
// violations.
func shopPolicies(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../samples/shop.kube.json")
	if err != nil {
		t.Fatal(err)
	}
	var dump map[string]any
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	for _, object := range []string{kubeSpace("shop", ""),
		kubePolicy("shop", "redis", early, 1, `{"podSelector":{"matchLabels":{"app":"redis"}},"policyTypes":["Ingress"]}`),
		kubePolicy("shop", "payment", early, 1, `{"podSelector":{"matchLabels":{"app":"payment"}},"policyTypes":["Egress"],"egress":[{"ports":[{"port":53,"protocol":"UDP"}]}]}`),
		kubePolicy("shop", "postgres", early, 1, `{"podSelector":{"matchLabels":{"app":"postgres"}},"policyTypes":["Ingress"],"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"payment"}}}]}]}`)} {
		dump["items"] = append(dump["items"].([]any), json.RawMessage(object))
	}
	if text, err = json.Marshal(dump); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kube.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shopBundles returns a function that bundles the shop with policies, from a time to another in ns; 0 means no limit.
func shopBundles(t *testing.T) func(name string, from, to int64) (path string) {
	kube, dir := shopPolicies(t), t.TempDir()
	return func(name string, from, to int64) string {
		t.Helper()
		path := filepath.Join(dir, name+".pcapsule")
		if _, err := exporter.Run(ctx, []string{"../../../samples/shop.pcapng"}, path, exporter.Options{Release: "test", Repanic: true, Kube: []string{kube}, FromNs: from, ToNs: to}); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// TestOverlappingBundlesCountConnectionsOnce holds that findings about connections have the same counts
// in one bundle and in several that overlap, whatever their order.
func TestOverlappingBundlesCountConnectionsOnce(t *testing.T) {
	made := shopBundles(t)
	whole := made("whole", 0, 0)
	counts := func(paths ...string) map[string]int64 {
		c, err := forensics.Open(ctx, paths, forensics.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		out, err := finding.Run(ctx, c, all.Analyzers(), finding.In{Scope: ask.Scope{Limit: 500}, Allow: []string{"a->b", "198.18.0.1"},
			Names: []string{"network-policy", "segmentation", "egress", "outside-volume", "beacon", "scan", "plaintext-credentials"}})
		if err != nil {
			t.Fatal(err)
		}
		list := map[string]int64{}
		for _, f := range out.Findings {
			citesItsFlows(t, c, &f)
			list[f.ID+" "+f.Kind+" "+f.Src+" "+f.Dst] = f.Count
		}
		for _, note := range out.Notes {
			list[note] = 1
		}
		return list
	}
	want := counts(whole)
	if len(want) < 20 {
		t.Fatalf("only %d findings: %v", len(want), want)
	}
	const begin, third = 1795166688891690726, 1_206_000_000 // of the shop
	a, b := made("a", 0, begin+2*third), made("b", begin+third, 0)
	for _, paths := range nightly.Some([][]string{{a, b}, {b, a}, {whole, a}, {b, whole, a}}, 2) {
		got := counts(paths...)
		for key, n := range want {
			if got[key] != n {
				t.Errorf("%v: %d of %s, want %d", paths, got[key], key, n)
			}
		}
		for key, n := range got {
			if _, ok := want[key]; !ok {
				t.Errorf("%v: %s, %d, which one bundle does not have", paths, key, n)
			}
		}
	}
}

// citesItsFlows holds that the flows of a finding, each in its bundle, are in the time of the finding, and
// between its ends.
func citesItsFlows(t *testing.T, c *forensics.Case, f *finding.Finding) {
	t.Helper()
	first, err := time.Parse(time.RFC3339Nano, f.First)
	if err != nil {
		t.Fatal(err)
	}
	last, err := time.Parse(time.RFC3339Nano, f.Last)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range f.FlowIDs {
		where, args := "flow_id::VARCHAR = ?", []any{id}
		if bundle, flow, several := strings.Cut(id, "#"); several {
			where, args = where+" AND bundle::VARCHAR = ?", []any{flow, bundle}
		}
		if strings.Contains(id, "#") != c.Several() {
			t.Errorf("%s: flow %s of %d bundles", f.ID, id, len(c.Bundles()))
		}
		n, err := ask.Count(ctx, c, "SELECT count(*) AS n FROM flows WHERE "+where+" AND last_ns >= ? AND first_ns <= ? AND ("+terms.Who("dst_")+" IN (?, ?) OR "+terms.Who("src_")+" IN (?, ?))", append(args, first.UnixNano(), last.UnixNano(), f.Src, f.Dst, f.Src, f.Dst)...)
		if err != nil || n != 1 {
			t.Errorf("%s from %s to %s: flow %s is not one of its flows (%v)", f.ID, f.Src, f.Dst, id, err)
		}
	}
}
