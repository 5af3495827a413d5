package ask_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

func TestQuestionsFollowOneForm(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
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
	q, _ := asktest.Find("get-api-stats")
	var in *ask.InputError
	if _, err := q.Ask(ctx, c, json.RawMessage(`{"order":"x"}`)); !errors.As(err, &in) || in.Field != "order" {
		t.Errorf("%v", err)
	}
}

func TestAPIStatsCountEveryCall(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	out := asktest.Put(t, c, "get_api_stats", `{"limit":1000}`)
	var sum float64
	for _, e := range out["endpoints"].([]any) {
		sum += e.(map[string]any)["calls"].(float64)
	}
	if sum == 0 || sum != out["total_calls"] {
		t.Errorf("%v calls in rows, %v in all", sum, out["total_calls"])
	}
}
