package servicemap_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

func TestReachableFromNamespace(t *testing.T) {
	asktest.Planted(t, 14, func(a *asktest.Asked) {
		m := asktest.Must[*servicemap.ServiceMap](a.T)(servicemap.AskServiceMap(ctx, a.Case, servicemap.ServiceMapIn{Scope: asktest.Whole, FromNamespace: a.Arg("namespace")}))
		got := map[string]float64{}
		for _, e := range m.Edges {
			if strings.HasPrefix(e.Src, a.Arg("namespace")+"/") && e.CrossesSpace && e.Protocols[0].Protocol != "dns" {
				got[asktest.Bare(e.Src)+" → "+asktest.Bare(e.Dst)] += float64(e.Calls)
			}
		}
		a.Groups("reached", got, false)
		a.Says("names", m.Reachable)
		for _, r := range m.Reachable {
			if strings.HasPrefix(r.Name, a.Arg("namespace")+"/") {
				a.T.Errorf("%s is in the namespace itself", r.Name)
			}
		}
	})
}

func TestOverviewOfTheCluster(t *testing.T) {
	asktest.Planted(t, 23, func(a *asktest.Asked) {
		o := asktest.Must[*servicemap.Overview](a.T)(servicemap.AskOverview(ctx, a.Case, servicemap.OverviewIn{Scope: asktest.Whole}, nil))
		a.Says("namespaces", o.Namespaces)
		a.Says("ingress", o.Ingress)
		a.Says("databases", o.Services)
		got := map[string]float64{}
		for _, e := range o.Edges {
			src := asktest.Bare(e.Src)
			if src == "(outside)" {
				src = "customer"
			}
			for _, p := range e.Protocols {
				if p.Protocol == "http1" || p.Protocol == "http2" {
					got[src+" → "+asktest.Bare(e.Dst)] += float64(p.Calls)
				}
			}
		}
		a.Groups("pairs", got, true)
		small := asktest.Must[*servicemap.Overview](a.T)(servicemap.AskOverview(ctx, a.Case, servicemap.OverviewIn{}, nil))
		if text, _ := json.Marshal(small); len(text) > 24<<10 {
			a.T.Errorf("an overview of %d bytes", len(text))
		}
	})
}

func TestProtocolsInUse(t *testing.T) {
	asktest.Planted(t, 26, func(a *asktest.Asked) {
		o := asktest.Must[*servicemap.Overview](a.T)(servicemap.AskOverview(ctx, a.Case, servicemap.OverviewIn{}, nil))
		got := map[string]float64{}
		for _, p := range o.Protocols {
			if p.Example.CallID == "" || p.Example.Packets == "" {
				a.T.Errorf("%s has no example", p.Protocol)
			}
			got[p.Protocol] = float64(p.Calls)
		}
		a.Groups("protocols", got, true)
	})
}

func TestWhatATeamOwns(t *testing.T) {
	asktest.Planted(t, 27, func(a *asktest.Asked) {
		m := asktest.Must[*servicemap.ServiceMap](a.T)(servicemap.AskServiceMap(ctx, a.Case, servicemap.ServiceMapIn{Scope: asktest.Whole, Label: a.Arg("label") + "=" + a.Arg("value")}))
		own := map[string]bool{}
		var names []string
		for _, n := range m.Nodes {
			for _, l := range n.Labels {
				if l == a.Arg("label")+"="+a.Arg("value") {
					own[n.Name] = true
					names = append(names, n.Name)
				}
			}
		}
		a.Says("services", names)
		if len(names) != len(a.Fact("services").Strings) {
			a.T.Errorf("%d services: %v", len(names), names)
		}
		got := map[string]float64{}
		for _, e := range m.Edges {
			if own[e.Src] && own[e.Dst] && e.Calls > 0 {
				got[asktest.Bare(e.Src)+" → "+asktest.Bare(e.Dst)] += float64(e.Calls)
			}
		}
		a.Groups("talk", got, false)
	})
}

func TestMostUsedEndpoints(t *testing.T) {
	asktest.Planted(t, 24, func(a *asktest.Asked) {
		o := asktest.Must[*servicemap.Overview](a.T)(servicemap.AskOverview(ctx, a.Case, servicemap.OverviewIn{Scope: ask.Scope{KFL: "http", Limit: 50}}, nil))
		got := map[string]float64{}
		for _, e := range o.Endpoints {
			got[asktest.Bare(e.Dst)+" "+e.Endpoint] += float64(e.Calls)
			if n := asktest.Matching(a.T, a.Case, e.KFL); n != e.Calls {
				a.T.Errorf("%s %s: %d calls, but %d for %s", e.Dst, e.Endpoint, e.Calls, n, e.KFL)
			}
		}
		a.Groups("top", got, true)
	})
}
