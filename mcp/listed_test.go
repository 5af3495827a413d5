package mcp

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// TestListOfToolsIsShort limits what an assistant has to read before its first question. With a
// ring there are more tools: see the test of package snapshots.
func TestListOfToolsIsShort(t *testing.T) {
	for _, tt := range []struct {
		tools string
		most  int
	}{{"", 36_000}, {"core", 24_000}, {"calls,security", 13_000}} {
		c := connected(t, serving(t, Options{Tools: tt.tools}, bundled(t, "http1.pcapng")), nil)
		list, err := c.ListTools(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		text := c.InitializeResult().Instructions
		t.Logf("%q: %d tools, %d bytes; instructions: %d bytes", tt.tools, len(list.Tools), len(raw), len(text))
		if len(raw) > tt.most || len(text) > 2500 {
			t.Errorf("%q: %d bytes of tools and %d of instructions, want at most %d and 2500", tt.tools, len(raw), len(text), tt.most)
		}
		for _, x := range list.Tools {
			if x.InputSchema == nil || x.Description == "" || x.Annotations == nil {
				t.Errorf("%s lacks a schema, a description or annotations", x.Name)
			}
		}
	}
}

// TestInstructionsExplainSharedArguments checks that the instructions explain every argument
// whose description is short or empty in the list of tools.
func TestInstructionsExplainSharedArguments(t *testing.T) {
	for name := range tools.Shared() {
		if !strings.Contains(instructions, name+" ") {
			t.Errorf("instructions do not explain %s", name)
		}
	}
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	for _, e := range s.env.Every {
		raw, err := json.Marshal(e.Listed().InputSchema)
		if err != nil {
			t.Fatal(err)
		}
		var short jsonschema.Schema
		if err := json.Unmarshal(raw, &short); err != nil {
			t.Fatal(err)
		}
		for name, p := range e.In.Properties {
			if got := short.Properties[name]; got == nil || got.Description == "" && p.Description != "" && tools.Shared()[name] != "" {
				t.Errorf("%s: argument %s is not described", e.Name, name)
			}
			if _, ok := tools.Shared()[name]; !ok && short.Properties[name].Description != p.Description {
				t.Errorf("%s: argument %s: %q", e.Name, name, short.Properties[name].Description)
			}
		}
	}
}

func TestToolsAreChosenBySetAndName(t *testing.T) {
	path := bundled(t, "http1.pcapng")
	names := func(choice string) (out []string) {
		return serving(t, Options{Tools: choice}, path).order
	}
	whole := names("")
	for _, tt := range []struct{ choice, want string }{
		{"security", "list_cases describe_schema list_findings controls audit_access list_objects"},
		{"run_sql, checks", "list_cases describe_schema run_sql check_expectations generate_network_policy generate_openapi"},
		{"cases", "list_cases describe_schema"},
	} {
		if got := strings.Join(names(tt.choice), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.choice, got, tt.want)
		}
	}
	if got := names(strings.Join(tools.Sets(), ",")); !slices.Equal(got, whole) {
		t.Errorf("all sets: %v, want %v", got, whole)
	}
	c, err := opener(Options{})(context.Background(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for choice, want := range map[string]string{"secrity": "did you mean security?", "core,": `named ""`, "zzzzzz": "use all, core"} {
		if _, err := New(c, Options{Tools: choice, Questions: all.Questions()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", choice, err, want)
		}
	}
}

// TestMembersOfAnswersAreDescribed asks describe_schema for every tool.
func TestMembersOfAnswersAreDescribed(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	c := connected(t, s, nil)
	for name, e := range s.env.Every {
		seen := map[string]bool{}
		args := value{"table": name}
		for {
			v, refusal := answer(t, c, "describe_schema", args)
			if refusal != "" {
				t.Fatalf("%s: %s", name, refusal)
			}
			for _, table := range v["tables"].([]any) {
				for _, col := range table.(value)["columns"].([]any) {
					seen[col.(value)["name"].(string)] = true
				}
			}
			if v["next_cursor"] == nil {
				break
			}
			args["cursor"] = v["next_cursor"]
		}
		for member := range e.Out.Properties {
			if !seen[member] {
				t.Errorf("%s: member %s is not described", name, member)
			}
		}
	}
	v, _ := answer(t, c, "describe_schema", value{"table": "get_latency", "filter": "breakdown[].p99_ms"})
	if len(v["tables"].([]any)) != 1 {
		t.Errorf("the members of a list's rows: %v", v)
	}
}
