package service_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// TestEmptyAnswersHaveEmptyLists asks every question about nothing: a list without entries is a list, not null, and the
// answer says why no call matches, even if it lists connections.
func TestEmptyAnswersHaveEmptyLists(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	inputs := map[string]map[string]any{
		"get_dependencies": {"service": "payment"}, "describe_service": {"service": "payment"}, "get_timeline": {"workload": "payment"}, "generate_openapi": {"service": "payment"},
		"get_pair": {"src": "frontend", "dst": "payment"}, "search_content": {"text": "xx"}, "trace_request": {"text": "xx"}, "audit_access": {"service": "payment"},
		"check_expectations": {"rules": "version: 1\nrules:\n- {name: a, calls: kafka, error_rate: 1%}\n"},
	}
	for _, q := range all.Questions() {
		in := map[string]any{"kfl": "kafka"}
		for k, v := range inputs[q.Name] {
			in[k] = v
		}
		text, _ := json.Marshal(in)
		answer, err := q.Ask(ctx, c, text)
		if err != nil {
			t.Fatalf("%s %s: %v", q.Name, text, err)
		}
		if text, err = json.Marshal(answer); err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		if notes, _ := out["notes"].([]any); !slices.ContainsFunc(notes, func(n any) bool {
			return strings.HasPrefix(n.(string), "no call matches kafka; in this time protocol is one of ")
		}) {
			t.Errorf("%s: notes %q do not say why no call matches", q.Name, notes)
		}
		for _, name := range nulls(out) {
			t.Errorf("%s: %s is null", q.Name, name)
		}
	}
}

// TestAFilterIsNoReasonToDenyCalls: a service whose calls the filter excludes had calls, and a suggested name exists.
func TestAFilterIsNoReasonToDenyCalls(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: "payment", Scope: ask.Scope{KFL: "kafka"}}))
	if !strings.HasPrefix(s.What, "shop/payment had no calls that match the filter") {
		t.Errorf("%q", s.What)
	}
	for name, want := range map[string]string{"SHOP/PAYMENT": "shop/payment", "shpo/payment": "shop/payment", "shop/paymnt": "shop/payment", "paymnt": "payment"} {
		if note := ask.UnknownName(ctx, c, name); !strings.HasSuffix(note, "did you mean "+want+"?") {
			t.Errorf("%s: %q, want %s", name, note, want)
		}
	}
}

// nulls lists the members of an answer that are null.
func nulls(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		for k, of := range v {
			if of == nil {
				names = append(names, k)
			}
			names = append(names, nulls(of)...)
		}
	case []any:
		for _, of := range v {
			names = append(names, nulls(of)...)
		}
	}
	return names
}
