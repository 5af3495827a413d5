package latency_test

import (
	"math"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
)

func TestSlowCalls(t *testing.T) {
	asktest.Planted(t, 29, func(a *asktest.Asked) {
		in := latency.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 50}, MinMs: 500, Parts: []string{"slow"}}
		l := asktest.Must[*latency.Answer](a.T)(latency.Ask(ctx, a.Case, in))
		a.Is("count", float64(l.Slow.Calls))
		got := map[string]float64{}
		for _, e := range l.Slow.Endpoints {
			got[asktest.Bare(e.Dst)+" "+e.Endpoint] = float64(e.Slow)
		}
		a.Groups("by_endpoint", got, false)
		a.Says("slowest", l.Slow)
	})
}

func TestSlowQueries(t *testing.T) {
	asktest.Planted(t, 32, func(a *asktest.Asked) {
		l := asktest.Must[*latency.Answer](a.T)(latency.Ask(ctx, a.Case, latency.In{MinMs: 100, Parts: []string{"queries"}}))
		n := 0.0
		for _, q := range l.Queries {
			n += float64(q.Slow)
			if q.Slow > q.Calls || len(q.CallIDs) == 0 || strings.ContainsAny(q.Text, "'") {
				a.T.Errorf("%+v", q)
			}
		}
		// An endpoint may log 101 ms for a call that took 99 ms on the wire, so only the
		// planted slow calls are counted exactly.
		var slept, planted int64
		for _, q := range l.Queries {
			if strings.Contains(q.Text, "pg_sleep") {
				slept += q.Slow
			}
		}
		for _, r := range a.Fact("queries").Rows {
			if strings.Contains(r.Path, "pg_sleep") {
				planted++
			}
		}
		if slept != planted || planted == 0 || n < a.Fact("count").Value-3 {
			a.T.Errorf("%d statements that sleep of %d, %v slow ones of %v", slept, planted, n, a.Fact("count").Value)
		}
		a.Says("text", l.Queries)
	})
}

func TestSizeGoesWithLatency(t *testing.T) {
	asktest.Planted(t, 31, func(a *asktest.Asked) {
		l := asktest.Must[*latency.Answer](a.T)(latency.Ask(ctx, a.Case, latency.In{Path: "*" + a.Arg("path"), Parts: []string{"size"}}))
		found := false
		for _, s := range l.Size {
			if s.Of == "request" && s.N == int64(a.Fact("calls").Value) {
				found = true
				a.Is("correlation", *s.Pearson)
				if !strings.Contains(s.Words, "strong") || *s.Spearman < 0.9 {
					a.T.Errorf("%+v", s)
				}
				if n := asktest.Matching(a.T, a.Case, s.KFL); n != s.N {
					a.T.Errorf("%d calls, but %d for %s", s.N, n, s.KFL)
				}
			}
		}
		if !found {
			a.T.Errorf("%+v", l.Size)
		}
	})
}

func TestBreakdownLeadsToItsCalls(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, by := range []string{"endpoint", "service", "client"} {
		l, err := latency.Ask(ctx, c, latency.In{Scope: asktest.Whole, By: by, Parts: []string{"breakdown", "series", "replicas"}, Bucket: "500ms"})
		if err != nil {
			t.Fatal(err)
		}
		var sum, steps int64
		for _, b := range l.Breakdown {
			sum += b.Calls
			if n := asktest.Matching(t, c, b.KFL); n != b.Calls {
				t.Errorf("%s: %d calls, but %d for %s", by, b.Calls, n, b.KFL)
			}
		}
		for _, s := range l.Series {
			steps += s.Calls
		}
		if sum != l.Calls || steps != l.Calls || l.Calls == 0 {
			t.Errorf("%s: %d calls in rows, %d in steps, %d in all", by, sum, steps, l.Calls)
		}
		for _, r := range l.Replicas {
			for _, p := range r.Pods {
				if n := asktest.Matching(t, c, p.KFL); n != p.Calls {
					t.Errorf("%s: %d calls, but %d for %s", p.Pod, p.Calls, n, p.KFL)
				}
			}
		}
	}
}

func TestHopsOfNamedRequests(t *testing.T) {
	asktest.Planted(t, 28, func(a *asktest.Asked) {
		l := asktest.Must[*latency.Answer](a.T)(latency.Ask(ctx, a.Case, latency.In{Path: a.Arg("path"), Parts: []string{"chain"}}))
		got := map[string]float64{}
		for _, h := range l.Chain.Hops {
			src := asktest.Bare(h.Src)
			if src == "(outside)" {
				src = "customer"
			}
			if k := src + " → " + asktest.Bare(h.Dst); strings.HasPrefix(h.Protocol, "http") || h.Protocol == "grpc" {
				got[k] = max(got[k], *h.P50Ms)
			}
			if h.CallID == "" || h.Calls == 0 {
				a.T.Errorf("%+v", h)
			}
		}
		a.Groups("hops", got, true)
		for _, s := range a.Fact("slowest").Strings {
			if !strings.Contains(l.Chain.Most, s) {
				a.T.Errorf("most time: %s, want %s", l.Chain.Most, s)
			}
		}
	})
}

func TestLatencyRejectsInvalidInput(t *testing.T) {
	c := asktest.Open(t, "dns.pcap")
	for _, in := range []latency.In{{MinMs: -1}, {MinMs: math.Inf(1)}, {Parts: []string{"series"}, Bucket: "1ns"}, {Parts: []string{"series"}, Bucket: "x"}, {Bucket: "x"}, {Bucket: "-1s"}} {
		if _, err := latency.Ask(ctx, c, in); err == nil {
			t.Errorf("%+v is accepted", in)
		}
	}
}
