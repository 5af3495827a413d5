package mcp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// TestEveryNumberHasOneRule passes the numbers just outside the bounds of every argument that is a number, to
// every tool, question and path. Each is refused by name; none is replaced by another.
func TestEveryNumberHasOneRule(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	url := strings.TrimSuffix(listening(t, s, HTTPOptions{}), "/mcp")
	seen := 0
	for _, e := range s.env.Every {
		for name, p := range e.In.Properties {
			for _, inner := range []*jsonschema.Schema{p.Items, p.AdditionalProperties} {
				if inner != nil && isNumber(inner) {
					t.Errorf("%s has numbers without bounds inside %s", e.Name, name)
				}
			}
			if !isNumber(p) {
				continue
			}
			if p.Minimum == nil || p.Maximum == nil {
				t.Errorf("argument %s of %s has no bounds: add it to ask.Numbers", name, e.Name)
				continue
			}
			seen++
			for _, n := range []float64{*p.Minimum - 1, *p.Maximum + 1, -1e300, 1e300} {
				args, want := fmt.Sprintf(`{%q: %.0f}`, name, n), fmt.Sprintf("%s: must be %.0f to %.0f, not", name, *p.Minimum, *p.Maximum)
				if _, err := s.Call(t.Context(), caller{}, e.Name, json.RawMessage(args)); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s %s: %v, want %q", e.Name, args, err, want)
				}
			}
			if _, err := s.Call(t.Context(), caller{}, e.Name, json.RawMessage(fmt.Sprintf(`{%q: %.0f}`, name, *p.Maximum))); err != nil && strings.Contains(err.Error(), "must be") && strings.Contains(err.Error(), name+":") {
				t.Errorf("%s refuses %s %.0f: %v", e.Name, name, *p.Maximum, err)
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d numbers were found", seen)
	}
	for _, rt := range s.restRoutes() {
		for _, p := range rt.Params {
			if p.Type != "integer" {
				continue
			}
			if p.Max == 0 {
				t.Errorf("parameter %s of %s has no highest value", p.Name, rt.Path)
			}
			for _, n := range []int64{p.Min - 1, p.Max + 1} {
				r, err := http.Get(fmt.Sprintf("%s%s?%s=%d", url, strings.ReplaceAll(rt.Path, "{name}", "x"), p.Name, n))
				if err != nil {
					t.Fatal(err)
				}
				if r.Body.Close(); r.StatusCode != http.StatusBadRequest {
					t.Errorf("%s with %s %d: status %s, want 400", rt.Path, p.Name, n, r.Status)
				}
			}
		}
	}
}

func isNumber(s *jsonschema.Schema) bool { return s.Type == "integer" || s.Type == "number" }

// TestArgumentsThatAToolRefuses names the argument and says what to do.
func TestArgumentsThatAToolRefuses(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	for args, want := range map[string]string{
		`{"servce": "x"}`:           "servce: unknown; did you mean service?",
		`{"\u001bzzzzzzzz": 1}`:     "unknown; must be one of ",
		`{"service": null}`:         "service: must be of type string, not null",
		`{"list_calls": "yes"}`:     "list_calls: must be of type boolean, not string",
		`{"cursor": ["x"]}`:         "cursor: must be of type string, not array",
		`{"limit": {}}`:             "limit: must be of type integer, not object",
		`{"from": "2h", "to": "x"}`: "to: must be a time",
	} {
		if _, err := s.Call(t.Context(), caller{}, "find_failures", json.RawMessage(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	for tool, want := range map[string]string{"get_dependencies": "service: missing: ", "get_api_call": "id: missing: "} {
		if _, err := s.Call(t.Context(), caller{}, tool, json.RawMessage(`{}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", tool, err, want)
		}
	}
	if _, err := s.Call(t.Context(), caller{}, "list_api_calls", json.RawMessage(`{"order": "nope"}`)); err == nil || strings.Contains(err.Error(), "contradict") {
		t.Errorf("an unknown column: %v", err)
	}
}

// TestWholeNumbers accepts the forms of a whole number that JSON has, and names the argument that is not one.
func TestWholeNumbers(t *testing.T) {
	s := serving(t, Options{}, bundled(t, "http1.pcapng"))
	for _, tool := range []string{"list_api_calls", "find_failures", "list_workloads"} {
		for limit, want := range map[string]string{"5": "", "5.0": "", "5e0": "", "1.5": "limit: must be a whole number, not 1.5", `"5"`: "limit: must be of type integer, not string", "null": "limit: must be of type integer, not null"} {
			_, err := s.Call(t.Context(), caller{}, tool, json.RawMessage(`{"limit": `+limit+`}`))
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s with limit %s: %v, want %q", tool, limit, err, want)
			}
		}
	}
}
