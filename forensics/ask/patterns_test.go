package ask_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
)

// look finds patterns of some kinds.
func look(t *testing.T, c *forensics.Case, in patterns.In, kinds ...string) []patterns.Pattern {
	t.Helper()
	in.Kinds, in.Limit = kinds, 100
	out := must[*patterns.Answer](t)(patterns.Ask(ctx, c, in))
	for _, p := range out.Findings {
		if p.Words == "" || p.Confidence == "" || len(p.CallIDs) == 0 {
			t.Errorf("a finding without words, confidence or calls: %+v", p)
		}
		if p.KFL != "" && matching(t, c, p.KFL) == 0 {
			t.Errorf("no call for %s", p.KFL)
		}
	}
	return out.Findings
}

func number(p patterns.Pattern, name string) float64 {
	for _, n := range p.Numbers {
		if n.Name == name {
			return n.Value
		}
	}
	return math.NaN()
}

// one returns the finding from src to dst; either may be empty for any.
func one(t *testing.T, list []patterns.Pattern, src, dst, endpoint string) patterns.Pattern {
	t.Helper()
	for _, p := range list {
		if (src == "" || bare(p.Src) == src) && (dst == "" || bare(p.Dst) == dst) && strings.Contains(p.Endpoint, endpoint) {
			return p
		}
	}
	t.Fatalf("no finding from %q to %q at %q: %+v", src, dst, endpoint, list)
	return patterns.Pattern{}
}

// pauses returns the median pause before each retry of the requests in a fact's rows.
func (a *asked) pauses(id string) []float64 {
	var all [][]float64
	place := map[string]int{}
	ended := map[string]time.Time{}
	for _, r := range a.fact(id).Rows {
		if end, again := ended[r.RequestID]; again {
			i := place[r.RequestID]
			if i == len(all) {
				all = append(all, nil)
			}
			all[i] = append(all[i], float64(r.At.Sub(end))/1e6)
			place[r.RequestID]++
		}
		ended[r.RequestID] = r.Done
	}
	var out []float64
	for _, list := range all {
		slices.Sort(list)
		out = append(out, list[(len(list)-1)/2])
	}
	if len(out) == 0 {
		a.t.Fatalf("%s has no retries", id)
	}
	return out
}

func TestRetriedExactlyThreeTimes(t *testing.T) {
	planted(t, 47, func(a *asked) {
		list := look(a.t, a.c, patterns.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}}, "retries")
		p := one(a.t, list, a.arg("service"), a.arg("target"), "")
		a.is("cases", number(p, "requests_retried"))
		a.is("retries", number(p, "min_retries"))
		a.is("retries", number(p, "max_retries"))
		for i, want := range a.pauses("tries") {
			if got := number(p, fmt.Sprintf("pause_%d_ms", i+1)); math.Abs(got-want) > 15 {
				a.t.Errorf("pause %d: %v ms, want %v", i+1, got, want)
			}
		}
		if p.Shape != "exponential" || math.Abs(number(p, "factor")-2) > 0.3 {
			a.t.Errorf("%+v", p)
		}
		w := one(a.t, list, a.arg("wrong_service"), a.arg("wrong_target"), "")
		a.is("wrong_tries", number(w, "retries")+number(w, "requests_retried"))
		a.is("wrong_pause", number(w, "pause_1_ms"))
		if w.Shape != "constant" {
			a.t.Errorf("%+v", w)
		}
	})
}

func TestCachingWorksOrNot(t *testing.T) {
	planted(t, 48, func(a *asked) {
		list := look(a.t, a.c, patterns.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}}, "caching")
		p := one(a.t, list, a.arg("service"), "", a.arg("endpoint")[:strings.LastIndexByte(a.arg("endpoint"), '/')])
		a.is("cold", number(p, "first_reached_database"))
		a.is("warm", number(p, "later")-number(p, "later_reached_database"))
		a.is("cold_ms", number(p, "cold_p50_ms"))
		a.is("warm_ms", number(p, "warm_p50_ms"))
		if p.Problem || number(p, "with_cache_control") != number(p, "requests") {
			a.t.Errorf("%+v", p)
		}
		n := one(a.t, list, a.arg("service"), "", a.arg("opposite"))
		a.is("never", number(n, "requests"))
		if !n.Problem || number(n, "things") != number(n, "requests") || !strings.Contains(n.Words, "never repeats") {
			a.t.Errorf("%+v", n)
		}
	})
}

func TestAServiceEndToEnd(t *testing.T) {
	planted(t, 7, func(a *asked) {
		in := patterns.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}}
		dup := look(a.t, a.c, in, "duplicates")
		path := a.fact("triple_path").Strings[0]
		triples := 0.0
		for _, p := range dup {
			if bare(p.Src) == a.arg("service") && strings.Contains(p.Endpoint, path[strings.LastIndexByte(path, '/'):]) && number(p, "most_at_once") == 3 {
				triples += number(p, "times")
			}
		}
		a.is("triples", triples)
		churn := look(a.t, a.c, in, "churn")
		p := one(a.t, churn, a.arg("service"), a.fact("connections_to").Strings[0], "")
		a.is("connections", number(p, "peak_per_minute"))
		if len(churn) != 1 {
			a.t.Errorf("churn of others too: %+v", churn)
		}
		ids := look(a.t, a.c, in, "correlation")
		n := 0.0
		for _, p := range ids {
			if bare(p.Dst) == a.arg("service") {
				n += number(p, "without_any")
			}
		}
		a.is("no_correlation_count", n)
		b := one(a.t, look(a.t, a.c, in, "blocking"), a.arg("service"), "", a.fact("sync").Strings[0])
		if !b.Problem || number(b, "median_saved_if_at_once_ms") < 100 {
			a.t.Errorf("%+v", b)
		}
	})
}

func TestWhatTestsShow(t *testing.T) {
	planted(t, 45, func(a *asked) {
		in := patterns.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}}
		drift := look(a.t, a.c, in, "drift")
		a.says("field", drift)
		found := false
		for _, p := range drift {
			found = found || strings.Contains(p.Words, "quantity") && number(p, "string") == a.fact("as_text").Value && bare(p.Dst) == a.arg("target")
		}
		if !found {
			a.t.Errorf("the field that changes its type: %+v", drift)
		}
		p := one(a.t, look(a.t, a.c, in, "n_plus_one"), "", "", "")
		if !p.Problem {
			a.t.Errorf("%+v", p)
		}
		most := 0.0
		for _, p := range look(a.t, a.c, in, "n_plus_one") {
			most = max(most, number(p, "most_in_one_request"))
		}
		if f := a.fact("n_plus_one"); most < f.Value-1 || most > f.Value {
			a.t.Errorf("N+1: %v, want %v or one less", most, f.Value)
		}
	})
}

func TestPatternsOfAQuietCase(t *testing.T) {
	c := open(t, "http2.pcap", "dns.pcap")
	for _, p := range look(t, c, patterns.In{}, "retries", "retry_storms", "churn", "pool", "n_plus_one", "blocking", "content_type") {
		if p.Problem {
			t.Errorf("%+v", p)
		}
	}
	all := must[*patterns.Answer](t)(patterns.Ask(ctx, c, patterns.In{}))
	if len(all.Counts) != 13 {
		t.Errorf("%d kinds", len(all.Counts))
	}
}
