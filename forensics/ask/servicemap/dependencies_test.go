package servicemap_test

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

// depend returns the dependencies of a service, with calls by the name of the far end.
func depend(a *asktest.Asked, in servicemap.DependenciesIn) (*servicemap.Dependencies, map[string]float64, map[string]float64) {
	in.Limit = 1000
	d := asktest.Must[*servicemap.Dependencies](a.T)(servicemap.AskDependencies(ctx, a.Case, in))
	up, down := map[string]float64{}, map[string]float64{}
	for _, e := range d.Upstream {
		if e.Depth == 1 && e.Calls > 0 {
			up[asktest.Bare(e.Src)] += float64(e.Calls)
		}
		if n := asktest.Matching(a.T, a.Case, e.KFL); e.Calls > 0 && n != e.Calls {
			a.T.Errorf("%s to %s: %d calls, but %d for %s", e.Src, e.Dst, e.Calls, n, e.KFL)
		}
	}
	for _, e := range d.Downstream {
		if e.Depth == 1 && e.Calls > 0 && e.Protocols[0] != "dns" {
			down[asktest.Bare(e.Dst)] += float64(e.Calls)
		}
	}
	return d, up, down
}

func TestWhatAServiceDependsOn(t *testing.T) {
	asktest.Planted(t, 11, func(a *asktest.Asked) {
		d, _, down := depend(a, servicemap.DependenciesIn{Service: a.Arg("service")})
		a.Groups("dependencies", down, false)
		failed := map[string]float64{}
		var bad []string
		for _, e := range d.Downstream {
			if e.Depth == 1 && e.Failed > 0 {
				failed[asktest.Bare(e.Dst)] = float64(e.Failed)
			}
			if e.Depth == 1 && (e.Health == "degraded" || e.Health == "failing") {
				bad = append(bad, e.Dst)
			}
		}
		a.Groups("failures", failed, false)
		a.Says("unhealthy", bad)
		if len(bad) != 1 {
			a.T.Errorf("unhealthy: %v", bad)
		}
	})
}

func TestBothWays(t *testing.T) {
	asktest.Planted(t, 18, func(a *asktest.Asked) {
		_, up, down := depend(a, servicemap.DependenciesIn{Service: a.Arg("service")})
		a.Groups("inbound", up, false)
		a.Groups("outbound", down, false)
	})
}

func TestBlastRadius(t *testing.T) {
	asktest.Planted(t, 20, func(a *asktest.Asked) {
		d, up, _ := depend(a, servicemap.DependenciesIn{Service: a.Arg("service"), Blast: true})
		a.Groups("direct", up, false)
		a.Says("direct_names", d.Direct)
		a.Says("indirect", d.Transitive)
		if d.Blast == nil || len(d.Blast.Endpoints) == 0 || d.Blast.Explained == 0 {
			a.T.Fatalf("blast radius %+v", d.Blast)
		}
		for _, e := range d.Blast.Endpoints {
			if e.Touching > e.Calls || e.Touching == 0 || len(e.CallIDs) == 0 {
				a.T.Errorf("%+v", e)
			}
		}
	})
}

func TestBypassedLayer(t *testing.T) {
	asktest.Planted(t, 22, func(a *asktest.Asked) {
		d, _, _ := depend(a, servicemap.DependenciesIn{Service: a.Arg("database"), Via: a.Arg("layer")})
		got := map[string]float64{}
		for _, b := range d.Bypass {
			got[asktest.Bare(b.Client)] = float64(b.Calls)
		}
		if want := a.Fact("who").Groups; len(want) != len(got) {
			a.T.Errorf("who: %v, want %v", got, want)
		}
		for name, n := range a.Fact("who").Groups {
			if got[name] < n {
				a.T.Errorf("%s: %v statements, want %v at least", name, got[name], n)
			}
		}
	})
}

// TestBypassesAccessData: a login, a prepared statement or a command about the connection bypasses no layer.
func TestBypassesAccessData(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for in, want := range map[string]string{"postgres": "[shop/catalogue 44 shop/payment 3]", "redis": "[shop/catalogue 4 shop/frontend 3]"} {
		d := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: in, Via: "orders"}))
		var got []any
		for _, b := range d.Bypass {
			got = append(got, b.Client, b.Calls)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", in, got, want)
		}
	}
}

func TestDependenciesRejectInvalidInput(t *testing.T) {
	c := asktest.Open(t, "dns.pcap")
	for _, in := range []servicemap.DependenciesIn{{}, {Service: "x", Depth: -1}, {Service: "x", Depth: 11}} {
		if _, err := servicemap.AskDependencies(ctx, c, in); err == nil {
			t.Errorf("%+v is accepted", in)
		}
	}
	d := asktest.Put(t, c, "get_dependencies", `{"service": "nobody", "blast_radius": true, "via": "nothing"}`)
	if notes, _ := d["notes"].([]any); len(notes) != 3 || d["matched"] != "nothing_matched" {
		t.Errorf("nobody: %+v", d)
	}
}
