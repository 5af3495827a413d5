package service_test

import (
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestNamesOfTheMapAreServices asks about each name of the service map: hosts that are known only by the name that their
// client used, two of them at one address, have their calls too.
func TestNamesOfTheMapAreServices(t *testing.T) {
	var w traffic.Capture
	for i, host := range []string{"shop.example.com", "shop.example.com", "img.example.com", "o'neil.example.com"} {
		w.Exchange(time.Duration(i+1)*time.Second, 3*time.Millisecond, "a"+host, "10.2.0.3", "93.184.216.34:80", traffic.HTTP("GET / HTTP/1.1", "Host: "+host, ""), traffic.HTTP("HTTP/1.1 200 OK", "", "ok"))
	}
	c := asktest.OpenMade(t, &w)
	m := asktest.Must[*servicemap.ServiceMap](t)(servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{}))
	if len(m.Nodes) < 3 {
		t.Fatalf("nodes %+v", m.Nodes)
	}
	for _, n := range m.Nodes {
		s := asktest.Must[*service.Service](t)(service.AskService(ctx, c, service.ServiceIn{Service: n.Name}))
		if s.In.Calls != n.CallsIn || s.Out.Calls != n.CallsOut || s.What == "" || len(s.Notes) > 0 {
			t.Errorf("%s: %d calls received, %d made, %q, notes %q, want %d and %d", n.Name, s.In.Calls, s.Out.Calls, s.What, s.Notes, n.CallsIn, n.CallsOut)
		}
		l := asktest.Must[*service.Timeline](t)(service.AskTimeline(ctx, c, service.TimelineIn{Workload: n.Name, Scope: ask.Scope{From: "1h"}}))
		if l.Calls != n.CallsIn+n.CallsOut {
			t.Errorf("%s: %d calls in its timeline, want %d, notes %q", n.Name, l.Calls, n.CallsIn+n.CallsOut, l.Notes)
		}
	}
}
