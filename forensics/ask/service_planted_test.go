package ask_test

import (
	"math"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
)

func TestOneServiceEndToEnd(t *testing.T) {
	planted(t, 7, func(a *asked) {
		s := must[*service.Service](t)(service.AskService(ctx, a.c, service.ServiceIn{Service: a.arg("namespace") + "/" + a.arg("service"), Scope: ask.Scope{From: a.arg("from"), Limit: 200}}))
		in, out := map[string]float64{}, map[string]float64{}
		for _, p := range s.Callers {
			if p.Protocol != "tls" {
				in[bare(p.Peer)] += float64(p.Calls)
			}
		}
		for _, p := range s.Asks {
			if p.Protocol != "tls" {
				out[bare(p.Peer)] += float64(p.Calls)
			}
		}
		a.is("inbound", float64(s.In.Calls))
		a.groups("inbound_from", in, false)
		a.groups("outbound_to", out, false)
		a.is("p50", *s.In.GoodP50)
		a.is("p99", *s.In.GoodP99)
		a.is("error_rate", 100*s.In.ErrorRate)
		for _, e := range s.Endpoints {
			if e.Failed > 0 && strings.Contains(strings.Join(e.Statuses, ","), "503") {
				a.is("503s", float64(e.Failed))
				a.says("503_path", e.Endpoint)
			}
		}
		times := 0.0
		for _, r := range s.Repeats {
			if r.InARow == 3 && strings.Contains(r.Request, a.fact("triple_path").Strings[0]) {
				times += float64(r.Times)
			}
		}
		a.is("triples", times)
		a.says("triple_path", s.Repeats)
		if len(s.Churn) == 0 {
			t.Fatal("no connections")
		}
		a.is("connections", float64(s.Churn[0].Most))
		a.says("connections_to", s.Churn[0])
		a.is("no_correlation", 100*s.NoID.Share)
		a.is("no_correlation_count", float64(s.NoID.Calls))
		a.says("no_correlation_path", s.NoID)
		a.says("journey", s.Journey)
		a.says("sync", s.Blocking)
		for _, b := range s.Blocking {
			if strings.Contains(b.Endpoint, a.fact("sync").Strings[0]) {
				a.is("sync_ms", b.MedianMs)
			}
		}
	})
}

func TestWhatAServiceDoes(t *testing.T) {
	planted(t, 25, func(a *asked) {
		s := must[*service.Service](t)(service.AskService(ctx, a.c, service.ServiceIn{Service: a.arg("service"), Scope: ask.Scope{Limit: 200}}))
		a.says("calls", s)
		got := map[string]float64{}
		for _, p := range s.Asks {
			got[bare(p.Peer)] += float64(p.Calls)
		}
		for k, n := range a.fact("does").Groups {
			name, _, _ := strings.Cut(k, " ")
			if got[name] < n {
				t.Errorf("%s: %v calls, want %v or more", k, got[name], n)
			}
		}
	})
}

func TestServicesOfALabel(t *testing.T) {
	planted(t, 27, func(a *asked) {
		s := must[*service.Service](t)(service.AskService(ctx, a.c, service.ServiceIn{Labels: a.arg("label") + "=" + a.arg("value"), Scope: ask.Scope{Limit: 500}}))
		if len(s.Services) == 0 || len(s.Talks) == 0 {
			t.Fatalf("%+v", s)
		}
		sum := int64(0)
		for _, x := range s.Services {
			sum += x.Calls
		}
		if sum != s.In.Calls || math.IsNaN(s.In.ErrorRate) {
			t.Errorf("%d calls in services, %d in all", sum, s.In.Calls)
		}
	})
}
