package all_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// aboutBundles are the members of answers that depend on how many bundles there are: what was recorded,
// positions in bundles, and counts of their packets and clocks.
var aboutBundles = []string{"coverage", "notes", "next_cursor", "packets", "bundle", "not_ip", "basis", "summary", "why", "population", "flow_ids"}

// valuesOf lists the values of an answer by their paths.
func valuesOf(v any, path string, out map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if !slices.Contains(aboutBundles, k) {
				valuesOf(x, path+"."+k, out)
			}
		}
	case []any:
		v = slices.DeleteFunc(v, func(x any) bool { f, ok := x.(map[string]any); return ok && f["finding"] == "coverage-gap" })
		for i, x := range v {
			valuesOf(x, fmt.Sprintf("%s[%d]", path, i), out)
		}
	case string:
		out[path] = strings.ReplaceAll(v, "at least ", "") // each bundle may have bytes that the others lack
	default:
		out[path] = v
	}
}

// questionInputs are the inputs of questions about the shop; of the others {}.
var questionInputs = map[string]string{
	"describe_service": `{"service": "shop/frontend"}`, "get_dependencies": `{"service": "shop/payment"}`, "get_timeline": `{"workload": "shop/frontend"}`, "audit_access": `{"service": "shop/postgres"}`,
	"get_pair": `{"src": "*", "dst": "*"}`, "search_content": `{"text": "order"}`, "trace_request": `{"kfl": "http && path.contains(\"checkout\")", "limit": 100}`,
	"generate_openapi": `{"service": "shop/gateway"}`, "check_expectations": `{"rules": "version: 1\nrules:\n  - {name: ok, calls: http, every: status_code < 500}"}`,
}

// eachAnswer calls do with the answer to every question about the shop.
func eachAnswer(t *testing.T, c *forensics.Case, do func(question string, answer any)) {
	t.Helper()
	for _, q := range all.Questions() {
		v, err := q.AskAll(ctx, c, json.RawMessage(cmp.Or(questionInputs[q.Name], `{}`)))
		if err != nil {
			t.Fatalf("%s: %v", q.Name, err)
		}
		do(q.Name, v)
	}
}

// plain is an answer as JSON has it.
func plain(t *testing.T, v any) (out any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOverlappingBundlesChangeNoAnswer asks every question about one bundle, and about it with a second one
// that has a part of the same packets.
func TestOverlappingBundlesChangeNoAnswer(t *testing.T) {
	made := shopBundles(t)
	answers := func(paths ...string) map[string]map[string]any {
		c, err := forensics.Open(ctx, paths, forensics.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		finding.Bind(c, all.Analyzers())
		out := map[string]map[string]any{}
		add := func(name string, v any) {
			out[name] = map[string]any{}
			valuesOf(plain(t, v), "", out[name])
		}
		eachAnswer(t, c, add)
		w := &ask.Window{}
		for name, of := range map[string]func() (any, error){
			"TCP flows of reports":            func() (any, error) { t, err := tally.TCP(ctx, c, w); return t.Rows, err },
			"TCP flows of reports in trouble": func() (any, error) { t, err := tally.Troubled(ctx, c, w); return len(t.Rows), err },
			"talkers of reports":              func() (any, error) { t, err := tally.Talkers(ctx, c, w); return t.Rows, err },
			"addresses outside of reports":    func() (any, error) { t, err := tally.Outside(ctx, c, w); return t.Rows, err },
			"connections that could be read":  func() (any, error) { t, err := tally.Readings(ctx, c, w); return t.Rows, err },
		} {
			v, err := of()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			add(name, v)
		}
		return out
	}
	const begin, third = 1795166688891690726, 1_206_000_000 // of the shop
	whole, part := made("whole", 0, 0), made("part", begin+third/10, begin+2*third)
	want := answers(whole)
	for _, paths := range nightly.Some([][]string{{part, whole}, {whole, part}}, 1) {
		for name, got := range answers(paths...) {
			wrong := 0
			for _, path := range slices.Sorted(maps.Keys(union(want[name], got))) {
				if name == "list_findings" && (path == ".answer" || path == ".searched") {
					continue // they count the findings of coverage gaps too, which differ
				}
				if w, g := want[name][path], got[path]; w != g {
					if wrong++; wrong < 5 {
						t.Errorf("%v: %s%s is %v, want %v", paths, name, path, g, w)
					}
				}
			}
		}
	}
}

func union(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// TestFlowsOfSeveralBundlesAreNamed follows the flow ids of findings and policies to their flows. Flow 1 of one
// bundle is not flow 1 of the next.
func TestFlowsOfSeveralBundlesAreNamed(t *testing.T) {
	kube, dir := shopPolicies(t), t.TempDir()
	made := func(sample string) string {
		path := filepath.Join(dir, sample+".pcapsule")
		if _, err := exporter.Run(ctx, []string{"../../../samples/" + sample}, path, exporter.Options{Release: "test", Repanic: true, Kube: []string{kube}}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shop, dns := made("shop.pcapng"), made("dns.pcap")
	for _, paths := range [][]string{{shop}, {dns, shop}} {
		c, err := forensics.Open(ctx, paths, forensics.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		out, err := finding.Run(ctx, c, all.Analyzers(), finding.In{Allow: []string{"198.18.0.1"}, Names: []string{"network-policy", "egress"}})
		if err != nil {
			t.Fatal(err)
		}
		followed := 0
		for _, f := range out.Findings {
			for _, id := range f.FlowIDs {
				of, no, several := strings.Cut(id, "#")
				if several != (len(paths) > 1) {
					t.Fatalf("flow %q in a case of %d bundles", id, len(paths))
				}
				where := "flow_id = " + of
				if several {
					where = "bundle = " + of + " AND flow_id = " + no
				}
				r, err := c.Query(ctx, forensics.Query{SQL: "SELECT src_who, dst_who, dst_ip FROM flows WHERE " + where, Named: true})
				if err != nil || len(r.Rows) != 1 {
					t.Fatalf("flow %s: %v, %v", id, r, err)
				}
				if row := r.Rows[0]; !slices.Contains(row, any(f.Src)) || f.Dst != "" && !slices.Contains(row, any(f.Dst)) {
					t.Errorf("%s of %s and %s cites flow %s of %v", f.Kind, f.Src, f.Dst, id, row)
				}
				followed++
			}
		}
		if followed < 5 {
			t.Errorf("%v: only %d flows", paths, followed)
		}
		c.Close()
	}
}
