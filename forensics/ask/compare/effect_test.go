package compare_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/compare"
)

// plan is planted traffic of two windows of 100 s: calls with their latency and whether they fail.
type plan struct {
	asktest.Made
	random *rand.Rand
	conns  int
}

// add plants n calls to an endpoint in one window. Of them the first failed fail. Latencies are log-normal
// with a spread of 30 %.
func (p *plan) add(window int, client, server byte, path string, n, failed int, ms float64) {
	if p.random == nil {
		p.random = rand.New(rand.NewPCG(1, 2))
	}
	p.conns++
	name := fmt.Sprint("c", p.conns)
	step := 99_000 / float64(n)
	for i := range n {
		status := "200 OK"
		if i < failed {
			status = "503 Service Unavailable"
		}
		took := min(ms*math.Exp(0.3*p.random.NormFloat64()), step*0.9)
		p.HTTP(float64(window*100_000)+float64(i)*step, took, name, client, server, "GET "+path, "", "", status, "text/plain", "x")
	}
}

// compare compares the windows.
func (p *plan) compare(t *testing.T) *compare.Answer {
	t.Helper()
	c := p.Open(t)
	a := asktest.Must[*compare.Answer](t)(compare.Ask(ctx, c, compare.In{}))
	for _, v := range a.Verdict {
		t.Log(v)
	}
	return a
}

// at is the change of an endpoint.
func at(t *testing.T, a *compare.Answer, path string) compare.Change {
	t.Helper()
	for _, e := range a.Endpoints {
		if e.Endpoint == "GET "+path {
			return e
		}
	}
	t.Fatalf("no endpoint %s", path)
	return compare.Change{}
}

// said reports whether a sentence of the verdict has all of some words.
func said(a *compare.Answer, words ...string) bool {
	return slices.ContainsFunc(a.Verdict, func(v string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(v, w) })
	})
}

// TestFewCallsWithLargeEffect has 7 calls and 9: the median rises from 43 to 1500 ms, and failures from 1 to 7.
func TestFewCallsWithLargeEffect(t *testing.T) {
	var p plan
	p.add(0, 1, 2, "/pay", 7, 1, 43)
	p.add(1, 1, 2, "/pay", 9, 7, 1500)
	a := p.compare(t)
	e := at(t, a, "/pay")
	if !slices.Contains(e.Changed, "slower") || e.Latency.State != "changed" || e.Latency.Value < 20 || *e.Latency.Low < 10 || *e.Latency.P > 0.01 {
		t.Errorf("latency: %+v, %q", e.Latency, e.Changed)
	}
	if e.Errors.State == "no_change_seen" || !slices.Contains(append(e.Changed, e.Maybe...), "more_errors") || *e.Errors.Low < 0.05 || *e.Errors.High > 0.9 {
		t.Errorf("errors: %+v, %q, %q", e.Errors, e.Changed, e.Maybe)
	}
	if said(a, "No change") || said(a, "no change seen") || !said(a, "GET /pay", "7 of 9 calls failed, before 1 of 7", "slower: median", "95 % interval") {
		t.Errorf("%q", a.Verdict)
	}
}

// TestFewCallsWithoutEffect has so few calls that a change would not be visible, with and without failures.
func TestFewCallsWithoutEffect(t *testing.T) {
	for _, failed := range [][2]int{{0, 0}, {1, 1}} {
		var p plan
		p.add(0, 1, 2, "/pay", 7, failed[0], 43)
		p.add(1, 1, 2, "/pay", 9, failed[1], 43)
		a := p.compare(t)
		e := at(t, a, "/pay")
		if len(e.Changed)+len(e.Maybe) > 0 || e.Errors.State != "too_few_calls" || *e.Errors.Low > -0.1 || *e.Errors.High < 0.1 {
			t.Errorf("%+v", e)
		}
		if said(a, "o change") || !said(a, "All requests", "too few calls to be sure") || !said(a, "Too few calls to be sure", "any of 1 endpoint") {
			t.Errorf("%q", a.Verdict)
		}
	}
}

