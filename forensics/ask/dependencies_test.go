package ask_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

// depend returns the dependencies of a service, with calls by the name of the far end.
func depend(a *asked, in servicemap.DependenciesIn) (*servicemap.Dependencies, map[string]float64, map[string]float64) {
	in.Limit = 1000
	d := must[*servicemap.Dependencies](a.t)(servicemap.AskDependencies(ctx, a.c, in))
	up, down := map[string]float64{}, map[string]float64{}
	for _, e := range d.Upstream {
		if e.Depth == 1 && e.Calls > 0 {
			up[bare(e.Src)] += float64(e.Calls)
		}
		if n := matching(a.t, a.c, e.KFL); e.Calls > 0 && n != e.Calls {
			a.t.Errorf("%s to %s: %d calls, but %d for %s", e.Src, e.Dst, e.Calls, n, e.KFL)
		}
	}
	for _, e := range d.Downstream {
		if e.Depth == 1 && e.Calls > 0 && e.Protocols[0] != "dns" {
			down[bare(e.Dst)] += float64(e.Calls)
		}
	}
	return d, up, down
}

func TestWhatAServiceDependsOn(t *testing.T) {
	planted(t, 11, func(a *asked) {
		d, _, down := depend(a, servicemap.DependenciesIn{Service: a.arg("service")})
		a.groups("dependencies", down, false)
		failed := map[string]float64{}
		var bad []string
		for _, e := range d.Downstream {
			if e.Depth == 1 && e.Failed > 0 {
				failed[bare(e.Dst)] = float64(e.Failed)
			}
			if e.Depth == 1 && (e.Health == "degraded" || e.Health == "failing") {
				bad = append(bad, e.Dst)
			}
		}
		a.groups("failures", failed, false)
		a.says("unhealthy", bad)
		if len(bad) != 1 {
			a.t.Errorf("unhealthy: %v", bad)
		}
	})
}

func TestBothWays(t *testing.T) {
	planted(t, 18, func(a *asked) {
		_, up, down := depend(a, servicemap.DependenciesIn{Service: a.arg("service")})
		a.groups("inbound", up, false)
		a.groups("outbound", down, false)
	})
}

func TestBlastRadius(t *testing.T) {
	planted(t, 20, func(a *asked) {
		d, up, _ := depend(a, servicemap.DependenciesIn{Service: a.arg("service"), Blast: true})
		a.groups("direct", up, false)
		a.says("direct_names", d.Direct)
		a.says("indirect", d.Transitive)
		if d.Blast == nil || len(d.Blast.Endpoints) == 0 || d.Blast.Explained == 0 {
			a.t.Fatalf("blast radius %+v", d.Blast)
		}
		for _, e := range d.Blast.Endpoints {
			if e.Touching > e.Calls || e.Touching == 0 || len(e.CallIDs) == 0 {
				a.t.Errorf("%+v", e)
			}
		}
	})
}

func TestBypassedLayer(t *testing.T) {
	planted(t, 22, func(a *asked) {
		d, _, _ := depend(a, servicemap.DependenciesIn{Service: a.arg("database"), Via: a.arg("layer")})
		got := map[string]float64{}
		for _, b := range d.Bypass {
			got[bare(b.Client)] = float64(b.Calls)
		}
		if want := a.fact("who").Groups; len(want) != len(got) {
			a.t.Errorf("who: %v, want %v", got, want)
		}
		for name, n := range a.fact("who").Groups {
			if got[name] < n {
				a.t.Errorf("%s: %v statements, want %v at least", name, got[name], n)
			}
		}
	})
}

func TestDependenciesRejectInvalidInput(t *testing.T) {
	c := open(t, "dns.pcap")
	for _, in := range []servicemap.DependenciesIn{{}, {Service: "x", Depth: -1}, {Service: "x", Depth: 11}} {
		if _, err := servicemap.AskDependencies(ctx, c, in); err == nil {
			t.Errorf("%+v is accepted", in)
		}
	}
	d := put(t, c, "get_dependencies", `{"service": "nobody", "blast_radius": true, "via": "nothing"}`)
	if notes, _ := d["notes"].([]any); len(notes) != 3 || d["matched"] != "nothing_matched" {
		t.Errorf("nobody: %+v", d)
	}
}
