package snapshots

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// pods records as the recorder of a node with pods.
type pods struct {
	*growing
	faces map[netip.Addr]ring.InterfaceID
}

// pod is a pod with its address.
type pod struct{ namespace, pod, ip string }

var (
	web   = pod{"shop", "web-1", "10.1.0.1"}
	vault = pod{"payments", "vault-1", "10.1.0.2"}
)

func recordPods(t *testing.T, list ...pod) *pods {
	p := &pods{record(t, 1<<20), map[netip.Addr]ring.InterfaceID{}}
	for _, x := range list {
		ip := netip.MustParseAddr(x.ip)
		c := workload.InterfaceComment{Ring: p.w.Ring(), Cgroup: "/kubepods/" + x.pod, How: "cgroup", Addresses: []netip.Addr{ip},
			Identity: workload.Identity{Node: "n", Namespace: x.namespace, Pod: x.pod, PodUID: "uid-" + x.pod}}
		face, err := p.s.Interface(pcapng.Interface{Name: "n/" + x.namespace + "/" + x.pod, Comments: []string{workload.FormatInterfaceComment(c)}})
		if err != nil {
			t.Fatal(err)
		}
		p.faces[ip] = face
	}
	return p
}

// talk records a call to shop, one to payments, and one from shop to payments, each with 5 packets.
func (p *pods) talk(port string) {
	p.t.Helper()
	var c traffic.Capture
	for i, x := range []struct{ from, to, path string }{{"192.0.2.1", "10.1.0.1", "/of-shop"}, {"192.0.2.1", "10.1.0.2", "/of-payments"}, {"10.1.0.1", "10.1.0.2", "/of-both"}} {
		c.Exchange(time.Duration(i)*time.Millisecond, time.Microsecond, x.path, x.from, x.to+port,
			traffic.HTTP("GET "+x.path+" HTTP/1.1", "Host: svc", ""), traffic.HTTP("HTTP/1.1 500 No", "Content-Type: text/plain", "the body "+x.path))
	}
	p.play(&c, 0, 1<<20)
}

// play records packets of a capture, from one to another, now.
func (p *pods) play(c *traffic.Capture, from, to int) {
	p.t.Helper()
	at, no := time.Now().UnixNano(), -1
	c.Packets(func(_ int64, data []byte) {
		if no++; no < from || no >= to {
			return
		}
		at += 1000
		face, ok := p.faces[netip.AddrFrom4([4]byte(data[30:34]))]
		if !ok {
			face = p.faces[netip.AddrFrom4([4]byte(data[26:30]))]
		}
		if err := p.s.Append(&ring.Packet{Interface: face, Time: at, Data: data, OrigLen: uint32(len(data))}); err != nil {
			p.t.Fatal(err)
		}
	})
	p.s.Flush()
}

// asPerson is a client of somebody with rights in some namespaces only.
type asPerson struct{ namespaces string }

func (a asPerson) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(offer.NamespacesHeader, a.namespaces)
	return http.DefaultTransport.RoundTrip(r)
}

// roads are the ways to what is recorded now. Each returns everything that it answers.
var roads = map[string]func(t *testing.T, w *watched, c *http.Client, namespaces []string) string{
	"calls":         ofPath("/mcp/calls?db=live:5m&format=full"),
	"flows":         ofPath("/mcp/flows?db=live:5m&format=full"),
	"sums of flows": ofPath("/mcp/flows/summary?db=live:5m"),
	"workloads":     ofPath("/mcp/resolve/workloads?db=live:5m"),
	"databases":     ofPath("/mcp/databases"),
	"discovery":     ofPath("/mcp"),
	"metrics":       ofPath("/metrics"),
	"packets":       packetsOf,
}

