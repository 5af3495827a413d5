package patterns_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
)

// look finds patterns of some kinds.
func look(t *testing.T, c *forensics.Case, in patterns.In, kinds ...string) []patterns.Pattern {
	t.Helper()
	in.Kinds, in.Limit = kinds, 100
	out := asktest.Must[*patterns.Answer](t)(patterns.Ask(ctx, c, in))
	for _, p := range out.Findings {
		if p.Words == "" || p.Confidence == "" || len(p.CallIDs) == 0 {
			t.Errorf("a finding without words, confidence or calls: %+v", p)
		}
		if p.KFL != "" && asktest.Matching(t, c, p.KFL) == 0 {
			t.Errorf("no call matches %s", p.KFL)
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
		if (src == "" || asktest.Bare(p.Src) == src) && (dst == "" || asktest.Bare(p.Dst) == dst) && strings.Contains(p.Endpoint, endpoint) {
			return p
		}
	}
	t.Fatalf("no finding from %q to %q at %q: %+v", src, dst, endpoint, list)
	return patterns.Pattern{}
}

// pauses returns the median pause before each retry of the requests in a fact's rows.
func pauses(a *asktest.Asked, id string) []float64 {
	var all [][]float64
	place := map[string]int{}
	ended := map[string]time.Time{}
	for _, r := range a.Fact(id).Rows {
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
		a.T.Fatalf("%s has no retries", id)
	}
	return out
}

func TestRetriedExactlyThreeTimes(t *testing.T) {
	asktest.Planted(t, 47, func(a *asktest.Asked) {
		list := look(a.T, a.Case, patterns.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}}, "retries")
		p := one(a.T, list, a.Arg("service"), a.Arg("target"), "")
		a.Is("cases", number(p, "requests_retried"))
		a.Is("retries", number(p, "min_retries"))
		a.Is("retries", number(p, "max_retries"))
		for i, want := range pauses(a, "tries") {
			if got := number(p, fmt.Sprintf("pause_%d_ms", i+1)); math.Abs(got-want) > 15 {
				a.T.Errorf("pause %d: %v ms, want %v", i+1, got, want)
			}
		}
		if p.Shape != "exponential" || math.Abs(number(p, "factor")-2) > 0.3 {
			a.T.Errorf("%+v", p)
		}
		w := one(a.T, list, a.Arg("wrong_service"), a.Arg("wrong_target"), "")
		a.Is("wrong_tries", number(w, "retries")+number(w, "requests_retried"))
		a.Is("wrong_pause", number(w, "pause_1_ms"))
		if w.Shape != "constant" {
			a.T.Errorf("%+v", w)
		}
	})
}

func TestCachingWorksOrNot(t *testing.T) {
	asktest.Planted(t, 48, func(a *asktest.Asked) {
		list := look(a.T, a.Case, patterns.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}}, "caching")
		p := one(a.T, list, a.Arg("service"), "", a.Arg("endpoint")[:strings.LastIndexByte(a.Arg("endpoint"), '/')])
		a.Is("cold", number(p, "first_reached_database"))
		a.Is("warm", number(p, "later")-number(p, "later_reached_database"))
		a.Is("cold_ms", number(p, "cold_p50_ms"))
		a.Is("warm_ms", number(p, "warm_p50_ms"))
		if p.Problem || number(p, "with_cache_control") != number(p, "requests") {
			a.T.Errorf("%+v", p)
		}
		n := one(a.T, list, a.Arg("service"), "", a.Arg("opposite"))
		a.Is("never", number(n, "requests"))
		if !n.Problem || number(n, "things") != number(n, "requests") || !strings.Contains(n.Words, "never repeats") {
			a.T.Errorf("%+v", n)
		}
	})
}

// TestCachingSeesTheWholeTree: a request reaches a database through other services too.
func TestCachingSeesTheWholeTree(t *testing.T) {
	list := look(t, asktest.Open(t, "shop.pcapng"), patterns.In{}, "caching")
	for _, dst := range []string{"gateway", "frontend"} {
		p := one(t, list, dst, "", "GET /api/profile")
		if !p.Problem || number(p, "later_reached_database") != 5 || !strings.Contains(p.Words, "is not cached") {
			t.Errorf("%+v", p)
		}
	}
}

func TestAServiceEndToEnd(t *testing.T) {
	asktest.Planted(t, 7, func(a *asktest.Asked) {
		in := patterns.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}}
		dup := look(a.T, a.Case, in, "duplicates")
		path := a.Fact("triple_path").Strings[0]
		triples := 0.0
		for _, p := range dup {
			if asktest.Bare(p.Src) == a.Arg("service") && strings.Contains(p.Endpoint, path[strings.LastIndexByte(path, '/'):]) && number(p, "most_at_once") == 3 {
				triples += number(p, "times")
			}
		}
		a.Is("triples", triples)
		churn := look(a.T, a.Case, in, "churn")
		p := one(a.T, churn, a.Arg("service"), a.Fact("connections_to").Strings[0], "")
		a.Is("connections", number(p, "peak_per_minute"))
		if len(churn) != 1 {
			a.T.Errorf("churn of others too: %+v", churn)
		}
		ids := look(a.T, a.Case, in, "correlation")
		n := 0.0
		for _, p := range ids {
			if asktest.Bare(p.Dst) == a.Arg("service") {
				n += number(p, "without_any")
			}
		}
		a.Is("no_correlation_count", n)
		b := one(a.T, look(a.T, a.Case, in, "blocking"), a.Arg("service"), "", a.Fact("sync").Strings[0])
		if !b.Problem || number(b, "median_saved_if_at_once_ms") < 100 {
			a.T.Errorf("%+v", b)
		}
	})
}

func TestWhatTestsShow(t *testing.T) {
	asktest.Planted(t, 45, func(a *asktest.Asked) {
		in := patterns.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}}
		drift := look(a.T, a.Case, in, "drift")
		a.Says("field", drift)
		found := false
		for _, p := range drift {
			found = found || strings.Contains(p.Words, "quantity") && number(p, "string") == a.Fact("as_text").Value && asktest.Bare(p.Dst) == a.Arg("target")
		}
		if !found {
			a.T.Errorf("the field that changes its type: %+v", drift)
		}
		p := one(a.T, look(a.T, a.Case, in, "n_plus_one"), "", "", "")
		if !p.Problem {
			a.T.Errorf("%+v", p)
		}
		most := 0.0
		for _, p := range look(a.T, a.Case, in, "n_plus_one") {
			most = max(most, number(p, "most_in_one_request"))
		}
		if f := a.Fact("n_plus_one"); most < f.Value-1 || most > f.Value {
			a.T.Errorf("N+1: %v, want %v or one less", most, f.Value)
		}
	})
}

func TestPatternsOfAQuietCase(t *testing.T) {
	c := asktest.Open(t, "http2.pcap", "dns.pcap")
	for _, p := range look(t, c, patterns.In{}, "retries", "retry_storms", "churn", "pool", "n_plus_one", "blocking", "content_type") {
		if p.Problem {
			t.Errorf("%+v", p)
		}
	}
	all := asktest.Must[*patterns.Answer](t)(patterns.Ask(ctx, c, patterns.In{}))
	if len(all.Counts) != 13 {
		t.Errorf("%d kinds", len(all.Counts))
	}
}
