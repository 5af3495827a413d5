package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// sameOfOverlapping are the arguments with which tools have the same answers about one bundle, and about it with a
// second one that has a part of the same packets. Questions have a test in forensics/finding/all.
var sameOfOverlapping = map[string][]string{
	"list_workloads":      {`{}`, `{"namespace":"shop"}`},
	"list_ips":            {`{}`},
	"get_l4_flow_summary": {`{}`, `{"from":"1s"}`},
	"list_l4_flows":       {`{"aggregate":"pod"}`, `{"aggregate":"service","l4proto":"tcp"}`, `{"aggregate":"node","ns":"shop"}`},
	"list_api_calls":      {`{"kfl":"redis","limit":50}`, `{"kfl":"failed","limit":50}`},
}

// aboutTheBundles are tools that describe the bundles themselves, or need a call, SQL or a bundle.
var aboutTheBundles = []string{"describe_schema", "list_cases", "open_case", "close_case", "list_snapshots", "get_snapshot_dissection_status", "get_data_boundaries", "run_sql", "get_api_call",
	"export_pcap", "export_snapshot_pcap", "create_snapshot", "delete_snapshot", "get_snapshot", "start_snapshot_dissection", "capture_traffic"}

// TestOverlappingBundlesChangeNoTool calls tools about one bundle, and about it with a second one that has a part of
// the same packets.
func TestOverlappingBundlesChangeNoTool(t *testing.T) {
	dir := t.TempDir()
	made := func(name string, from, to int64) string {
		path := filepath.Join(dir, name+".pcapsule")
		if _, err := exporter.Run(context.Background(), []string{"../samples/shop.pcapng"}, path, exporter.Options{Release: "test", Kube: []string{"../samples/shop.kube.json"}, FromNs: from, ToNs: to}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const begin, third = 1795166688891690726, 1_206_000_000 // of the shop
	whole, part := made("whole", 0, 0), made("part", begin+third/10, begin+2*third)
	answers := func(paths ...string) map[string]map[string]any {
		s := serving(t, Options{}, paths...)
		out := map[string]map[string]any{}
		for _, e := range s.env.Every {
			for _, args := range sameOfOverlapping[e.Name] {
				v, err := s.Call(t.Context(), caller{}, e.Name, json.RawMessage(args))
				if err != nil {
					t.Fatalf("%s %s: %v", e.Name, args, err)
				}
				var plain any
				text, err := json.Marshal(v)
				if err == nil {
					err = json.Unmarshal(text, &plain)
				}
				if err != nil {
					t.Fatal(err)
				}
				values := map[string]any{}
				valuesOf(plain, "", values)
				out[e.Name+" "+args] = values
			}
			isQuestion := slices.ContainsFunc(s.o.Questions, func(q ask.Question) bool { return q.Name == e.Name })
			if !isQuestion && sameOfOverlapping[e.Name] == nil && !slices.Contains(aboutTheBundles, e.Name) {
				t.Errorf("tool %s: say whether its answers stay the same if bundles overlap", e.Name)
			}
		}
		return out
	}
	want := answers(whole)
	for _, paths := range [][]string{{whole, part}, {part, whole}} {
		got := answers(paths...)
		for name := range want {
			if len(want[name]) < 10 {
				t.Errorf("%s has only %d values", name, len(want[name]))
			}
			all := maps.Clone(got[name])
			maps.Copy(all, want[name])
			for path := range all {
				if w, g := want[name][path], got[name][path]; w != g {
					t.Errorf("%v: %s%s is %v, want %v", paths, name, path, g, w)
					break
				}
			}
		}
	}
}

// valuesOf lists the values of an answer by their paths, without what depends on the number of bundles.
func valuesOf(v any, path string, out map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if !slices.Contains([]string{"coverage", "next_cursor", "bundle", "notes", "packets", "first_packet", "last_packet"}, k) {
				valuesOf(x, path+"."+k, out)
			}
		}
	case []any:
		out[path] = len(v)
		for i, x := range v {
			valuesOf(x, fmt.Sprintf("%s[%d]", path, i), out)
		}
	default:
		out[path] = v
	}
}
