package ask_test

import (
	"math"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// TestEveryQuestionCountsTheSame: questions about all calls count what SQL counts, and so do those about requests.
func TestEveryQuestionCountsTheSame(t *testing.T) {
	eachCapture(t, func(t *testing.T, c *forensics.Case) {
		type count struct {
			Calls    float64 `json:"calls"`
			Failed   float64 `json:"failed"`
			Requests float64 `json:"requests"`
		}
		want, err := ask.One[count](ctx, c, `SELECT count(*) AS calls, count(*) FILTER (failed) AS failed, count(*) FILTER (`+terms.IsRequest+`) AS requests FROM calls`)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []struct {
			name, in string
			want     map[string]float64
			list     string // whose rows have all of these
			sum      float64
		}{
			{"get_overview", `{"limit":1000}`, map[string]float64{"calls": want.Calls, "failed": want.Failed, "requests": want.Requests}, "edges", want.Requests},
			{"find_failures", `{"no_causes":true,"limit":1000}`, map[string]float64{"calls": want.Calls, "failed_calls": want.Failed}, "classes", want.Failed},
			{"get_api_stats", `{"limit":1000}`, map[string]float64{"total_calls": want.Calls}, "endpoints", want.Calls},
			{"get_latency", `{}`, map[string]float64{"calls": want.Requests}, "", 0},
			{"get_capacity", `{"limit":1000}`, map[string]float64{"calls": want.Requests}, "rows", want.Requests},
			{"audit_access", `{"kfl":"ts_ns < 0 || ts_ns >= 0","limit":1000}`, map[string]float64{"total_calls": want.Calls, "failed": want.Failed}, "pairs", want.Calls},
		} {
			out := asktest.Put(t, c, q.name, q.in)
			for field, n := range q.want {
				if out[field] != n {
					t.Errorf("%s: %s is %v, want %v", q.name, field, out[field], n)
				}
			}
			if q.list == "" || out["truncated"] == true {
				continue
			}
			sum := 0.0
			for _, row := range out[q.list].([]any) {
				sum += row.(map[string]any)["calls"].(float64)
			}
			if sum != q.sum {
				t.Errorf("%s: %s have %v calls, want %v", q.name, q.list, sum, q.sum)
			}
		}
	})
}

// TestEveryQuestionCountsTheSameBytes: the sizes of rows and of their steps add up to what SQL adds up.
func TestEveryQuestionCountsTheSameBytes(t *testing.T) {
	eachCapture(t, func(t *testing.T, c *forensics.Case) {
		type size struct {
			All      float64 `json:"a"`
			Requests float64 `json:"r"`
		}
		want, err := ask.One[size](ctx, c, `SELECT coalesce(sum(request_bytes + response_bytes), 0)::BIGINT AS a, coalesce(sum(request_bytes + response_bytes) FILTER (`+terms.IsRequest+`), 0)::BIGINT AS r FROM calls`)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []struct {
			name, in, list, steps string
			fields                []string
			unit, want            float64
		}{
			{"get_capacity", `{"limit":1000}`, "rows", "", []string{"mb"}, 1e6, want.Requests},
			{"get_capacity", `{"limit":1000,"by":"service"}`, "rows", "", []string{"mb"}, 1e6, want.Requests},
			{"get_capacity", `{"limit":1000,"series":true}`, "rows", "series", []string{"mb"}, 1e6, want.Requests},
			{"get_api_stats", `{"limit":1000}`, "endpoints", "", []string{"bytes"}, 1, want.All},
			{"audit_access", `{"kfl":"ts_ns < 0 || ts_ns >= 0","limit":1000}`, "servers", "", []string{"bytes"}, 1, want.All},
			{"get_service_map", `{"limit":1000}`, "edges", "", []string{"request_kb", "response_kb"}, 1e3, want.All},
		} {
			out := asktest.Put(t, c, q.name, q.in)
			if out["truncated"] == true {
				continue
			}
			var rows []any
			for _, row := range out[q.list].([]any) {
				if q.steps == "" {
					rows = append(rows, row)
				} else if steps, has := row.(map[string]any)[q.steps]; has {
					rows = append(rows, steps.([]any)...)
				}
			}
			sum := 0.0
			for _, row := range rows {
				for _, f := range q.fields {
					n, _ := row.(map[string]any)[f].(float64)
					sum += n * q.unit
				}
			}
			if math.Abs(sum-q.want) > 0.5*q.unit*float64(len(rows)) && q.unit == 1e3 || math.Abs(sum-q.want) > 0.5 && q.unit != 1e3 { // KB have few digits
				t.Errorf("%s %s: %s have %v bytes, want %v", q.name, q.in, q.list, sum, q.want)
			}
		}
	})
}
