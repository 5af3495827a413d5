package ask_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/compare"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// scanned is a network in which a client tries two hosts and calls a third.
func scanned() *traffic.Capture {
	var w traffic.Capture
	for i := range 3 {
		at := time.Duration(i) * time.Second
		w.Attempt(at, "10.0.0.1", "10.0.0.7:22", true)
		w.Attempt(at+time.Millisecond, "10.0.0.1", "10.0.0.8:443", false)
		w.Attempt(at+2*time.Millisecond, "10.0.0.1", "203.0.113.9:25", i == 0)
	}
	w.Exchange(0, time.Millisecond, "open", "10.0.0.1", "10.0.0.9:80", "GET / HTTP/1.1\r\nHost: open\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	return &w
}

// TestScannedHostIsNoService describes hosts that accepted no connection.
func TestScannedHostIsNoService(t *testing.T) {
	c := asktest.OpenMade(t, scanned())
	for _, tt := range []struct{ host, want string }{
		{"10.0.0.7", "10.0.0.7 is not shown to be a service: 3 connections to it (tcp/22), 3 refused; none was accepted"},
		{"10.0.0.8", "10.0.0.8 is not shown to be a service: 3 connections to it (tcp/443), 3 not answered; none was accepted"},
		{"203.0.113.9", "203.0.113.9 is not shown to be a service: 3 connections to it (tcp/25), 1 refused, 2 not answered; none was accepted"},
		{"10.0.0.9", "10.0.0.9 got 1 call (0 failed) from 10.0.0.1, mostly GET /"},
		{"10.0.0.1", "10.0.0.1 got no readable calls; it asks 10.0.0.9 (GET /)"},
	} {
		s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: tt.host}))
		if s.What != tt.want || s.Matched != "some" {
			t.Errorf("%s: %q, matched %s; want %q", tt.host, s.What, s.Matched, tt.want)
		}
		if len(s.Replicas) > 0 {
			t.Errorf("%s: replicas %v, although no pod is known", tt.host, s.Replicas)
		}
	}
	if s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: "10.0.0.200"})); s.What != "" || s.Matched != "nothing_matched" {
		t.Errorf("a host that was not seen: %q, matched %s", s.What, s.Matched)
	}
}

// TestUnansweredDatagramsAreSent describes a host that answered no call.
func TestUnansweredDatagramsAreSent(t *testing.T) {
	var w traffic.Capture
	w.Datagram(0, "10.0.0.1", "10.0.0.53:53", question)
	w.Ping(time.Minute, "10.0.0.1", "10.0.0.2", true)
	c := asktest.OpenMade(t, &w)
	s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: "10.0.0.53"}))
	if want := "10.0.0.53 was sent 1 call by 10.0.0.1 and answered none"; s.What != want {
		t.Errorf("%q, want %q", s.What, want)
	}
}

// question is a DNS query for the address of a.test.
const question = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01"

// TestServiceListHasNoScannedHosts looks at the lists of services.
func TestServiceListHasNoScannedHosts(t *testing.T) {
	c := asktest.OpenMade(t, scanned())
	o := asktest.Must[*servicemap.Overview](t)(servicemap.AskOverview(ctx, c, servicemap.OverviewIn{}, nil))
	var names []string
	for _, n := range o.Services {
		names = append(names, n.Name)
	}
	if want := []string{"10.0.0.9", "10.0.0.1"}; !slices.Equal(names, want) {
		t.Errorf("services %v, want %v", names, want)
	}
	text := strings.Join(o.Summary, "\n")
	for _, want := range []string{"on 10 connections, of which 9 were refused or not answered.", "Hosts that accepted none of the connections to them: 10.0.0.7, 10.0.0.8, 203.0.113.9."} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
	m := asktest.Must[*servicemap.ServiceMap](t)(servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{}))
	seen := map[string]string{}
	for _, n := range m.Nodes {
		seen[n.Name] = n.Seen
	}
	if seen["10.0.0.7"] != "3 connections to it, none accepted" || seen["10.0.0.9"] != "" || seen["10.0.0.1"] != "" {
		t.Errorf("nodes %q", seen)
	}
	e := asktest.Must[*servicemap.External](t)(servicemap.AskExternal(ctx, c, servicemap.ExternalIn{}))
	if want := "0 external destinations were called.\n1 more accepted no connection: 203.0.113.9."; !strings.HasPrefix(strings.Join(e.Summary, "\n"), want) {
		t.Errorf("%q, want %q", e.Summary, want)
	}
}