// TestManyCallsWithSmallEffect has a difference that is certain and too small to matter.
func TestManyCallsWithSmallEffect(t *testing.T) {
	var p plan
	p.add(0, 1, 2, "/pay", 4000, 80, 10)
	p.add(1, 1, 2, "/pay", 4000, 90, 10.4)
	a := p.compare(t)
	e := at(t, a, "/pay")
	if len(e.Changed)+len(e.Maybe) > 0 || e.Latency.State != "no_change_seen" || e.Errors.State != "no_change_seen" || *e.Latency.P > 0.05 || *e.Latency.Low < 0.98 || *e.Latency.High > 1.1 {
		t.Errorf("%+v %+v", e.Latency, e.Errors)
	}
	if !said(a, "90 of 4000 calls failed, before 80 of 4000 (+0.2 points", "no change seen") || !said(a, "No change seen in latency or failures of 1 endpoint of 1") || said(a, "too few") {
		t.Errorf("%q", a.Verdict)
	}
}

// TestOneEndpointOfFifty has one endpoint that fails often and is slow, while all calls together hardly change.
func TestOneEndpointOfFifty(t *testing.T) {
	var p plan
	for i := range 50 {
		path := fmt.Sprintf("/e%c%c", 'a'+i/10, 'a'+i%10)
		failed, ms := 0, 10.0
		if i == 37 {
			failed, ms = 20, 60
		}
		p.add(0, 1, 2, path, 60, 0, 10)
		p.add(1, 1, 2, path, 60, failed, ms)
	}
	a := p.compare(t)
	if a.Total.Errors.State != "no_change_seen" || a.Total.Latency.State != "no_change_seen" {
		t.Errorf("all calls: %+v %+v", a.Total.Errors, a.Total.Latency)
	}
	if e := a.Endpoints[0]; e.Endpoint != "GET /edh" || strings.Join(e.Changed, " ") != "more_errors slower" {
		t.Errorf("%+v", e)
	}
	if !said(a, "GET /edh: more errors: 20 of 60", "slower") || !said(a, "All requests", "but parts changed") || said(a, "No change seen in latency or failures of 50") {
		t.Errorf("%q", a.Verdict)
	}
	for _, e := range a.Endpoints[1:] {
		if len(e.Changed) > 0 {
			t.Errorf("%s: %q", e.Endpoint, e.Changed)
		}
	}
}

// TestOneClientOfTen has one client whose calls fail. Neither its endpoint nor its server shows it.
func TestOneClientOfTen(t *testing.T) {
	var p plan
	for i := range byte(10) {
		failed := 0
		if i == 3 {
			failed = 30
		}
		p.add(0, 11+i, 2, "/pay", 200, 2, 10)
		p.add(1, 11+i, 2, "/pay", 40, failed, 10)
	}
	a := p.compare(t)
	if a.Pairs[0].Src != "10.0.0.14" || !slices.Contains(a.Pairs[0].Changed, "more_errors") || !said(a, "10.0.0.14 to 10.0.0.2", "more errors: 30 of 4") {
		t.Errorf("%+v, %q", a.Pairs[0], a.Verdict)
	}
	if said(a, "10.0.0.15 to") {
		t.Errorf("pairs whose volume fell as that of all calls are mentioned: %q", a.Verdict)
	}
	if c := asktest.Matching(t, p.Open(t), a.Pairs[0].KFL); c != 240 {
		t.Errorf("%s matches %d calls", a.Pairs[0].KFL, c)
	}
}

// TestMixOfCalls plants Simpson's paradox: each endpoint fails more often, and all calls fail less often,
// because the endpoint that fails often has fewer calls.
func TestMixOfCalls(t *testing.T) {
	var p plan
	p.add(0, 1, 2, "/often", 800, 240, 50)
	p.add(0, 1, 2, "/seldom", 200, 2, 5)
	p.add(1, 1, 2, "/often", 200, 80, 65)
	p.add(1, 1, 2, "/seldom", 800, 40, 6.5)
	a := p.compare(t)
	if strings.Join(a.Total.Changed, " ") != "fewer_errors faster" || !strings.Contains(a.Total.Mix, "in total fewer failures, but more within the endpoints") || !strings.Contains(a.Total.Mix, "in total faster calls, but slower within the endpoints") {
		t.Errorf("%q, %q", a.Total.Changed, a.Total.Mix)
	}
	if !said(a, "All requests", "the mix of calls changed") || !said(a, "GET /often: more errors") || !said(a, "GET /seldom: more errors") {
		t.Errorf("%q", a.Verdict)
	}
}

