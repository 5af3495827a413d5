package latency_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
)

// TestChainsOfRequestsAtOnce has parallel requests at one service, each with its own request id. By
// time alone, calls of the slow requests would be linked to others.
func TestChainsOfRequestsAtOnce(t *testing.T) {
	for _, header := range []string{"X-Request-Id: r%d\r\n", "traceparent: 00-%032x-00f067aa0ba902b7-01\r\n"} {
		w := &asktest.Made{}
		for i := range 6 {
			at, id := float64(i)*500, i+1
			own := fmt.Sprintf(header, id)
			other := fmt.Sprintf(header, 100+id)
			w.HTTP(at, 100, fmt.Sprint("slow", i), 1, 2, "GET /slow", own, "", "200 OK", asktest.JSON, "{}")
			w.HTTP(at+5, 94, fmt.Sprint("quick", i), 3, 2, "GET /other", other, "", "200 OK", asktest.JSON, "{}") // open the whole time, begun later
			w.HTTP(at+10, 80, fmt.Sprint("store", i), 2, 4, "GET /stock", own, "", "200 OK", asktest.JSON, "{}")
			w.HTTP(at+20, 70, fmt.Sprint("disk", i), 4, 5, "GET /blocks", own, "", "200 OK", asktest.JSON, "{}")
		}
		c := w.Open(t)
		l := asktest.Must[*latency.Answer](t)(latency.Ask(ctx, c, latency.In{Path: "/slow", Parts: []string{"chain"}}))
		if l.Chain.Requests != 6 || !strings.Contains(l.Chain.Most, "/blocks") || len(l.Chain.Hops) != 3 {
			t.Errorf("%s: %+v", header, l.Chain)
		}
		for _, h := range l.Chain.Hops {
			if h.Calls != 6 || h.Confidence != "exact" {
				t.Errorf("%s: %+v", header, h)
			}
		}
	}
}

// TestAChainContinuesDespiteShortRequests has health checks that begin and end while a request is
// being served.
func TestAChainContinuesDespiteShortRequests(t *testing.T) {
	w := &asktest.Made{}
	for i := range 4 {
		at := float64(i) * 500
		w.HTTP(at, 100, fmt.Sprint("slow", i), 1, 2, "GET /slow", "", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(at+5, 2, fmt.Sprint("health", i), 3, 2, "GET /healthz", "", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(at+20, 70, fmt.Sprint("store", i), 2, 4, "GET /stock", "", "", "200 OK", asktest.JSON, "{}")
	}
	l := asktest.Must[*latency.Answer](t)(latency.Ask(ctx, w.Open(t), latency.In{Path: "/slow", Parts: []string{"chain"}}))
	if len(l.Chain.Hops) != 2 || !strings.Contains(l.Chain.Most, "/stock") {
		t.Errorf("%+v", l.Chain)
	}
}
