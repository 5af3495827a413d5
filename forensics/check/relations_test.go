package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

const ms = time.Millisecond

// twoPods is a service with two pods behind it.
const twoPods = `{"kind":"List","items":[
 {"kind":"Service","metadata":{"name":"front","namespace":"shop","uid":"s1"},"spec":{"clusterIP":"10.96.0.2","clusterIPs":["10.96.0.2"],"selector":{"app":"front"},"ports":[{"port":80}]}},
 {"kind":"Pod","metadata":{"name":"front-1","namespace":"shop","uid":"p1","labels":{"app":"front"}},"spec":{},"status":{"phase":"Running","podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"}]}},
 {"kind":"Pod","metadata":{"name":"front-2","namespace":"shop","uid":"p2","labels":{"app":"front"}},"spec":{},"status":{"phase":"Running","podIP":"10.0.0.5","podIPs":[{"ip":"10.0.0.5"}]}}]}`

// made opens a case from a generated capture, with Kubernetes objects if kube is not empty.
func made(t *testing.T, c *traffic.Capture, kube string) *forensics.Case {
	t.Helper()
	dir := t.TempDir()
	file, out, o := filepath.Join(dir, "made.pcap"), filepath.Join(dir, "made.pcapsule"), exporter.Options{Release: "test", Repanic: true}
	if kube != "" {
		o.Kube = []string{filepath.Join(dir, "kube.json")}
		if err := os.WriteFile(o.Kube[0], []byte(kube), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	if _, err := exporter.Run(ctx, []string{file}, out, o); err != nil {
		t.Fatal(err)
	}
	k, err := forensics.Open(ctx, []string{out}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// children counts the children of each request to a path at another path, as seen by a rule,
// trace_request and get_latency: by call_id of the request, and over all requests.
func children(t *testing.T, c *forensics.Case, path, below string) (rule, traced map[string]int64, hops int64) {
	t.Helper()
	out := run(t, c, nil, fmt.Sprintf("  - {name: x, calls: 'path == \"%s\"', downstream: [{calls: 'path == \"%s\"', min: 100}]}\n", path, below))
	rule, traced = map[string]int64{}, map[string]int64{}
	for _, b := range out.Results[0].Broken {
		n := int64(0)
		if _, err := fmt.Sscan(b.Got, &n); err != nil || b.Call == nil {
			t.Fatalf("%+v", b)
		}
		rule[b.Call.CallID] = n
		// One chain has the call as a step; its children name it as their parent.
		a, err := trace.Ask(ctx, c, trace.In{CallID: b.Call.CallID})
		if err != nil {
			t.Fatal(err)
		}
		traced[b.Call.CallID] = 0
		for _, ch := range a.Chains {
			at := slices.IndexFunc(ch.Steps, func(s trace.Step) bool { return s.CallID == b.Call.CallID })
			if at < 0 {
				continue
			}
			for _, s := range ch.Steps {
				if s.Parent == ch.Steps[at].Step {
					traced[b.Call.CallID]++
				}
			}
		}
	}
	l, err := latency.Ask(ctx, c, latency.In{Path: path, Parts: []string{"chain"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range l.Chain.Hops {
		if h.Depth == 1 {
			hops += h.Calls
		}
	}
	return rule, traced, hops
}

// TestRulesAndChainsSeeTheSameChildren has parallel requests with ids, and a single one. Rules,
// trace_request and get_latency must count the same children for each.
func TestRulesAndChainsSeeTheSameChildren(t *testing.T) {
	var c traffic.Capture
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	get := func(path, id string) string { return traffic.HTTP("GET "+path+" HTTP/1.1", "Host: a"+id, "") }
	want := int64(0)
	for i := range 4 {
		at, id := time.Duration(i)*500*ms, fmt.Sprintf("\r\nX-Request-Id: r%d", i)
		c.Exchange(at, 100*ms, fmt.Sprint("a", i), "10.0.0.1", "10.0.0.2:80", get("/slow", id), ok)
		c.Exchange(at+5*ms, 90*ms, fmt.Sprint("b", i), "10.0.0.3", "10.0.0.2:80", get("/quick", "\r\nX-Request-Id: other"+fmt.Sprint(i)), ok)
		for k := range i + 1 { // later ones have more children
			c.Exchange(at+10*ms+time.Duration(k)*10*ms, 5*ms, fmt.Sprint("c", i), "10.0.0.2", "10.0.0.4:80", get("/stock", id), ok)
			want++
		}
	}
	k := made(t, &c, "")
	rule, traced, hops := children(t, k, "/slow", "/stock")
	sum := int64(0)
	for id, n := range rule {
		if traced[id] != n {
			t.Errorf("call %s: %d in the rule, %d in the chain", id, n, traced[id])
		}
		sum += n
	}
	if len(rule) != 4 || sum != want || hops != want {
		t.Errorf("%d requests, %d children in the rule, %d in the chain of latency, want 4, %d, %[4]d", len(rule), sum, hops, want)
	}
}

// TestRequestsToAServiceLeadToCallsOfItsPods has requests recorded at the client, to the address of
// a service, and the calls of one of the pods behind it.
func TestRequestsToAServiceLeadToCallsOfItsPods(t *testing.T) {
	var c traffic.Capture
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	for i := range 3 {
		at := time.Duration(i) * 500 * ms
		c.Exchange(at, 100*ms, fmt.Sprint("a", i), "10.0.0.1", "10.96.0.2:80", traffic.HTTP("GET /slow HTTP/1.1", "Host: front", ""), ok)
		c.Exchange(at+10*ms, 50*ms, fmt.Sprint("c", i), []string{"10.0.0.2", "10.0.0.5"}[i%2], "10.0.0.4:80", traffic.HTTP("GET /stock HTTP/1.1", "Host: stock", ""), ok)
	}
	rule, traced, hops := children(t, made(t, &c, twoPods), "/slow", "/stock")
	for id, n := range rule {
		if n != 1 || traced[id] != 1 {
			t.Errorf("call %s: %d children in the rule, %d in the chain, want 1", id, n, traced[id])
		}
	}
	if len(rule) != 3 || hops != 3 {
		t.Errorf("%d requests, %d children in the chain of latency", len(rule), hops)
	}
}

// TestRulesAndPatternsSeeTheSameRetries has a request that a client makes four times, and other
// requests to the same path.
func TestRulesAndPatternsSeeTheSameRetries(t *testing.T) {
	var c traffic.Capture
	post := func(body string) string { return traffic.HTTP("POST /pay HTTP/1.1", "Host: a", body) }
	for i := range 4 {
		at := time.Duration(i) * 200 * ms
		c.Exchange(at, 10*ms, fmt.Sprint("a", i), "10.0.0.1", "10.0.0.2:80", post(`{"order":1}`), traffic.HTTP("HTTP/1.1 503 Unavailable", "", ""))
		c.Exchange(at+50*ms, 10*ms, fmt.Sprint("b", i), "10.0.0.1", "10.0.0.2:80", post(fmt.Sprintf(`{"order":%d}`, i+2)), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	k := made(t, &c, "")
	p, err := patterns.Ask(ctx, k, patterns.In{Kinds: []string{"retries"}})
	if err != nil || len(p.Findings) != 1 || p.Findings[0].Count != 3 || len(p.Findings[0].CallIDs) != 4 {
		t.Fatalf("%+v, %v", p, err)
	}
	for n, want := range map[int]check.Status{3: check.Pass, 2: check.Fail, 4: check.Fail} {
		if o := run(t, k, nil, fmt.Sprintf("  - {name: x, calls: 'path == \"/pay\"', retries: {exactly: %d}}\n", n)).Results[0]; o.Status != want {
			t.Errorf("exactly %d: %+v", n, o)
		}
	}
}

// TestAFailedCallWithoutRetryBreaksARule has a request that is retried three times, and others that end otherwise.
func TestAFailedCallWithoutRetryBreaksARule(t *testing.T) {
	for status, want := range map[string]check.Status{"503 Unavailable": check.Fail, "429 Slow Down": check.Fail, "404 Not Found": check.Pass, "200 OK": check.Pass} {
		var c traffic.Capture
		post := func(body string) string { return traffic.HTTP("POST /pay HTTP/1.1", "Host: a", body) }
		for i := range 4 {
			c.Exchange(time.Duration(i)*200*ms, 10*ms, fmt.Sprint("a", i), "10.0.0.1", "10.0.0.2:80", post(`{"order":1}`), traffic.HTTP("HTTP/1.1 503 Unavailable", "", ""))
		}
		c.Exchange(50*ms, 10*ms, "once", "10.0.0.1", "10.0.0.2:80", post(`{"order":2}`), traffic.HTTP("HTTP/1.1 "+status, "", ""))
		o := run(t, made(t, &c, ""), nil, "  - {name: x, calls: 'path == \"/pay\"', retries: {exactly: 3}}\n").Results[0]
		if o.Status != want || want == check.Fail && (len(o.Broken) != 1 || o.More != 0 || o.Broken[0].Call == nil) {
			t.Errorf("%s: %+v", status, o)
		}
	}
}

// TestACacheIsOfAServiceWhateverReplicaAnswers has equal requests to two replicas of one service.
func TestACacheIsOfAServiceWhateverReplicaAnswers(t *testing.T) {
	var c traffic.Capture
	ok := traffic.HTTP("HTTP/1.1 200 OK", "", "")
	for i := range 2 {
		at, pod := time.Duration(i)*500*ms, []string{"10.0.0.2", "10.0.0.5"}[i]
		c.Exchange(at, 100*ms, fmt.Sprint("a", i), "10.0.0.1", pod+":80", traffic.HTTP("GET /slow HTTP/1.1", "Host: front", ""), ok)
		c.Exchange(at+10*ms, 50*ms, fmt.Sprint("c", i), pod, "10.0.0.4:80", traffic.HTTP("GET /stock HTTP/1.1", "Host: stock", ""), ok)
	}
	o := run(t, made(t, &c, twoPods), nil, "  - {name: x, calls: 'path == \"/slow\"', cached: {calls: 'path == \"/stock\"'}}\n").Results[0]
	if o.Status != check.Fail || len(o.Broken) != 1 || o.Broken[0].Call == nil {
		t.Errorf("%+v", o)
	}
}

// TestSchemasHoldForMaskedBodies checks a body in a case that masks one of its values: its other values hold as
// without a mask, and the secret cannot be guessed.
func TestSchemasHoldForMaskedBodies(t *testing.T) {
	var c traffic.Capture
	c.Exchange(0, ms, "a", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("POST /login HTTP/1.1", "Host: a\r\nContent-Type: application/json", `{"user":"ann","password":"q7Xk2mPz9w"}`), traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	masked, err := forensics.Open(t.Context(), []string{made(t, &c, "").Bundles()[0].Path}, forensics.Options{Threads: 2, MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	defer masked.Close()
	for schema, want := range map[string]check.Status{`user: {const: ann}`: check.Pass, `user: {const: bob}`: check.Fail, `password: {pattern: "^q7"}`: check.Fail, `password: {pattern: "^zz"}`: check.Fail} {
		if o := run(t, masked, nil, "  - {name: x, calls: http, request_schema: {properties: {"+schema+"}}}\n").Results[0]; o.Status != want || strings.Contains(fmt.Sprint(o.Broken), "incomplete") {
			t.Errorf("%s: %+v", schema, o)
		}
	}
}

// TestErrorRateSaysWhatArrived has the same request without an answer in four ways.
func TestErrorRateSaysWhatArrived(t *testing.T) {
	got := strings.Join(run(t, made(t, traffic.Fates(), ""), nil, "  - {name: a, calls: http, error_rate: 1%}\n").Results[0].Measured, "; ")
	if want := "4 of 6 calls failed"; !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if want := "; without a response: 1 not delivered, 1 delivered and not answered, 1 answered too late, 1 delivery unknown"; !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
