package mcp

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/mcp/tools"
)

var update = flag.Bool("update", false, "write web/src/api.ts")

// pageTypes names the types of the page for the answers that it reads.
var pageTypes = []struct{ method, path, name string }{
	{"GET", "/mcp/cases", "Cases"},
	{"GET", "/mcp/calls", "Calls"},
	{"GET", "/mcp/calls/buckets", "Buckets"},
	{"GET", "/mcp/calls/groups", "Groups"},
	{"GET", "/mcp/calls/{id}/packets", "Packets"},
	{"GET", "/mcp/calls/{id}/packet", "Packet"},
	{"GET", "/mcp/marks", "Marks"},
	{"GET", "/mcp/reports", "Reports"},
	{"GET", "/mcp/flows", "Flows"},
	{"GET", "/mcp/kfl/complete", "Completions"},
	{"POST", "/mcp/tools/run_sql", "Sql"},
	{"POST", "/mcp/tools/get_api_call_details", "Details"},
	{"POST", "/mcp/ask/get_overview", "Overview"},
	{"POST", "/mcp/ask/find_failures", "Failures"},
	{"POST", "/mcp/ask/get_service_map", "ServiceMap"},
	{"POST", "/mcp/ask/compare_periods", "Comparison"},
	{"POST", "/mcp/ask/get_dependencies", "Dependencies"},
	{"GET", "/mcp/data-boundaries", "Boundaries"},
	{"POST", "/mcp/snapshots", "Snapshot"},
	{"POST", "/mcp/ask/get_api_stats", "ApiStats"},
	{"POST", "/mcp/ask/trace_request", "Trace"},
	{"POST", "/mcp/ask/list_findings", "Findings"},
	{"POST", "/mcp/ask/list_objects", "Objects"},
	{"GET", "/mcp/custody", "Custody"},
	{"GET", "/mcp/snapshots", "Snapshots"},
}

// TestPageTypes compares the types of the page with the schemas of the OpenAPI description.
func TestPageTypes(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	var b strings.Builder
	b.WriteString("// Answers of the REST paths, as the OpenAPI description has them. Generated: go test ./mcp -run PageTypes -update\n")
	for _, want := range pageTypes {
		i := slices.IndexFunc(s.routes(), func(rt route) bool { return rt.Method == want.method && rt.Path == want.path })
		if i < 0 || s.routes()[i].answer == nil {
			t.Fatalf("no JSON answer of %s %s", want.method, want.path)
		}
		answer := *s.routes()[i].answer
		if want.name == "Calls" { // the page does not ask for format=raw
			answer = *answer.CloneSchemas()
			answer.Properties["calls"] = &jsonschema.Schema{Type: "array", Items: tools.Schema[tools.ShapedCall]("calls")}
		}
		fmt.Fprintf(&b, "\n// %s %s\nexport type %s = %s;\n", want.method, want.path, want.name, typeScript(&answer, ""))
	}
	const file = "../web/src/api.ts"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte(b.String())) {
		t.Errorf("%s differs from the description; rewrite it: go test ./mcp -run PageTypes -update", file)
	}
}

// typeScript returns the type of the values that a schema allows.
func typeScript(s *jsonschema.Schema, indent string) string {
	if s == nil {
		return "unknown"
	}
	if len(s.Enum) > 0 {
		var list []string
		for _, v := range s.Enum {
			raw, _ := json.Marshal(v) // of a schema, so it marshals
			list = append(list, string(raw))
		}
		return strings.Join(list, " | ")
	}
	kinds := s.Types
	if s.Type != "" {
		kinds = []string{s.Type}
	}
	var list []string
	for _, k := range kinds {
		switch k {
		case "integer", "number":
			list = append(list, "number")
		case "string", "boolean", "null":
			list = append(list, k)
		case "array":
			list = append(list, "Array<"+typeScript(s.Items, indent)+">")
		case "object":
			list = append(list, objectType(s, indent))
		}
	}
	if len(list) == 0 {
		return "unknown"
	}
	slices.Sort(list)
	return strings.Join(list, " | ")
}

func objectType(s *jsonschema.Schema, indent string) string {
	if len(s.Properties) == 0 {
		return "Record<string, " + typeScript(s.AdditionalProperties, indent) + ">"
	}
	var b strings.Builder
	b.WriteString("{\n")
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		mark := "?"
		if slices.Contains(s.Required, name) {
			mark = ""
		}
		fmt.Fprintf(&b, "%s  %s%s: %s;\n", indent, name, mark, typeScript(s.Properties[name], indent+"  "))
	}
	return b.String() + indent + "}"
}
