package everyquestion_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp"
)

// unknown is a value that is not in the sample, and a near one that is.
type unknown struct{ value, near string }

// unknownNames has the parameters that name something in the recording or in a list.
var unknownNames = map[string]unknown{
	"service": {"paymnt", "payment"}, "client": {"paymnt", "payment"}, "src": {"paymnt", "payment"}, "dst": {"paymnt", "payment"},
	"via": {"paymnt", "payment"}, "workload": {"paymnt", "payment"},
	"namespaces": {"shpo", "shop"}, "from_namespace": {"shpo", "shop"},
	"label": {"team=mony", "team=money"}, "labels": {"team=mony", "team=money"},
	"path": {"/api/crat", "/api/cart"}, "trace_id": {"nosuch", ""}, "request_id": {"nosuch", ""}, "call_id": {"abcdefabcdef", ""},
	"name": {"nosuch.txt", ""}, "type": {"text/htlm", ""}, "sha256": {strings.Repeat("0", 63) + "1", ""},

	"group_by": {"servce", "service"}, "format": {"jsn", "json"}, "class": {"6xx", "5xx"}, "in": {"request.bdy", "request.body"},
	"order": {"tota", ""}, "by": {"servce", "service"}, "parts": {"seris", "series"}, "kinds": {"retris", "retries"},
	"names": {"weak-tsl", "weak-tls"}, "severity": {"hihg", "high"}, "controls": {"pci/4.2.9", "pci/4.2.1"},
	"frameworks": {"hipa", "hipaa"}, "direction": {"sideways", ""},
}

// noNames are the other parameters, with the reason.
var noNames = map[string]string{
	"from": "a time", "to": "a time", "at": "a time", "after": "a length", "before": "a length", "baseline_from": "a time", "baseline_to": "a time", "shift": "a length",
	"bucket": "a length", "limit": "a number", "cursor": "a place in an answer", "depth": "a number", "min_ms": "a number",
	"kfl": "the values of a filter are explained by forensics.Case.Why", "rules": "a document with its own errors", "accept": "a document with its own errors",
	"text": "what to find: no match is the answer", "pattern": "what to find: no match is the answer",
	"allow": "a destination that is allowed need not occur", "inside": "a range that counts as inside need not occur",
}

// needed are the inputs that a question needs beside the unknown one.
var needed = map[string]map[string]string{
	"get_dependencies via": {"service": "payment"}, "get_pair src": {"dst": "payment"}, "get_pair dst": {"src": "payment"},
	"search_content service": {"text": "ab"}, "search_content in": {"text": "ab"}, "audit_access direction": {"service": "payment"},
}

// TestAnUnknownNameIsNamed gives every question an unknown value for every parameter that names
// something. The answer must say that it is unknown, and suggest a near one.
func TestAnUnknownNameIsNamed(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "shop.pcapsule")
	clitest.Done(t, "bundle", "../../samples/shop.pcapng", "--kube", "../../samples/shop.kube.json", "-o", bundle)
	face := faces(t, bundle)
	seen := map[string]bool{} // the command, which opens the bundle each time, is given each parameter once; in the short form others are, too
	for _, q := range all.Questions() {
		for _, param := range slices.Sorted(maps.Keys(q.In.Properties)) {
			u, ok := unknownNames[param]
			if !ok {
				if p := q.In.Properties[param]; p.Type != "boolean" && noNames[param] == "" {
					t.Errorf("%s %s: say above whether it names something", q.Name, param)
				}
				continue
			}
			in := map[string]any{param: any(u.value)}
			if slices.Contains(q.In.Properties[param].Types, "array") {
				in[param] = []string{u.value}
			}
			for name, value := range needed[q.Name+" "+param] {
				in[name] = value
			}
			for name, ask := range face {
				if seen[param] && (name == "CLI" || !nightly.On()) {
					continue
				}
				got := ask(q.Name, in)
				if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, u.value) && strings.Contains(s, u.near) }) {
					t.Errorf("%s %s=%s by %s: want %q named and %q suggested in %q", q.Name, param, u.value, name, u.value, u.near, got)
				}
				if named := slices.DeleteFunc(got, func(s string) bool { return !strings.Contains(s, u.value) }); len(named) > 1 {
					t.Errorf("%s %s by %s: says it twice: %q", q.Name, param, name, named)
				}
			}
			seen[param] = true
		}
	}
}

// faces are the ways to ask a question. Each returns the notes of the answer, or its error.
func faces(t *testing.T, bundle string) map[string]func(question string, in map[string]any) []string {
	t.Helper()
	ctx := context.Background()
	c, err := forensics.Open(ctx, []string{bundle}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := mcp.New(c, mcp.Options{Release: "test", Questions: all.Questions()})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.Handler(mcp.HTTPOptions{}))
	t.Cleanup(func() { web.Close(); s.Close(); c.Close() })
	here, there := sdk.NewInMemoryTransports()
	if _, err := s.MCP().Connect(ctx, here, nil); err != nil {
		t.Fatal(err)
	}
	client, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, there, nil)
	if err != nil {
		t.Fatal(err)
	}
	notes := func(answer []byte) []string {
		var a struct {
			Error string
			Notes []string
		}
		if err := json.Unmarshal(answer, &a); err != nil {
			t.Fatalf("%v: %.300s", err, answer)
		}
		if a.Error != "" {
			return []string{a.Error}
		}
		return a.Notes
	}
	return map[string]func(string, map[string]any) []string{
		"CLI": func(question string, in map[string]any) []string { return asked(t, question, bundle, in) },
		"MCP": func(question string, in map[string]any) []string {
			r, err := client.CallTool(ctx, &sdk.CallToolParams{Name: question, Arguments: in})
			if err != nil {
				return []string{err.Error()}
			}
			text := r.Content[0].(*sdk.TextContent).Text
			if r.IsError {
				return []string{text}
			}
			return notes([]byte(text))
		},
		"REST": func(question string, in map[string]any) []string {
			body, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.Post(web.URL+"/mcp/ask/"+question, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			answer, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			return notes(answer)
		},
	}
}

// asked asks by the command, and returns the notes in its text.
func asked(t *testing.T, question, bundle string, in map[string]any) []string {
	t.Helper()
	args := []string{"ask", clitest.Dashed(question), bundle}
	for name, v := range in {
		if list, ok := v.([]string); ok {
			v = strings.Join(list, ",")
		}
		args = append(args, "--"+clitest.Dashed(name), fmt.Sprint(v))
	}
	code, out, errs := clitest.Run(args...)
	if code != exit.Done {
		return []string{errs}
	}
	var list []string
	for _, line := range strings.Split(out, "\n") {
		switch text, is := strings.CutPrefix(line, "note: "); {
		case is:
			list = append(list, text)
		case strings.HasPrefix(line, "      ") && len(list) > 0:
			list[len(list)-1] += " " + strings.TrimSpace(line)
		}
	}
	return list
}