// TestSlowestCallsAlone has a hundredth of calls that became much slower; their median and ranks hardly show it.
func TestSlowestCallsAlone(t *testing.T) {
	var p plan
	p.add(0, 1, 2, "/pay", 2000, 0, 5)
	p.add(1, 1, 2, "/pay", 1970, 0, 5)
	p.add(1, 9, 2, "/pay", 30, 0, 500)
	a := p.compare(t)
	e := at(t, a, "/pay")
	if strings.Join(e.Changed, " ") != "slowest_slower" || e.Slowest.Calls[1] < 30 || e.Latency.State != "no_change_seen" || !said(a, "slowest calls slower", "took over") {
		t.Errorf("%+v %+v %q", e.Slowest, e.Latency, e.Changed)
	}
}

// TestSlowestCallsBesideNewFastOnes has an endpoint that became slow because it asks for each item alone: of all calls fewer are
// over the old limit, and the slowest are slower.
func TestSlowestCallsBesideNewFastOnes(t *testing.T) {
	var p plan
	p.add(0, 1, 2, "/list", 50, 0, 22)
	p.add(0, 2, 3, "/item", 150, 0, 6)
	p.add(1, 1, 2, "/list", 50, 0, 370)
	p.add(1, 2, 3, "/item", 2650, 0, 6)
	a := p.compare(t)
	if !said(a, "All requests", "most calls faster, the slowest slower") || said(a, "slowest calls faster") || !said(a, "GET /list: slower") {
		t.Errorf("%q", a.Verdict)
	}
}

// TestRetriesShiftTheMix has fast failing retries that lower the median of all calls, while their callers become slower.
func TestRetriesShiftTheMix(t *testing.T) {
	var p plan
	for hop, ms := range []float64{40.8, 19.8, 10.5} {
		p.add(0, byte(hop+1), byte(hop+2), fmt.Sprintf("/hop%d", hop), 750, 0, ms)
	}
	p.add(1, 1, 2, "/hop0", 750, 750, 136)
	p.add(1, 2, 3, "/hop1", 1500, 1500, 54)
	p.add(1, 3, 4, "/hop2", 4500, 4500, 12)
	a := p.compare(t)
	if said(a, "hides in the total") || !said(a, "All requests", "in total faster calls, but slower within the endpoints") {
		t.Errorf("%q", a.Verdict)
	}
}

// TestTheTimeBeforeIsTheBaseline has no recording of the day before.
func TestTheTimeBeforeIsTheBaseline(t *testing.T) {
	var p plan
	p.add(0, 1, 2, "/list", 50, 0, 22)
	p.add(1, 1, 2, "/list", 50, 0, 370)
	a := asktest.Must[*compare.Answer](t)(compare.Ask(ctx, p.Open(t), compare.In{Scope: ask.Scope{From: "100s"}}))
	if a.Baseline.Calls != 50 || a.Period.Calls != 50 || !said(a, "GET /list: slower") {
		t.Errorf("%+v %+v %q", a.Baseline, a.Period, a.Verdict)
	}
}

// TestSameTrafficHasNoChange compares windows with the same traffic many times: chance makes no verdict.
func TestSameTrafficHasNoChange(t *testing.T) {
	var p plan
	for i := range 60 {
		path := fmt.Sprintf("/e%c%c", 'a'+i/10, 'a'+i%10)
		p.add(0, byte(10+i%7), 2, path, 10+3*i, 1+i/10, 10)
		p.add(1, byte(10+i%7), 2, path, 10+3*i, 1+i/10, 10)
	}
	a := p.compare(t)
	for _, list := range [][]compare.Change{a.Services, a.Endpoints, a.Pairs, {*a.Total}} {
		for _, e := range list {
			if len(e.Changed) > 0 || e.Mix != "" {
				t.Errorf("%s %s: %q, %q", e.Src, e.Endpoint, e.Changed, e.Mix)
			}
		}
	}
	if !said(a, "No change seen in", "too few calls to be sure about") {
		t.Errorf("%q", a.Verdict)
	}
}
