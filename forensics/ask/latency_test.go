package ask_test

import (
	"math"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
)

func TestSlowCalls(t *testing.T) {
	planted(t, 29, func(a *asked) {
		in := latency.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 50}, MinMs: 500, Parts: []string{"slow"}}
		l := must[*latency.Answer](a.t)(latency.Ask(ctx, a.c, in))
		a.is("count", float64(l.Slow.Calls))
		got := map[string]float64{}
		for _, e := range l.Slow.Endpoints {
			got[bare(e.Dst)+" "+e.Endpoint] = float64(e.Slow)
		}
		a.groups("by_endpoint", got, false)
		a.says("slowest", l.Slow)
	})
}

func TestSlowQueries(t *testing.T) {
	planted(t, 32, func(a *asked) {
		l := must[*latency.Answer](a.t)(latency.Ask(ctx, a.c, latency.In{MinMs: 100, Parts: []string{"queries"}}))
		n := 0.0
		for _, q := range l.Queries {
			n += float64(q.Slow)
			if q.Slow > q.Calls || len(q.CallIDs) == 0 || strings.ContainsAny(q.Text, "'") {
				a.t.Errorf("%+v", q)
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
		for _, r := range a.fact("queries").Rows {
			if strings.Contains(r.Path, "pg_sleep") {
				planted++
			}
		}
		if slept != planted || planted == 0 || n < a.fact("count").Value-3 {
			a.t.Errorf("%d statements that sleep of %d, %v slow ones of %v", slept, planted, n, a.fact("count").Value)
		}
		a.says("text", l.Queries)
	})
}

func TestSizeGoesWithLatency(t *testing.T) {
	planted(t, 31, func(a *asked) {
		l := must[*latency.Answer](a.t)(latency.Ask(ctx, a.c, latency.In{Path: "*" + a.arg("path"), Parts: []string{"size"}}))
		found := false
		for _, s := range l.Size {
			if s.Of == "request" && s.N == int64(a.fact("calls").Value) {
				found = true
				a.is("correlation", *s.Pearson)
				if !strings.Contains(s.Words, "strong") || *s.Spearman < 0.9 {
					a.t.Errorf("%+v", s)
				}
				if n := matching(a.t, a.c, s.KFL); n != s.N {
					a.t.Errorf("%d calls, but %d for %s", s.N, n, s.KFL)
				}
			}
		}
		if !found {
			a.t.Errorf("%+v", l.Size)
		}
	})
}

func TestBreakdownLeadsToItsCalls(t *testing.T) {
	c := open(t, "shop.pcapng")
	for _, by := range []string{"endpoint", "service", "client"} {
		l, err := latency.Ask(ctx, c, latency.In{Scope: whole, By: by, Parts: []string{"breakdown", "series", "replicas"}, Bucket: "500ms"})
		if err != nil {
			t.Fatal(err)
		}
		var sum, steps int64
		for _, b := range l.Breakdown {
			sum += b.Calls
			if n := matching(t, c, b.KFL); n != b.Calls {
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
				if n := matching(t, c, p.KFL); n != p.Calls {
					t.Errorf("%s: %d calls, but %d for %s", p.Pod, p.Calls, n, p.KFL)
				}
			}
		}
	}
}

func TestHopsOfNamedRequests(t *testing.T) {
	planted(t, 28, func(a *asked) {
		l := must[*latency.Answer](a.t)(latency.Ask(ctx, a.c, latency.In{Path: a.arg("path"), Parts: []string{"chain"}}))
		got := map[string]float64{}
		for _, h := range l.Chain.Hops {
			src := bare(h.Src)
			if src == "(outside)" {
				src = "customer"
			}
			if k := src + " → " + bare(h.Dst); strings.HasPrefix(h.Protocol, "http") || h.Protocol == "grpc" {
				got[k] = max(got[k], *h.P50Ms)
			}
			if h.CallID == "" || h.Calls == 0 {
				a.t.Errorf("%+v", h)
			}
		}
		a.groups("hops", got, true)
		for _, s := range a.fact("slowest").Strings {
			if !strings.Contains(l.Chain.Most, s) {
				a.t.Errorf("most time: %s, want %s", l.Chain.Most, s)
			}
		}
	})
}

func TestLatencyRejectsInvalidInput(t *testing.T) {
	c := open(t, "dns.pcap")
	for _, in := range []latency.In{{MinMs: -1}, {MinMs: math.Inf(1)}, {Parts: []string{"series"}, Bucket: "1ns"}, {Parts: []string{"series"}, Bucket: "x"}, {Bucket: "x"}, {Bucket: "-1s"}} {
		if _, err := latency.Ask(ctx, c, in); err == nil {
			t.Errorf("%+v is accepted", in)
		}
	}
}