func ofPath(path string) func(*testing.T, *watched, *http.Client, []string) string {
	return func(t *testing.T, w *watched, c *http.Client, _ []string) string {
		res, err := c.Get(w.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// everyTool calls each tool of MCP, with SQL over every table, and reads every resource.
func everyTool(t *testing.T, w *watched, c *http.Client) string {
	t.Helper()
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: w.url + "/mcp", HTTPClient: c, MaxRetries: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var all strings.Builder
	call := func(name string, args map[string]any) {
		if res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: name, Arguments: args}); err == nil {
			raw, _ := json.Marshal(res)
			fmt.Fprintf(&all, "%s %s\n", name, raw)
		}
	}
	tools, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range tools.Tools {
		call(tool.Name, map[string]any{})

	}
	for _, name := range []string{"calls", "bodies", "endpoints", "flows", "connections", "packets", "tls", "tcp_events", "workloads", "clocks", "k8s_events", "os_events", "coverage", "anomalies", "objects", "alerts", "sightings"} {
		call("run_sql", map[string]any{"sql": "select * from " + name, "max_bytes": 1 << 20})
	}
	resources, err := session.ListResources(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resources.Resources {
		if res, err := session.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: r.URI}); err == nil {
			raw, _ := json.Marshal(res)
			all.Write(raw)
		}
	}
	return all.String()
}

