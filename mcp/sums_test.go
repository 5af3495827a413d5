package mcp

import (
	"encoding/json"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// TestTotalsAreComplete asks for one row of each list; lists of totals must stay complete.
func TestTotalsAreComplete(t *testing.T) {
	c, err := forensics.Open(t.Context(), []string{bundled(t, "shop.pcapng")}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sizes := func(q ask.Question, args string) map[string]int {
		t.Helper()
		v, err := tools.Page(t.Context(), c, q, json.RawMessage(args))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := object.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for _, f := range object.Fields(raw) {
			out[f.Name] = len(f.List())
		}
		return out
	}
	withTotals := 0
	for _, q := range findings.Questions() {
		if len(q.Sums) == 0 {
			continue
		}
		withTotals++
		whole, one := sizes(q, `{"limit":1000}`), sizes(q, `{"limit":1}`)
		if q.Name == "find_failures" && one["groups"] != 1 {
			t.Errorf("%d groups, want 1", one["groups"])
		}
		for _, name := range q.Sums {
			if whole[name] < 2 || one[name] != whole[name] {
				t.Errorf("%s: %d rows of %s, want %d", q.Name, one[name], name, whole[name])
			}
		}
	}
	if withTotals < 2 {
		t.Errorf("%d questions have totals", withTotals)
	}
}
