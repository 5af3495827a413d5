package failures_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestICMPErrorsBlameNobodyWhoReports has errors about the packets of a client. Neither the host nor the client fails by them:
// every face shows them as attempts of the client at the host.
func TestICMPErrorsBlameNobodyWhoReports(t *testing.T) {
	var w traffic.Capture
	const client, host = "10.0.0.1", "10.0.0.9"
	w.Ping(0, client, "10.0.0.2", true)
	for i := range 5 {
		w.Unreachable(time.Duration(i)*time.Second, host, client)
	}
	c := asktest.OpenMade(t, &w)
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{}))
	if f.Total != 0 || len(f.Groups) != 0 || len(f.ICMP) != 1 {
		t.Fatalf("%d failed, %+v, %+v", f.Total, f.Groups, f.ICMP)
	}
	x := f.ICMP[0]
	if x.Src != client || x.Dst != host || x.Protocol != "udp" || *x.Port != 54 || x.Reports != 5 || !slices.Equal(x.By, []string{host}) || x.What != "destination_unreachable port_unreachable" || len(x.CallIDs) != 3 {
		t.Errorf("%+v", x)
	}
	for _, row := range []struct {
		service, client string
		errors          int
	}{{host, "", 1}, {client, "", 0}, {"", client, 1}, {"", host, 0}, {"10.0.0.*", "", 1}, {"nobody", "", 0}} {
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{Service: row.service, Client: row.client}))
		if len(f.ICMP) != row.errors {
			t.Errorf("to %q from %q: %+v", row.service, row.client, f.ICMP)
		}
	}
	o := asktest.Must[*servicemap.Overview](t)(servicemap.AskOverview(ctx, c, servicemap.OverviewIn{}, nil))
	if o.Failed != 0 || len(o.Failures) != 0 || len(o.ICMP) != 1 || o.ICMP[0].Dst != host {
		t.Errorf("the overview has %d failures, %+v, %+v", o.Failed, o.Failures, o.ICMP)
	}
	r, err := c.Query(ctx, forensics.Query{KFL: "icmp and failed", Count: true})
	if err != nil || r.Rows[0][0] != int64(0) {
		t.Errorf("KFL has %v, %v", r.Rows, err)
	}
	d := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: host}))
	for _, s := range append(d.Upstream, d.Downstream...) {
		if s.Failed > 0 {
			t.Errorf("dependencies have %+v", s)
		}
	}
}

// TestResponsesThatBrokeOffSayWhy has a response of 200 whose body stops, and a later call.
func TestResponsesThatBrokeOffSayWhy(t *testing.T) {
	var w traffic.Capture
	get := traffic.HTTP("GET /a HTTP/1.1", "Host: a", "")
	w.Exchange(0, time.Millisecond, "silent", "10.0.0.1", "10.0.0.2:80", get, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	w.Exchange(2*time.Hour, time.Millisecond, "later", "10.0.0.1", "10.0.0.2:80", get, traffic.HTTP("HTTP/1.1 200 OK", "", "whole"))
	c := asktest.OpenMade(t, &w)
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{}))
	if len(f.Groups) != 1 || f.Groups[0].Status != "200 OK, timeout" || len(f.Causes) != 1 || f.Causes[0].Status != "200 OK, timeout" {
		t.Errorf("%+v, %+v; want the status 200 OK, timeout", f.Groups, f.Causes)
	}
	o := asktest.Must[*servicemap.Overview](t)(servicemap.AskOverview(ctx, c, servicemap.OverviewIn{}, nil))
	if len(o.Failures) != 1 || o.Failures[0].Status != "200 OK, timeout" {
		t.Errorf("the overview has %+v", o.Failures)
	}
}

// TestEveryConnectionAndReportHasAClass has attempts that were refused and attempts that nobody answered, without a call. The
// lists for the classes add up to those for all.
func TestEveryConnectionAndReportHasAClass(t *testing.T) {
	var w traffic.Capture
	w.Exchange(0, time.Millisecond, "ok", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "yes"))
	for i := range 3 {
		w.Attempt(time.Duration(i+1)*time.Second, "10.0.0.1", "10.0.0.3:5432", true)
	}
	w.Attempt(5*time.Second, "10.0.0.1", "10.0.0.4:5432", false)
	w.Unreachable(6*time.Second, "10.0.0.5", "10.0.0.1")
	w.Attempt(20*time.Second, "10.0.0.1", "10.0.0.3:5432", true)
	c := asktest.OpenMade(t, &w)
	for class, want := range map[string][2]int64{"": {5, 1}, "refused": {4, 1}, "no_answer": {1, 0}, "5xx": {}} {
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{Class: class}))
		var got [2]int64
		for _, x := range f.Connections {
			got[0] += x.Connections
		}
		for _, x := range f.ICMP {
			got[1] += x.Reports
		}
		if got != want {
			t.Errorf("class %q: %d connections and reports, want %d", class, got, want)
		}
	}
}

