package trace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/access"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

func TestTheWholeFlowOfAnOrder(t *testing.T) {
	asktest.Planted(t, 19, func(a *asktest.Asked) {
		tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, trace.In{RequestID: a.Arg("request_id"), Scope: ask.Scope{Limit: 200}}))
		text := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, trace.In{Text: a.Arg("order"), Scope: ask.Scope{Limit: 500}}))
		a.Says("services", tr)
		a.Listed("calls", []any{tr, text})
	})
}

func TestAuditTrailOfAnOrder(t *testing.T) {
	asktest.Planted(t, 37, func(a *asktest.Asked) {
		tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, trace.In{RequestID: a.Arg("request_id"), Scope: ask.Scope{Limit: 200}}))
		text := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, trace.In{Text: a.Arg("order"), Scope: ask.Scope{Limit: 500}}))
		a.Says("services", []any{tr, text})
		a.Listed("rows", []any{tr, text})
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
	asktest.Planted(t, 28, func(a *asktest.Asked) {
		tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, trace.In{Scope: ask.Scope{KFL: fmt.Sprintf("http and src.external and path == %q and status_code < 300", a.Arg("path"))}}))
		if len(tr.Hops) == 0 || tr.Hops[0].SelfMs == 0 {
			t.Fatalf("hops %+v", tr.Hops)
		}
		a.Says("slowest", tr.Hops[0])
		a.Is("slowest_ms", tr.Hops[0].P50Ms)
		got := map[string]float64{}
		for _, h := range tr.Hops {
			src := asktest.Bare(h.Src)
			if strings.Count(src, ".") == 3 && !strings.ContainsAny(src, "abcdefghijklmnopqrstuvwxyz") {
				src = "customer"
			}
			if h.Protocol != "dns" && h.Protocol != "tls" {
				key := src + " → " + asktest.Bare(h.Dst)
				got[key] = max(got[key], h.P50Ms)
			}
		}
		for k, want := range a.Fact("hops").Groups {
			if n := got[k]; n != 0 && (n < want-a.Fact("hops").Tolerance || n > want+a.Fact("hops").Tolerance) {
				t.Errorf("%s: %v ms, want %v", k, n, want)
			}
		}
	})
}

func TestWhatTwoSaidToEachOther(t *testing.T) {
	asktest.Planted(t, 39, func(a *asktest.Asked) {
		p := asktest.Must[*access.Pair](t)(access.AskPair(ctx, a.Case, access.PairIn{Src: a.Arg("source"), Dst: a.Arg("service")}))
		a.Is("all", float64(p.Forth.Calls))
		if len(p.Calls) != 10 {
			t.Errorf("%d calls, want the last ten", len(p.Calls))
		}
		a.Listed("last_ten", p.Calls)
	})
	asktest.Planted(t, 40, func(a *asktest.Asked) {
		p := asktest.Must[*access.Pair](t)(access.AskPair(ctx, a.Case, access.PairIn{Src: a.Arg("service"), Dst: a.Arg("target"), Scope: ask.Scope{KFL: "http"}}))
		a.Is("calls", float64(p.Forth.Calls))
		a.Says("request", p)
		a.Listed("last", p.Calls)
	})
	asktest.Planted(t, 41, func(a *asktest.Asked) {
		p := asktest.Must[*access.Pair](t)(access.AskPair(ctx, a.Case, access.PairIn{Src: "*", Dst: "*", Scope: ask.Scope{KFL: fmt.Sprintf("request_id == %q", a.Arg("request_id"))}}))
		a.Says("headers", p)
		a.Listed("call", p)
	})
	asktest.Planted(t, 43, func(a *asktest.Asked) {
		s := asktest.Must[*search.Answer](t)(search.Ask(ctx, a.Case, search.In{Text: `{"items":[]}`, Service: a.Arg("service"), In: []string{"response.body"}}))
		a.Is("count", float64(s.Total))
		a.Listed("calls", s)
		p := asktest.Must[*access.Pair](t)(access.AskPair(ctx, a.Case, access.PairIn{Src: "*", Dst: a.Arg("service"), Scope: ask.Scope{KFL: `http and response.body contains "{\"items\":[]}"`}}))
		a.Says("request", p)
		a.Says("who", p)
		for _, x := range p.Calls {
			if x.Got != a.Fact("response").Strings[0] {
				t.Errorf("the answer was %q", x.Got)
			}
		}
	})
}

func TestAccessInFull(t *testing.T) {
	asktest.Planted(t, 35, func(a *asktest.Asked) {
		acc := asktest.Must[*access.Access](t)(access.AskAccess(ctx, a.Case, access.AccessIn{Service: a.Arg("service"), Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 1000}}))
		a.Is("with_handshakes", float64(acc.Total))
		a.Says("client", acc)
		a.Listed("rows", acc.Calls)
	})
	asktest.Planted(t, 36, func(a *asktest.Asked) {
		in := access.AccessIn{Service: a.Arg("service"), Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 40}}
		var all []access.AccessCall
		var first *access.Access
		for {
			acc := asktest.Must[*access.Access](t)(access.AskAccess(ctx, a.Case, in))
			if first == nil {
				first = acc
			}
			all = append(all, acc.Calls...)
			if in.Cursor = acc.Next; in.Cursor == "" {
				break
			}
		}
		a.Is("all", float64(len(all)))
		a.Listed("rows", all)
		a.Says("unusual", first)
		got := map[string]float64{}
		for _, c := range first.Clients {
			got[asktest.Bare(c.Client)] = float64(c.Calls)
			if slices.Contains(a.Fact("unusual").Strings, asktest.Bare(c.Client)) != c.New {
				t.Errorf("%s: only in the window: %v", c.Client, c.New)
			}
		}
		a.Groups("who", got, false)
	})
	asktest.Planted(t, 38, func(a *asktest.Asked) {
		acc := asktest.Must[*access.Access](t)(access.AskAccess(ctx, a.Case, access.AccessIn{External: true, Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 1000, KFL: "http or grpc"}}))
		a.Is("readable", float64(acc.Total))
		got := map[string]float64{}
		for _, s := range acc.Servers {
			got[asktest.Bare(s.Server)] = float64(s.Calls)
		}
		a.Groups("by_domain", got, false)
		acc = asktest.Must[*access.Access](t)(access.AskAccess(ctx, a.Case, access.AccessIn{External: true, Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}}))
		a.Says("domains", acc.Servers)
	})
	asktest.Planted(t, 34, func(a *asktest.Asked) {
		acc := asktest.Must[*access.Access](t)(access.AskAccess(ctx, a.Case, access.AccessIn{PII: true, Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 1000, KFL: "http"}}))
		a.Is("count", float64(acc.Total))
		a.Listed("calls", acc.Calls)
	})
}
