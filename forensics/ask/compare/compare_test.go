package compare_test

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/compare"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

func TestTodayAgainstYesterday(t *testing.T) {
	asktest.Planted(t, 10, func(a *asktest.Asked) {
		c := asktest.Must[*compare.Answer](a.T)(compare.Ask(ctx, a.Case, compare.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}, Service: a.Arg("service")}))
		a.Is("today", float64(c.Period.Calls)-pings(a, a.Arg("from"), a.Arg("to"), "0"))
		a.Is("yesterday", float64(c.Baseline.Calls)-pings(a, a.Arg("from"), a.Arg("to"), "1"))
		a.Is("errors_today", float64(c.Period.Failed))
		a.Is("errors_yesterday", float64(c.Baseline.Failed))
		found := false
		for _, n := range c.New {
			found = found || n.Kind == "status" && strings.HasSuffix(n.What, " 404") && len(n.CallIDs) > 0
		}
		if !found {
			a.T.Errorf("the new status is not reported: %+v", c.New)
		}
	})
}

// pings counts the pings of the broker to a service in a window, some days earlier: no service logs
// them.
func pings(a *asktest.Asked, from, to, days string) float64 {
	a.T.Helper()
	r := asktest.Must[*forensics.Result](a.T)(a.Case.Query(ctx, forensics.Query{SQL: `SELECT count(*) FROM calls WHERE protocol = 'nats' AND method = 'PING' AND dst_service = '` + a.Arg("service") +
		`' AND ts >= TIMESTAMP '` + strings.TrimSuffix(from, "Z") + `' - INTERVAL ` + days + ` DAY AND ts < TIMESTAMP '` + strings.TrimSuffix(to, "Z") + `' - INTERVAL ` + days + ` DAY`}))
	n, _ := r.Rows[0][0].(int64)
	return float64(n)
}

func TestWhatChanged(t *testing.T) {
	asktest.Planted(t, 30, func(a *asktest.Asked) {
		in := compare.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}, BaselineFrom: a.Arg("against_from"), BaselineTo: a.Arg("against_to"), Service: a.Arg("service")}
		c := asktest.Must[*compare.Answer](a.T)(compare.Ask(ctx, a.Case, in))
		a.Is("today", float64(c.Period.Calls))
		a.Is("yesterday", float64(c.Baseline.Calls))
		ch := c.Services[0]
		a.Is("today_ms", ch.P50Ms[1])
		a.Is("yesterday_ms", ch.P50Ms[0])
		if strings.Join(ch.Changed, " ") != "slower" || *ch.Latency.P > 0.001 || *ch.Slower < 0.9 {
			a.T.Errorf("%+v", ch)
		}
	})
}

func TestLatencyOfTwoDays(t *testing.T) {
	asktest.Planted(t, 33, func(a *asktest.Asked) {
		in := compare.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 200}, BaselineFrom: a.Arg("against_from"), BaselineTo: a.Arg("against_to")}
		c := asktest.Must[*compare.Answer](a.T)(compare.Ask(ctx, a.Case, in))
		got := map[string]float64{}
		var slower []compare.Change
		for _, ch := range c.Endpoints {
			if len(ch.P50Ms) == 2 {
				got[asktest.Bare(ch.Dst)+" "+ch.Endpoint] = ch.P50Ms[1] - ch.P50Ms[0]
			}
			if strings.Contains(strings.Join(ch.Changed, " "), "slower") {
				slower = append(slower, ch)
			}
		}
		a.Groups("change", got, true)
		a.Says("slower", slower)
	})
}

func TestNewDestination(t *testing.T) {
	asktest.Planted(t, 15, func(a *asktest.Asked) {
		in := compare.In{Scope: ask.Scope{From: a.Arg("baseline_to")}, BaselineFrom: "2026-03-05T00:00:00Z", BaselineTo: a.Arg("baseline_to"), Client: a.Arg("service")}
		first, _, _ := a.Case.Window()
		_ = first
		in.From = strings.Replace(a.Arg("baseline_to"), ":00Z", ":00.000000001Z", 1)
		c := asktest.Must[*compare.Answer](a.T)(compare.Ask(ctx, a.Case, in))
		a.Says("destination", c.New)
		for _, n := range c.New {
			if n.Kind == "destination" {
				a.Is("calls", float64(n.Calls))
			}
		}
	})
}

func TestNoChangeIsNone(t *testing.T) {
	c := asktest.Open(t, "http1.pcapng")
	out, err := compare.Ask(ctx, c, compare.In{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range append(out.Services, out.Endpoints...) {
		for _, word := range ch.Changed {
			if word == "slower" || word == "faster" || strings.HasSuffix(word, "errors") {
				t.Errorf("%s %s: %s: %+v", ch.Dst, ch.Endpoint, word, ch)
			}
		}
	}
	for _, in := range []compare.In{{Shift: "x"}, {Shift: "-1h"}, {BaselineTo: "1h"}, {BaselineFrom: "2020-01-01T00:00:00Z", BaselineTo: "2019-01-01T00:00:00Z"}, {BaselineFrom: "1s"},
		{Shift: "1ns"}, {Scope: ask.Scope{From: "100ms"}, Shift: "50ms"}} {
		if _, err := compare.Ask(ctx, c, in); err == nil {
			t.Errorf("%+v is accepted", in)
		}
	}
}

// TestUnrecordedBaselineIsNotCompared asks for a time before the recording: what the period has is neither more nor new.
func TestUnrecordedBaselineIsNotCompared(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	a := asktest.Must[*compare.Answer](t)(compare.Ask(ctx, c, compare.In{Shift: "24h"}))
	if a.Period.Calls == 0 || a.Baseline.Coverage.State != "none" || len(a.Services)+len(a.Endpoints)+len(a.New)+len(a.Vanished) > 0 {
		t.Errorf("%+v", a)
	}
	if len(a.Verdict) != 1 || !strings.HasPrefix(a.Verdict[0], "The baseline was not recorded") {
		t.Errorf("%q", a.Verdict)
	}
	if halves := asktest.Must[*compare.Answer](t)(compare.Ask(ctx, c, compare.In{})); len(halves.Services) == 0 {
		t.Errorf("the halves of the recording are not compared: %+v", halves)
	}
}

// TestBlastRadiusThatIsUnknownHasNoZeros asks for the blast radius of servers whose callers serve nothing, or of nobody.
func TestBlastRadiusThatIsUnknownHasNoZeros(t *testing.T) {
	c := asktest.Open(t, "socks.pcapng")
	for _, service := range []string{"10.1.28.20", "10.1.28.5"} {
		d := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: service, Blast: true}))
		if d.Blast != nil || !strings.Contains(strings.Join(d.Notes, "\n"), "blast radius") {
			t.Errorf("%s: %+v, %q", service, d.Blast, d.Notes)
		}
	}
}