// TestRefusalsAreNoTimeouts has failures that all take 150 ms: those of a gateway may be timeouts, refused logins are not.
func TestRefusalsAreNoTimeouts(t *testing.T) {
	var w traffic.Capture
	for i := range 5 {
		for path, status := range map[string]string{"/gateway": "504 Gateway Timeout", "/login": "401 Unauthorized", "/slow": "408 Request Timeout"} {
			w.Exchange(time.Duration(i)*time.Second, 150*time.Millisecond, path, "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET "+path+" HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 "+status, "", "no"))
		}
	}
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, asktest.OpenMade(t, &w), failures.In{}))
	if len(f.Groups) != 3 {
		t.Fatalf("%+v", f.Groups)
	}
	for _, g := range f.Groups {
		if (g.Limit == "") != (g.Endpoint == "GET /login") {
			t.Errorf("%s %s: limit %q", g.Endpoint, g.Status, g.Limit)
		}
	}
}

// TestFailuresSayWhatArrived has the same request without an answer in four ways: the failures are four groups.
func TestFailuresSayWhatArrived(t *testing.T) {
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, asktest.OpenMade(t, traffic.Fates()), failures.In{}))
	var got []string
	for _, g := range f.Groups {
		got = append(got, g.Delivery)
	}
	if want := []string{"not delivered", "delivered and not answered", "delivery unknown", "answered too late"}; f.Total != 4 || !slices.Equal(got, want) {
		t.Errorf("%d failed calls, %q, want %q", f.Total, got, want)
	}
	if got, want := ask.FateWords(f.Unanswered), "1 not delivered, 1 delivered and not answered, 1 answered too late, 1 delivery unknown"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !slices.ContainsFunc(f.Notes, func(n string) bool {
		return strings.HasPrefix(n, "1 response was sent and never acknowledged")
	}) {
		t.Errorf("no note about the response that did not arrive in %q", f.Notes)
	}
}

// TestTimeouts has failures that all took the same time, and waits without a response. Only waits that end after one time
// without a response are a timeout; responses that came after 215 to 227 ms, or all after 220 ms, are none.
func TestTimeouts(t *testing.T) {
	var w asktest.Made
	bad := asktest.Answer("502 Bad Gateway", `{"error":"x"}`)
	for i := range 12 {
		at := time.Duration(i) * 10 * time.Second
		w.Single(at, time.Duration(215+i)*time.Millisecond, "10.0.0.1", "10.0.0.2", asktest.Get("/spread"), bad)
		w.Single(at+time.Second, 220*time.Millisecond, "10.0.0.1", "10.0.0.2", asktest.Get("/same"), bad)
		w.Single(at+2*time.Second, time.Duration(500+i%2)*time.Millisecond, "10.0.0.1", "10.0.0.2", asktest.Get("/gone"), "")
		w.Single(at+3*time.Second, time.Duration(300+40*i)*time.Millisecond, "10.0.0.1", "10.0.0.2", asktest.Get("/impatient"), "")
		// A gateway waits 700 ms for a server that does not answer, then answers.
		id := fmt.Sprintf("X-Request-Id: 7b0c1e52-%04d-4d11-9a3e-1f2e3d4c5b6a", i)
		w.Single(at+4*time.Second, 702*time.Millisecond, "10.0.0.1", "10.0.0.3", asktest.Get("/gateway", id), bad)
		w.Single(at+4*time.Second+time.Millisecond, 700*time.Millisecond, "10.0.0.3", "10.0.0.4", asktest.Get("/deep", id), "")
	}
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, w.Open(t), failures.In{}))
	want := map[string]string{"GET /spread": "", "GET /same": "", "GET /impatient": "",
		"GET /gone":    "without a response, likely a timeout of 500 ms",
		"GET /deep":    "without a response, likely a timeout",
		"GET /gateway": "likely a timeout: a call below got no response"}
	for _, g := range f.Groups {
		if text, ok := want[g.Endpoint]; !ok || (text == "") != (g.Limit == "") || !strings.Contains(g.Limit, text) {
			t.Errorf("%s %s: limit %q, want %q", g.Endpoint, g.Status, g.Limit, text)
		}
		delete(want, g.Endpoint)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
