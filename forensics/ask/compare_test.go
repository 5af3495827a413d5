package ask_test

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/compare"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
)

func TestTodayAgainstYesterday(t *testing.T) {
	planted(t, 10, func(a *asked) {
		c := must[*compare.Answer](a.t)(compare.Ask(ctx, a.c, compare.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}, Service: a.arg("service")}))
		a.is("today", float64(c.Period.Calls)-pings(a, a.arg("from"), a.arg("to"), "0"))
		a.is("yesterday", float64(c.Baseline.Calls)-pings(a, a.arg("from"), a.arg("to"), "1"))
		a.is("errors_today", float64(c.Period.Failed))
		a.is("errors_yesterday", float64(c.Baseline.Failed))
		found := false
		for _, n := range c.New {
			found = found || n.Kind == "status" && strings.HasSuffix(n.What, " 404") && len(n.CallIDs) > 0
		}
		if !found {
			a.t.Errorf("the new status is not reported: %+v", c.New)
		}
	})
}

// pings counts the pings of the broker to a service in a window, some days earlier: no service logs
// them.
func pings(a *asked, from, to, days string) float64 {
	a.t.Helper()
	r := must[*forensics.Result](a.t)(a.c.Query(ctx, forensics.Query{SQL: `SELECT count(*) FROM calls WHERE protocol = 'nats' AND method = 'PING' AND dst_service = '` + a.arg("service") +
		`' AND ts >= TIMESTAMP '` + strings.TrimSuffix(from, "Z") + `' - INTERVAL ` + days + ` DAY AND ts < TIMESTAMP '` + strings.TrimSuffix(to, "Z") + `' - INTERVAL ` + days + ` DAY`}))
	n, _ := r.Rows[0][0].(int64)
	return float64(n)
}

func TestWhatChanged(t *testing.T) {
	planted(t, 30, func(a *asked) {
		in := compare.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}, BaselineFrom: a.arg("against_from"), BaselineTo: a.arg("against_to"), Service: a.arg("service")}
		c := must[*compare.Answer](a.t)(compare.Ask(ctx, a.c, in))
		a.is("today", float64(c.Period.Calls))
		a.is("yesterday", float64(c.Baseline.Calls))
		ch := c.Services[0]
		a.is("today_ms", ch.P50Ms[1])
		a.is("yesterday_ms", ch.P50Ms[0])
		if strings.Join(ch.Changed, " ") != "slower" || *ch.LatencyP > 0.001 || *ch.Slower < 0.9 {
			a.t.Errorf("%+v", ch)
		}
	})
}

func TestLatencyOfTwoDays(t *testing.T) {
	planted(t, 33, func(a *asked) {
		in := compare.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 200}, BaselineFrom: a.arg("against_from"), BaselineTo: a.arg("against_to")}
		c := must[*compare.Answer](a.t)(compare.Ask(ctx, a.c, in))
		got := map[string]float64{}
		var slower []compare.Change
		for _, ch := range c.Endpoints {
			if len(ch.P50Ms) == 2 {
				got[bare(ch.Dst)+" "+ch.Endpoint] = ch.P50Ms[1] - ch.P50Ms[0]
			}
			if strings.Contains(strings.Join(ch.Changed, " "), "slower") {
				slower = append(slower, ch)
			}
		}
		a.groups("change", got, true)
		a.says("slower", slower)
	})
}

func TestNewDestination(t *testing.T) {
	planted(t, 15, func(a *asked) {
		in := compare.In{Scope: ask.Scope{From: a.arg("baseline_to")}, BaselineFrom: "2026-03-05T00:00:00Z", BaselineTo: a.arg("baseline_to"), Client: a.arg("service")}
		first, _, _ := a.c.Window()
		_ = first
		in.From = strings.Replace(a.arg("baseline_to"), ":00Z", ":00.000000001Z", 1)
		c := must[*compare.Answer](a.t)(compare.Ask(ctx, a.c, in))
		a.says("destination", c.New)
		for _, n := range c.New {
			if n.Kind == "destination" {
				a.is("calls", float64(n.Calls))
			}
		}
	})
}

func TestNoChangeIsNone(t *testing.T) {
	c := open(t, "http1.pcapng")
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
	c := open(t, "shop.pcapng")
	a := must[*compare.Answer](t)(compare.Ask(ctx, c, compare.In{Shift: "24h"}))
	if a.Period.Calls == 0 || a.Baseline.Coverage.State != "none" || len(a.Services)+len(a.Endpoints)+len(a.New)+len(a.Vanished) > 0 {
		t.Errorf("%+v", a)
	}
	if len(a.Verdict) != 1 || !strings.HasPrefix(a.Verdict[0], "The baseline was not recorded") {
		t.Errorf("%q", a.Verdict)
	}
	if halves := must[*compare.Answer](t)(compare.Ask(ctx, c, compare.In{})); len(halves.Services) == 0 {
		t.Errorf("the halves of the recording are not compared: %+v", halves)
	}
}

// TestBlastRadiusThatIsUnknownHasNoZeros asks for the blast radius of servers whose callers serve nothing, or of nobody.
func TestBlastRadiusThatIsUnknownHasNoZeros(t *testing.T) {
	c := open(t, "socks.pcapng")
	for _, service := range []string{"10.1.28.20", "10.1.28.5"} {
		d := must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: service, Blast: true}))
		if d.Blast != nil || !strings.Contains(strings.Join(d.Notes, "\n"), "blast radius") {
			t.Errorf("%s: %+v, %q", service, d.Blast, d.Notes)
		}
	}
}
