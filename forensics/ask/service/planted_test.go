package service_test

import (
	"math"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
)

func TestOneServiceEndToEnd(t *testing.T) {
	asktest.Planted(t, 7, func(a *asktest.Asked) {
		s := asktest.Must[*service.Service](t)(service.AskService(ctx, a.Case, service.ServiceIn{Service: a.Arg("namespace") + "/" + a.Arg("service"), Scope: ask.Scope{From: a.Arg("from"), Limit: 200}}))
		in, out := map[string]float64{}, map[string]float64{}
		for _, p := range s.Callers {
			if p.Protocol != "tls" {
				in[asktest.Bare(p.Peer)] += float64(p.Calls)
			}
		}
		for _, p := range s.Asks {
			if p.Protocol != "tls" {
				out[asktest.Bare(p.Peer)] += float64(p.Calls)
			}
		}
		a.Is("inbound", float64(s.In.Calls))
		a.Groups("inbound_from", in, false)
		a.Groups("outbound_to", out, false)
		a.Is("p50", *s.In.GoodP50)
		a.Is("p99", *s.In.GoodP99)
		a.Is("error_rate", 100*s.In.ErrorRate)
		for _, e := range s.Endpoints {
			if e.Failed > 0 && strings.Contains(strings.Join(e.Statuses, ","), "503") {
				a.Is("503s", float64(e.Failed))
				a.Says("503_path", e.Endpoint)
			}
		}
		times := 0.0
		for _, r := range s.Repeats {
			if r.InARow == 3 && strings.Contains(r.Request, a.Fact("triple_path").Strings[0]) {
				times += float64(r.Times)
			}
		}
		a.Is("triples", times)
		a.Says("triple_path", s.Repeats)
		if len(s.Churn) == 0 {
			t.Fatal("no connections")
		}
		a.Is("connections", float64(s.Churn[0].Most))
		a.Says("connections_to", s.Churn[0])
		a.Is("no_correlation", 100*s.NoID.Share)
		a.Is("no_correlation_count", float64(s.NoID.Calls))
		a.Says("no_correlation_path", s.NoID)
		a.Says("journey", s.Journey)
		a.Says("sync", s.Blocking)
		for _, b := range s.Blocking {
			if strings.Contains(b.Endpoint, a.Fact("sync").Strings[0]) {
				a.Is("sync_ms", b.MedianMs)
			}
		}
	})
}

func TestWhatAServiceDoes(t *testing.T) {
	asktest.Planted(t, 25, func(a *asktest.Asked) {
		s := asktest.Must[*service.Service](t)(service.AskService(ctx, a.Case, service.ServiceIn{Service: a.Arg("service"), Scope: ask.Scope{Limit: 200}}))
		a.Says("calls", s)
		got := map[string]float64{}
		for _, p := range s.Asks {
			got[asktest.Bare(p.Peer)] += float64(p.Calls)
		}
		for k, n := range a.Fact("does").Groups {
			name, _, _ := strings.Cut(k, " ")
			if got[name] < n {
				t.Errorf("%s: %v calls, want %v or more", k, got[name], n)
			}
		}
	})
}

func TestServicesOfALabel(t *testing.T) {
	asktest.Planted(t, 27, func(a *asktest.Asked) {
		s := asktest.Must[*service.Service](t)(service.AskService(ctx, a.Case, service.ServiceIn{Labels: a.Arg("label") + "=" + a.Arg("value"), Scope: ask.Scope{Limit: 500}}))
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