// TestOverviewWithoutCallsIsNotEmpty looks at captures without calls.
func TestOverviewWithoutCallsIsNotEmpty(t *testing.T) {
	var w traffic.Capture
	w.Attempt(0, "10.0.0.1", "10.0.0.7:22", true)
	c := asktest.OpenMade(t, &w)
	o := asktest.Must[*servicemap.Overview](t)(servicemap.AskOverview(ctx, c, servicemap.OverviewIn{}, nil))
	if o.Matched != "some" || !strings.HasSuffix(o.Summary[0], ": no calls, on 1 connection, of which 1 was refused or not answered.") {
		t.Errorf("matched %s, %q", o.Matched, o.Summary)
	}
}

// TestFailureCountsTellDatagrams asks the questions that count failures about a datagram without an answer.
func TestFailureCountsTellDatagrams(t *testing.T) {
	var w traffic.Capture
	w.Datagram(0, "10.0.0.1", "10.0.0.53:53", question)
	w.Ping(time.Minute, "10.0.0.1", "10.0.0.2", true)
	c := asktest.OpenMade(t, &w)
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{}))
	if f.Datagrams != 1 {
		t.Errorf("%d unanswered datagrams, want 1", f.Datagrams)
	}
	s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: "10.0.0.53"}))
	p := asktest.Must[*compare.Answer](t)(compare.Ask(ctx, c, compare.In{}))
	d := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: "10.0.0.53"}))
	m := asktest.Must[*servicemap.ServiceMap](t)(servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{Service: "10.0.0.53"}))
	for name, notes := range map[string][]string{"find_failures": f.Notes, "describe_service": s.Notes, "compare_periods": p.Notes, "get_dependencies": d.Notes, "get_service_map": m.Notes} {
		if text := strings.Join(notes, "\n"); !strings.Contains(text, "1 unanswered request was a datagram: packets do not show when the caller gave up") {
			t.Errorf("%s does not note it:\n%s", name, text)
		}
	}
}

// TestDatagramsOfOtherServices counts only those on the way to or from the service, each once.
func TestDatagramsOfOtherServices(t *testing.T) {
	var w traffic.Capture
	w.Datagram(0, "10.0.0.1", "10.0.0.53:53", question)
	w.Datagram(0, "10.0.0.53", "10.0.0.1:53", question)
	w.Datagram(0, "10.0.0.3", "10.0.0.54:53", question)
	w.Ping(time.Minute, "10.0.0.1", "10.0.0.2", true)
	c := asktest.OpenMade(t, &w)
	d := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: "10.0.0.53"}))
	m := asktest.Must[*servicemap.ServiceMap](t)(servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{}))
	for n, notes := range map[string][]string{"2 unanswered requests were datagrams": d.Notes, "3 unanswered requests were datagrams": m.Notes} {
		if text := strings.Join(notes, "\n"); !strings.Contains(text, n) {
			t.Errorf("no %s in\n%s", n, text)
		}
	}
}

// TestScanIsOneRow lists the failed connections of a scan.
func TestScanIsOneRow(t *testing.T) {
	var w traffic.Capture
	for port := range 11 {
		w.Attempt(time.Duration(port)*time.Millisecond, "10.0.0.1", fmt.Sprint("10.0.0.7:", 20+port), true)
	}
	w.Attempt(time.Second, "10.0.0.1", "10.0.0.8:22", true)
	c := asktest.OpenMade(t, &w)
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{}))
	if len(f.Connections) != 2 || f.Connections[0].Port != nil || f.Connections[0].Ports != 11 || f.Connections[0].Connections != 11 || f.Connections[1].Port == nil || *f.Connections[1].Port != 22 || f.Connections[1].Ports != 0 {
		t.Errorf("%+v", f.Connections)
	}
	if len(f.Connections[0].FlowIDs) != 3 {
		t.Errorf("flows %v, want 3", f.Connections[0].FlowIDs)
	}
}

// TestICMPErrorsAreNoCallsInWords describes a host that reports an error about a client's datagram.
func TestICMPErrorsAreNoCallsInWords(t *testing.T) {
	var w traffic.Capture
	w.Unreachable(0, "10.0.0.9", "203.0.113.1")
	c := asktest.OpenMade(t, &w)
	s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: "10.0.0.9"}))
	if s.What != "10.0.0.9 had no readable calls" {
		t.Errorf("%q", s.What)
	}
	if note, want := ask.UnknownName(ctx, c, "(outside)"), "(outside) stands for outside addresses without a name: the recording has none"; note != want {
		t.Errorf("%q, want %q", note, want)
	}
}