// packetsOf exports all packets of a view.
func packetsOf(t *testing.T, w *watched, _ *http.Client, namespaces []string) string {
	paths, err := w.all.Within(namespaces).Live(t.Context(), 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(t.Context(), paths, forensics.Options{Threads: 2, Open: w.all.OpenBundle})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out bytes.Buffer
	r, err := c.Packets(t.Context(), forensics.Selection{Keys: forensics.WithKeys, Comments: forensics.OwnerComments}, &out)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("rows of packets are %d\n%s", r.Packets, out.String())
}

// allWords are in what all people together see.
var allWords = []string{"/of-shop", "/of-payments", "/of-both", "web-1", "vault-1", "payments/", `"payments"`, "10.1.0.2"}

// nothingElse reports words that an answer must not have.
func nothingElse(t *testing.T, text string, may []string) {
	t.Helper()
	for _, word := range allWords {
		if i := strings.Index(text, word); i >= 0 && !slices.Contains(may, word) {
			t.Errorf("it has %q: …%s…", word, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// TestRoadsByNamespaces is every road by people with rights in different namespaces: no answer has anything of another.
func TestRoadsByNamespaces(t *testing.T) {
	if mcp.NamespacesHeader != offer.NamespacesHeader {
		t.Fatal("the hub and the server have other names for the header")
	}
	for _, rows := range nightly.Some([][]string{{"node-a"}, nil}, 1) {
		t.Run(fmt.Sprintf("rows of %q", rows), func(t *testing.T) { roadsByNamespaces(t, rows) })
	}
}

func roadsByNamespaces(t *testing.T, rows []string) {
	a := recordPods(t, web, vault)
	w := watch(t, map[string]*growing{"node-a": a.growing}, rows...)
	a.talk(":80")

	w.await("http", 3)
	people := map[string]struct {
		has     []string
		packets int
		calls   int
	}{
		"shop":          {[]string{"/of-shop", "web-1"}, 5, 1},
		"payments,shop": {allWords, 15, 3},
		"other":         {nil, 0, 0},
	}
	tails := map[string]func() []string{}
	for name := range people {
		tails[name] = tailAs(t, w.url, "http", &http.Client{Transport: asPerson{name}})
		ofPath("/metrics")(t, w, &http.Client{Transport: asPerson{name}}, nil) // it counts from now on
	}
	time.Sleep(300 * time.Millisecond)
	a.talk(":81")
	w.await("http", 6)
	for _, name := range slices.Sorted(maps.Keys(people)) {
		person := people[name]
		c := &http.Client{Transport: asPerson{name}}
		spaces := strings.FieldsFunc(name, func(r rune) bool { return r == ',' })
		for road, answer := range roads {
			if road == "packets" && rows != nil {
				continue // there are none, TestRowsHaveNoPackets
			}
			t.Run(name+"/"+road, func(t *testing.T) {
				text := answer(t, w, c, spaces)
				nothingElse(t, text, person.has)
				want := []string{}
				switch road {
				case "calls":
					want = slices.DeleteFunc(slices.Clone(person.has), func(s string) bool { return !strings.HasPrefix(s, "/of-") })
				case "packets":
					want = append(slices.Clone(person.has[:min(len(person.has), 2)]), fmt.Sprintf("rows of packets are %d", 2*person.packets))
				case "metrics":
					if person.calls > 0 {
						want = []string{"pcapsule_live_calls_total{"}
					}
				}
				for _, word := range want {
					if !strings.Contains(text, word) {
						t.Errorf("it lacks %q: %.200s", word, text)
					}
				}
			})
		}
		for end := time.Now().Add(10 * time.Second); len(tails[name]()) < person.calls && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
		if n := len(tails[name]()); n != person.calls {
			t.Errorf("the tail of %q has %d calls, want %d", name, n, person.calls)
		}
	}
	if rows != nil {
		return // views of rows are those of the roads above
	}
	a.talk(":82") // tools are about the last half minute
	w.await("http", 9)
	text := everyTool(t, w, &http.Client{Transport: asPerson{"shop"}})
	nothingElse(t, text, people["shop"].has)
	for _, want := range people["shop"].has {
		if !strings.Contains(text, want) {
			t.Errorf("the tools lack %q", want)
		}
	}
	if status, _ := get(t, w.url+"/mcp/calls?db=live:5m"); status != http.StatusOK {
		t.Errorf("without a limit: %d", status)
	}
}

// TestNamespacesAcrossNodes: a node that cannot name the client of another node does not show its calls to people without
// rights in the client's namespace, because the other node can.
func TestNamespacesAcrossNodes(t *testing.T) {
	a, b := recordPods(t, web), recordPods(t, vault)
	w := watch(t, map[string]*growing{"node-a": a.growing, "node-b": b.growing})
	var c traffic.Capture
	for _, x := range []struct{ from, path string }{{"192.0.2.1", "/of-shop"}, {"10.1.0.2", "/of-both"}} {
		c.Exchange(0, time.Microsecond, x.path, x.from, "10.1.0.1:80", traffic.HTTP("GET "+x.path+" HTTP/1.1", "Host: svc", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: text/plain", "the body "+x.path))
	}
	a.play(&c, 0, 1<<20)
	b.play(&c, 0, 1<<20)
	w.await("http", 2)
	w.await(`src.namespace == "payments"`, 1) // node-b was read
	shop := ofPath("/mcp/calls?db=live:5m&format=full")(t, w, &http.Client{Transport: asPerson{"shop"}}, nil)
	if !strings.Contains(shop, "/of-shop") || strings.Contains(shop, "/of-both") {
		t.Errorf("people of shop get %.2000s", shop)
	}
	both := ofPath("/mcp/calls?db=live:5m&format=full")(t, w, &http.Client{Transport: asPerson{"payments,shop"}}, nil)
	if !strings.Contains(both, "/of-shop") || !strings.Contains(both, "/of-both") {
		t.Errorf("people of both get %.2000s", both)
	}
}

// TestSpansOfLive: a call that another one caused has the same parent while that one waits and when it is finished.
func TestSpansOfLive(t *testing.T) {
	a := recordPods(t, web, vault)
	w := watch(t, map[string]*growing{"node-a": a.growing})
	var c traffic.Capture
	c.Exchange(time.Millisecond, time.Second, "outer", "192.0.2.1", "10.1.0.1:80", traffic.HTTP("GET /outer HTTP/1.1", "Host: svc", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "{}"))
	c.Exchange(10*time.Millisecond, time.Millisecond, "inner", "10.1.0.1", "10.1.0.2:80", traffic.HTTP("GET /inner HTTP/1.1", "Host: svc", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "{}"))
	spans := func(want int) map[string]ptrace.Span {
		t.Helper()
		var text string
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			text = ofPath("/mcp/spans?db=live:5m&kfl=http")(t, w, http.DefaultClient, nil)
			read, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces([]byte(text))
			if err != nil || read.SpanCount() != want {
				continue
			}
			found := map[string]ptrace.Span{}
			for _, r := range read.ResourceSpans().All() {
				for _, s := range r.ScopeSpans().At(0).Spans().All() {
					found[fmt.Sprint(s.Kind(), " ", s.Name())] = s
				}
			}
			return found
		}
		t.Fatalf("no %d spans: %.500s", want, text)
		return nil
	}
	a.play(&c, 0, 9)
	before := spans(2)["Client GET /inner"]
	if before.ParentSpanID().IsEmpty() {
		t.Fatal("the call that waits is not the parent")
	}
	a.play(&c, 9, 10)
	after := spans(4)
	if outer := after["Server GET /outer"]; outer.SpanID() != before.ParentSpanID() || outer.TraceID() != before.TraceID() || after["Client GET /inner"].SpanID() != before.SpanID() {
		t.Errorf("before %s in %s below %s, then %s in %s", before.SpanID(), before.TraceID(), before.ParentSpanID(), outer.SpanID(), outer.TraceID())
	}
}
