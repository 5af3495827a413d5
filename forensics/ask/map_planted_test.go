package ask_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/worker"
)

// truth is the ground truth of samples/questions.
type truth struct {
	Questions []struct {
		Number    int                        `json:"number"`
		Arguments map[string]json.RawMessage `json:"arguments"`
		Facts     []fact                     `json:"facts"`
	} `json:"questions"`
}

type fact struct {
	ID        string             `json:"id"`
	Value     float64            `json:"value"`
	Tolerance float64            `json:"tolerance"`
	Strings   []string           `json:"strings"`
	Groups    map[string]float64 `json:"groups"`
	Rows      []struct {
		Path      string    `json:"path"`
		At        time.Time `json:"at"`
		Done      time.Time `json:"done"`
		RequestID string    `json:"request_id"`
	} `json:"rows"`
}

// asked is one question of the ground truth.
type asked struct {
	t     *testing.T
	c     *forensics.Case
	args  map[string]json.RawMessage
	facts map[string]fact
}

// shared are the cases that tests only ask, each opened once.
var shared struct {
	dir   string
	cases map[string]*forensics.Case
}

func TestMain(m *testing.M) {
	worker.Main()
	dir, err := os.MkdirTemp("", "pcapsule-ask-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared.dir, shared.cases = dir, map[string]*forensics.Case{}
	code := m.Run()
	for _, c := range shared.cases {
		c.Close()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// share opens a bundle of captures as one case, once for all tests.
func share(t testing.TB, name string, captures []string, o exporter.Options) *forensics.Case {
	t.Helper()
	if c := shared.cases[name]; c != nil {
		return c
	}
	dir := filepath.Join(shared.dir, name+".pcapsule")
	o.Release, o.Repanic = "test", true
	if _, err := exporter.Run(ctx, captures, dir, o); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{dir}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	shared.cases[name] = c
	return c
}

// plantedCase is the case of a scenario.
func plantedCase(t testing.TB, scenario string) *forensics.Case {
	t.Helper()
	from := filepath.Join("..", "..", "samples", "questions", scenario)
	captures, err := filepath.Glob(filepath.Join(from, "*.pcapng.zst"))
	if err != nil || len(captures) == 0 {
		t.Fatalf("no captures in %s: %v", from, err)
	}
	keys, err := filepath.Glob(filepath.Join(from, "*.keys"))
	if err != nil {
		t.Fatal(err)
	}
	return share(t, scenario, captures, exporter.Options{Keys: keys})
}

// planted runs a test on a question of both scenarios.
func planted(t *testing.T, number int, check func(a *asked)) {
	for _, scenario := range []string{"default", "other"} {
		t.Run(scenario, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", "samples", "questions", scenario, "truth.json"))
			if err != nil {
				t.Fatal(err)
			}
			var all truth
			if err := json.Unmarshal(text, &all); err != nil {
				t.Fatal(err)
			}
			c := plantedCase(t, scenario)
			for _, q := range all.Questions {
				if q.Number == number {
					a := &asked{t: t, c: c, args: q.Arguments, facts: map[string]fact{}}
					for _, f := range q.Facts {
						a.facts[f.ID] = f
					}
					check(a)
					return
				}
			}
			t.Fatalf("no question %d", number)
		})
	}
}

func (a *asked) arg(name string) string {
	var s string
	if err := json.Unmarshal(a.args[name], &s); err != nil {
		a.t.Fatalf("argument %s: %v", name, err)
	}
	return s
}

func (a *asked) list(name string) []string {
	var s []string
	if err := json.Unmarshal(a.args[name], &s); err != nil {
		a.t.Fatalf("argument %s: %v", name, err)
	}
	return s
}

func (a *asked) fact(id string) fact {
	f, ok := a.facts[id]
	if !ok {
		a.t.Fatalf("the truth has no fact %s", id)
	}
	return f
}

// is checks a number against a fact.
func (a *asked) is(id string, got float64) {
	a.t.Helper()
	if f := a.fact(id); math.Abs(got-f.Value) > f.Tolerance+0.005 {
		a.t.Errorf("%s: %v, want %v ± %v", id, got, f.Value, f.Tolerance)
	}
}

// groups checks numbers by name. Other names must be absent, unless part is true.
func (a *asked) groups(id string, got map[string]float64, part bool) {
	a.t.Helper()
	f := a.fact(id)
	for k, want := range f.Groups {
		if math.Abs(got[k]-want) > f.Tolerance+0.005 {
			a.t.Errorf("%s: %s: %v, want %v ± %v", id, k, got[k], want, f.Tolerance)
		}
	}
	for k, n := range got {
		if _, ok := f.Groups[k]; !ok && !part {
			a.t.Errorf("%s: %s: %v, not planted", id, k, n)
		}
	}
}

// says checks that an answer contains the fact's texts.
func (a *asked) says(id string, answer any) {
	a.t.Helper()
	text, err := json.Marshal(answer)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, s := range a.fact(id).Strings {
		if !strings.Contains(string(text), s) {
			a.t.Errorf("%s: the answer does not say %q", id, s)
		}
	}
}

// bare removes the namespace from a name.
func bare(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// whole requests complete lists.
var whole = ask.Scope{Limit: 1000}

func TestReachableFromNamespace(t *testing.T) {
	planted(t, 14, func(a *asked) {
		m := must[*servicemap.ServiceMap](a.t)(servicemap.AskServiceMap(ctx, a.c, servicemap.ServiceMapIn{Scope: whole, FromNamespace: a.arg("namespace")}))
		got := map[string]float64{}
		for _, e := range m.Edges {
			if strings.HasPrefix(e.Src, a.arg("namespace")+"/") && e.CrossesSpace && e.Protocols[0].Protocol != "dns" {
				got[bare(e.Src)+" → "+bare(e.Dst)] += float64(e.Calls)
			}
		}
		a.groups("reached", got, false)
		a.says("names", m.Reachable)
		for _, r := range m.Reachable {
			if strings.HasPrefix(r.Name, a.arg("namespace")+"/") {
				a.t.Errorf("%s is in the namespace itself", r.Name)
			}
		}
	})
}

func TestOverviewOfTheCluster(t *testing.T) {
	planted(t, 23, func(a *asked) {
		o := must[*servicemap.Overview](a.t)(servicemap.AskOverview(ctx, a.c, servicemap.OverviewIn{Scope: whole}))
		a.says("namespaces", o.Namespaces)
		a.says("ingress", o.Ingress)
		a.says("databases", o.Services)
		got := map[string]float64{}
		for _, e := range o.Edges {
			src := bare(e.Src)
			if src == "(outside)" {
				src = "customer"
			}
			for _, p := range e.Protocols {
				if p.Protocol == "http1" || p.Protocol == "http2" {
					got[src+" → "+bare(e.Dst)] += float64(p.Calls)
				}
			}
		}
		a.groups("pairs", got, true)
		small := must[*servicemap.Overview](a.t)(servicemap.AskOverview(ctx, a.c, servicemap.OverviewIn{}))
		if text, _ := json.Marshal(small); len(text) > 24<<10 {
			a.t.Errorf("an overview of %d bytes", len(text))
		}
	})
}

func TestProtocolsInUse(t *testing.T) {
	planted(t, 26, func(a *asked) {
		o := must[*servicemap.Overview](a.t)(servicemap.AskOverview(ctx, a.c, servicemap.OverviewIn{}))
		got := map[string]float64{}
		for _, p := range o.Protocols {
			if p.Example.CallID == "" || p.Example.Packets == "" {
				a.t.Errorf("%s has no example", p.Protocol)
			}
			got[p.Protocol] = float64(p.Calls)
		}
		a.groups("protocols", got, true)
	})
}

func TestWhatATeamOwns(t *testing.T) {
	planted(t, 27, func(a *asked) {
		m := must[*servicemap.ServiceMap](a.t)(servicemap.AskServiceMap(ctx, a.c, servicemap.ServiceMapIn{Scope: whole, Label: a.arg("label") + "=" + a.arg("value")}))
		own := map[string]bool{}
		var names []string
		for _, n := range m.Nodes {
			for _, l := range n.Labels {
				if l == a.arg("label")+"="+a.arg("value") {
					own[n.Name] = true
					names = append(names, n.Name)
				}
			}
		}
		a.says("services", names)
		if len(names) != len(a.fact("services").Strings) {
			a.t.Errorf("%d services: %v", len(names), names)
		}
		got := map[string]float64{}
		for _, e := range m.Edges {
			if own[e.Src] && own[e.Dst] && e.Calls > 0 {
				got[bare(e.Src)+" → "+bare(e.Dst)] += float64(e.Calls)
			}
		}
		a.groups("talk", got, false)
	})
}

func TestMostUsedEndpoints(t *testing.T) {
	planted(t, 24, func(a *asked) {
		o := must[*servicemap.Overview](a.t)(servicemap.AskOverview(ctx, a.c, servicemap.OverviewIn{Scope: ask.Scope{KFL: "http", Limit: 50}}))
		got := map[string]float64{}
		for _, e := range o.Endpoints {
			got[bare(e.Dst)+" "+e.Endpoint] += float64(e.Calls)
			if n := matching(a.t, a.c, e.KFL); n != e.Calls {
				a.t.Errorf("%s %s: %d calls, but %d for %s", e.Dst, e.Endpoint, e.Calls, n, e.KFL)
			}
		}
		a.groups("top", got, true)
	})
}
