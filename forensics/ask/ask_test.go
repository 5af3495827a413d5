package ask_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

var ctx = context.Background()

// find returns a question by name.
func find(name string) (ask.Question, bool) {
	for _, q := range all.Questions() {
		if q.Name == strings.ReplaceAll(name, "-", "_") {
			return q, true
		}
	}
	return ask.Question{}, false
}

// bundleOf exports a sample.
func bundleOf(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name+".pcapsule")
	if _, err := exporter.Run(ctx, []string{filepath.Join("..", "..", "samples", name)}, dir, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens a bundle of samples as one case, once for all tests.
func open(t testing.TB, inputs ...string) *forensics.Case {
	t.Helper()
	var o exporter.Options
	var paths []string
	for _, in := range inputs {
		paths = append(paths, filepath.Join("..", "..", "samples", in))
		if in == "shop.pcapng" {
			o.Kube = []string{filepath.Join("..", "..", "samples", "shop.kube.json")}
		}
	}
	return share(t, strings.Join(inputs, "+"), paths, o)
}

// put runs a question by name and checks the answer against its schema.
func put(t testing.TB, c *forensics.Case, name, in string) map[string]any {
	t.Helper()
	q, ok := find(name)
	if !ok {
		t.Fatalf("no question %s", name)
	}
	answer, err := q.Ask(ctx, c, json.RawMessage(in))
	if err != nil {
		t.Fatalf("%s %s: %v", name, in, err)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	schema, err := q.Out().Resolve(&jsonschema.ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(out); err != nil {
		t.Errorf("%s: the answer does not match its schema: %v", name, err)
	}
	return out
}

func TestQuestionsFollowOneForm(t *testing.T) {
	c := open(t, "shop.pcapng")
	seen := map[string]bool{}
	for _, q := range all.Questions() {
		if seen[q.Name] {
			t.Errorf("%s is listed twice", q.Name)
		}
		seen[q.Name] = true
		if strings.Trim(q.Name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || q.Title == "" || len(q.Doc) < 20 || len(q.Doc) > 400 {
			t.Errorf("%q: invalid name, title or doc", q.Name)
		}
		for _, bad := range []string{`{"limit":-1}`, `{"from":"yesterday"}`, `{"nonsense":1}`, `{"kfl":"http &&"}`, `[]`, `{} {}`, `{"from":"2030-01-01T00:00:00Z","to":"2020-01-01T00:00:00Z"}`} {
			if _, err := q.Ask(ctx, c, json.RawMessage(bad)); err == nil {
				t.Errorf("%s accepts %s", q.Name, bad)
			}
		}
	}
	q, _ := find("get-api-stats")
	var in *ask.InputError
	if _, err := q.Ask(ctx, c, json.RawMessage(`{"order":"x"}`)); !errors.As(err, &in) || in.Field != "order" {
		t.Errorf("%v", err)
	}
}

func TestAPIStatsCountEveryCall(t *testing.T) {
	c := open(t, "shop.pcapng")
	out := put(t, c, "get_api_stats", `{"limit":1000}`)
	var sum float64
	for _, e := range out["endpoints"].([]any) {
		sum += e.(map[string]any)["calls"].(float64)
	}
	if sum == 0 || sum != out["total_calls"] {
		t.Errorf("%v calls in rows, %v in all", sum, out["total_calls"])
	}
}
