package ask_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/access"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

func TestTheWholeFlowOfAnOrder(t *testing.T) {
	planted(t, 19, func(a *asked) {
		tr := must[*trace.Answer](t)(trace.Ask(ctx, a.c, trace.In{RequestID: a.arg("request_id"), Scope: ask.Scope{Limit: 200}}))
		text := must[*trace.Answer](t)(trace.Ask(ctx, a.c, trace.In{Text: a.arg("order"), Scope: ask.Scope{Limit: 500}}))
		a.says("services", tr)
		checkListed(a, 19, "calls", []any{tr, text})
	})
}

func TestAuditTrailOfAnOrder(t *testing.T) {
	planted(t, 37, func(a *asked) {
		tr := must[*trace.Answer](t)(trace.Ask(ctx, a.c, trace.In{RequestID: a.arg("request_id"), Scope: ask.Scope{Limit: 200}}))
		text := must[*trace.Answer](t)(trace.Ask(ctx, a.c, trace.In{Text: a.arg("order"), Scope: ask.Scope{Limit: 500}}))
		a.says("services", []any{tr, text})
		checkListed(a, 37, "rows", []any{tr, text})
		for _, c := range tr.Chains {
			for i, s := range c.Steps {
				if s.Step != i+1 || s.Parent > i || (s.Parent == 0) != (i == 0) {
					t.Fatalf("step %d has number %d and parent %d", i+1, s.Step, s.Parent)
				}
				if s.Confidence > 0 && s.How == "" {
					t.Errorf("step %d does not say how its parent is known", s.Step)
				}
			}
		}
	})
}

func TestWhereTimeGoesAlongTheChain(t *testing.T) {
	planted(t, 28, func(a *asked) {
		tr := must[*trace.Answer](t)(trace.Ask(ctx, a.c, trace.In{Scope: ask.Scope{KFL: fmt.Sprintf("http and src.external and path == %q and status_code < 300", a.arg("path"))}}))
		if len(tr.Hops) == 0 || tr.Hops[0].SelfMs == 0 {
			t.Fatalf("hops %+v", tr.Hops)
		}
		a.says("slowest", tr.Hops[0])
		a.is("slowest_ms", tr.Hops[0].P50Ms)
		got := map[string]float64{}
		for _, h := range tr.Hops {
			src := bare(h.Src)
			if strings.Count(src, ".") == 3 && !strings.ContainsAny(src, "abcdefghijklmnopqrstuvwxyz") {
				src = "customer"
			}
			if h.Protocol != "dns" && h.Protocol != "tls" {
				key := src + " → " + bare(h.Dst)
				got[key] = max(got[key], h.P50Ms)
			}
		}
		for k, want := range a.fact("hops").Groups {
			if n := got[k]; n != 0 && (n < want-a.fact("hops").Tolerance || n > want+a.fact("hops").Tolerance) {
				t.Errorf("%s: %v ms, want %v", k, n, want)
			}
		}
	})
}

func TestWhatTwoSaidToEachOther(t *testing.T) {
	planted(t, 39, func(a *asked) {
		p := must[*access.Pair](t)(access.AskPair(ctx, a.c, access.PairIn{Src: a.arg("source"), Dst: a.arg("service")}))
		a.is("all", float64(p.Forth.Calls))
		if len(p.Calls) != 10 {
			t.Errorf("%d calls, want the last ten", len(p.Calls))
		}
		checkListed(a, 39, "last_ten", p.Calls)
	})
	planted(t, 40, func(a *asked) {
		p := must[*access.Pair](t)(access.AskPair(ctx, a.c, access.PairIn{Src: a.arg("service"), Dst: a.arg("target"), Scope: ask.Scope{KFL: "http"}}))
		a.is("calls", float64(p.Forth.Calls))
		a.says("request", p)
		checkListed(a, 40, "last", p.Calls)
	})
	planted(t, 41, func(a *asked) {
		p := must[*access.Pair](t)(access.AskPair(ctx, a.c, access.PairIn{Src: "*", Dst: "*", Scope: ask.Scope{KFL: fmt.Sprintf("request_id == %q", a.arg("request_id"))}}))
		a.says("headers", p)
		checkListed(a, 41, "call", p)
	})
	planted(t, 43, func(a *asked) {
		s := must[*search.Answer](t)(search.Ask(ctx, a.c, search.In{Text: `{"items":[]}`, Service: a.arg("service"), In: []string{"response.body"}}))
		a.is("count", float64(s.Total))
		checkListed(a, 43, "calls", s)
		p := must[*access.Pair](t)(access.AskPair(ctx, a.c, access.PairIn{Src: "*", Dst: a.arg("service"), Scope: ask.Scope{KFL: `http and response.body contains "{\"items\":[]}"`}}))
		a.says("request", p)
		a.says("who", p)
		for _, x := range p.Calls {
			if x.Got != a.fact("response").Strings[0] {
				t.Errorf("the answer was %q", x.Got)
			}
		}
	})
}

func TestAccessInFull(t *testing.T) {
	planted(t, 35, func(a *asked) {
		acc := must[*access.Access](t)(access.AskAccess(ctx, a.c, access.AccessIn{Service: a.arg("service"), Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 1000}}))
		a.is("with_handshakes", float64(acc.Total))
		a.says("client", acc)
		checkListed(a, 35, "rows", acc.Calls)
	})
	planted(t, 36, func(a *asked) {
		in := access.AccessIn{Service: a.arg("service"), Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 40}}
		var all []access.AccessCall
		var first *access.Access
		for {
			acc := must[*access.Access](t)(access.AskAccess(ctx, a.c, in))
			if first == nil {
				first = acc
			}
			all = append(all, acc.Calls...)
			if in.Cursor = acc.Next; in.Cursor == "" {
				break
			}
		}
		a.is("all", float64(len(all)))
		checkListed(a, 36, "rows", all)
		a.says("unusual", first)
		got := map[string]float64{}
		for _, c := range first.Clients {
			got[bare(c.Client)] = float64(c.Calls)
			if slices.Contains(a.fact("unusual").Strings, bare(c.Client)) != c.New {
				t.Errorf("%s: only in the window: %v", c.Client, c.New)
			}
		}
		a.groups("who", got, false)
	})
	planted(t, 38, func(a *asked) {
		acc := must[*access.Access](t)(access.AskAccess(ctx, a.c, access.AccessIn{External: true, Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 1000, KFL: "http or grpc"}}))
		a.is("readable", float64(acc.Total))
		got := map[string]float64{}
		for _, s := range acc.Servers {
			got[bare(s.Server)] = float64(s.Calls)
		}
		a.groups("by_domain", got, false)
		acc = must[*access.Access](t)(access.AskAccess(ctx, a.c, access.AccessIn{External: true, Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}}))
		a.says("domains", acc.Servers)
	})
	planted(t, 34, func(a *asked) {
		acc := must[*access.Access](t)(access.AskAccess(ctx, a.c, access.AccessIn{PII: true, Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 1000, KFL: "http"}}))
		a.is("count", float64(acc.Total))
		checkListed(a, 34, "calls", acc.Calls)
	})
}
