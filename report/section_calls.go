package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of lists of calls.
const (
	mostEndpoints = 12
	mostFailures  = 20
	mostNodes     = 25
	mostEdges     = 300
	mostListed    = 40
)

// others is the node for all nodes that are not shown.
const others = "(others)"

// protocols lists the protocols in use.
func (b *builder) protocols() (Section, string) {
	if b.calls == 0 {
		return Section{}, "calls"
	}
	s := Section{ID: "protocols", Title: "Protocols",
		Text: []string{"A call is one request with its response, or one message where a protocol has no pairs. A call failed when its protocol says so (an HTTP status of 400 or more, a DNS code that is not NOERROR, an SQLSTATE, a Redis error, a gRPC status that is not 0, a fatal TLS alert), or when there was no response."}}
	list := tallied(b, tally.Protocols)
	t := &Table{ID: "protocols-table", Title: "Calls by protocol", Queries: []Query{b.query(list.SQL)},
		Note: "Latency runs from the first byte of the request to the last byte of the response; for protocols without requests it is the length of the exchange. p50 is the median; 99 % of the calls took p99 or less.",
		Columns: []Column{column("Protocol"), number("Calls", ""), number("Failed", ""), number("Share failed", ""), number("Bytes", "payload"),
			number("p50", "latency"), number("p90", "latency"), number("p99", "latency")}}
	for _, p := range list.Rows {
		name := str(p.Protocol)
		p50, p90, p99 := quantiles(p.Took)
		t.add(b.cite(p.First), wordCell(name), countCell(p.Calls), failedCell(p.Failed), wordCell(percent(p.Failed, p.Calls)), bytesCell(p.Bytes), p50, p90, p99)
		b.notes.protocols = append(b.notes.protocols, fmt.Sprintf("%s (%s)", name, plural.Thousands(p.Calls)))
		if p.Failed > 0 {
			b.notes.failures = append(b.notes.failures, fmt.Sprintf("%s of %s %s", plural.Thousands(p.Failed), plural.Thousands(p.Calls), name))
		}
	}
	t.shares(1)
	s.Blocks = []Block{tableBlock(t)}
	return s, ""
}

// quantiles returns the cells of three quantiles in microseconds, empty if there are none.
func quantiles(list []int64) (p50, p90, p99 Cell) {
	if len(list) != 3 {
		return
	}
	return microsCell(list[0]), microsCell(list[1]), microsCell(list[2])
}

// millisCell is milliseconds, or nothing.
func millisCell(ms *float64) Cell {
	if ms == nil {
		return Cell{}
	}
	return microsCell(int64(math.Round(*ms * 1000)))
}

// services shows which services call each other, from get_service_map.
func (b *builder) services() (Section, string) {
	if b.calls == 0 || b.err != nil {
		return Section{}, ""
	}
	s := Section{ID: "services", Title: "Who calls whom"}
	m, err := servicemap.AskServiceMap(b.ctx, b.c, servicemap.ServiceMapIn{Scope: ask.Scope{Limit: ask.MaxRows}})
	if err != nil {
		b.err = err
		return s, ""
	}
	edges := slices.DeleteFunc(m.Edges, func(e servicemap.MapEdge) bool { return len(e.Protocols) == 0 })
	if len(edges) == 0 {
		return s, "ends of calls"
	}
	t := &Table{ID: "edges", Title: "Calls between them", Queries: []Query{b.question("get-service-map", "")},
		Note:    "Requests and their latency; if there are none, only handshakes or unknown payload were seen. The evidence is one call of each pair.",
		Columns: []Column{name("From"), name("To"), number("Calls", ""), number("Failed", ""), number("Share failed", ""), number("p50", "latency"), number("p99", "latency")}}
	for _, e := range edges[:min(len(edges), mostListed)] {
		t.add(b.cite(e.Protocols[0].CallID), wordCell(b.nodeName(e.Src)), wordCell(b.nodeName(e.Dst)), countCell(e.Calls), failedCell(e.Failed),
			wordCell(percent(e.Failed, e.Calls)), millisCell(e.P50Ms), millisCell(e.P99Ms))
	}
	if len(edges) > len(t.Rows) {
		t.Note += " " + plural.Count(int64(len(edges)-len(t.Rows)), "more pair", "more pairs") + " with fewer calls: run the question to see them."
	}
	t.shares(2)
	chart := b.mapChart(m.Nodes, edges)
	f := &Figure{ID: "service-map", Title: "Map of calls", Map: chart, Queries: t.Queries}
	f.Alt = fmt.Sprintf("Map of %s and %s between them; the table below has the same data.", plural.Count(int64(len(chart.Nodes)), "node", "nodes"),
		plural.Count(int64(len(chart.Edges)), "connection", "connections"))
	f.Note = "Calls run from left to right unless an arrow shows otherwise; thicker lines have more calls. Red: some calls failed."
	if b.namespace != "" {
		f.Note += " Names without a namespace belong to " + clean(b.namespace, 60) + ", here and in the tables."
	}
	s.Blocks = []Block{figureBlock(f), tableBlock(t)}
	return s, ""
}

// mapChart draws the nodes with the most calls. One node represents all others; its edges have no
// latency.
func (b *builder) mapChart(nodes []servicemap.MapNode, edges []servicemap.MapEdge) *MapChart {
	chart := &MapChart{}
	place := map[string]string{}
	for i, n := range nodes {
		if len(nodes) <= mostNodes || i < mostNodes-1 {
			place[n.Name] = n.Place
		}
	}
	at := map[string]int{}
	nodeOf := func(name string) int {
		kind, apart := place[name]
		if !apart {
			name, kind = others, "address"
		}
		i, ok := at[name]
		if !ok {
			i = len(chart.Nodes)
			at[name] = i
			chart.Nodes = append(chart.Nodes, Node{Name: b.nodeName(name), Kind: kindWord(kind), Others: !apart})
		}
		return i
	}
	drawn := map[[2]int]int{}
	for _, e := range edges {
		from, to := nodeOf(e.Src), nodeOf(e.Dst)
		chart.Nodes[from].Calls += e.Calls
		chart.Nodes[to].Calls += e.Calls
		i, ok := drawn[[2]int{from, to}]
		if ok {
			chart.Edges[i].Calls, chart.Edges[i].Failed = chart.Edges[i].Calls+e.Calls, chart.Edges[i].Failed+e.Failed
			chart.Edges[i].P50, chart.Edges[i].P99 = nil, nil
			continue
		}
		if len(chart.Edges) == mostEdges {
			continue
		}
		drawn[[2]int{from, to}] = len(chart.Edges)
		chart.Edges = append(chart.Edges, Edge{From: from, To: to, Calls: e.Calls, Failed: e.Failed, P50: millisCell(e.P50Ms).Value, P99: millisCell(e.P99Ms).Value})
	}
	return chart
}

// kindWord is the display text for the place of a node.
func kindWord(place string) string {
	if place == "unknown" {
		return "address"
	}
	return place
}

// slow shows where the time goes, from get_latency.
func (b *builder) slow() (Section, string) {
	if b.calls == 0 {
		return Section{}, ""
	}
	s := Section{ID: "slow", Title: "Slowest endpoints", Text: []string{"Segments of a path that look like ids are written {id}, so that calls of one kind count together. A call without a response counts with the time that its caller waited. The evidence is the slowest call of each."}}
	for _, kind := range []struct {
		id, title, order string
		drawn            int
	}{{"slow-p99", "By the slowest calls (p99)", "p99", 6}, {"slow-total", "By total time", "total", 7}} {
		if b.err != nil {
			return s, ""
		}
		l, err := latency.Ask(b.ctx, b.c, latency.In{Scope: ask.Scope{Limit: mostEndpoints}, Order: kind.order})
		if err != nil {
			b.err = err
			return s, ""
		}
		t := &Table{ID: kind.id, Title: kind.title, Queries: []Query{b.question("get-latency", fmt.Sprintf(" --order %s --limit %d", kind.order, mostEndpoints))},
			Columns: []Column{column("Protocol"), code("Endpoint"), name("Server"), number("Calls", ""), number("Failed", ""), number("p50", "latency"), number("p99", "latency"), number("Total", "latencies")}}
		for _, e := range l.Breakdown {
			if e.P99Ms == nil {
				continue
			}
			p99 := millisCell(e.P99Ms)
			t.add(b.cite(e.CallID), textCell(e.Protocol), textCell(e.Endpoint), wordCell(b.nodeName(e.Dst)), countCell(e.Calls), failedCell(e.Failed),
				millisCell(e.P50Ms), p99, millisCell(&e.TotalMs))
			if b.notes.slowest == "" {
				b.notes.slowest = fmt.Sprintf("%s %s at %s (p99 %s over %s)", str(e.Protocol), clean(e.Endpoint, maxText), b.nodeName(e.Dst), p99.Text, plural.Count(e.Calls, "call", "calls"))
			}
		}
		if len(t.Rows) == 0 {
			return s, "calls with a latency"
		}
		t.shares(kind.drawn)
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
	return s, ""
}

// whatFailed returns the answer of find_failures, which runs once. After an error it is empty.
func (b *builder) whatFailed() *failures.Answer {
	if b.failures == nil && b.err == nil {
		b.failures, b.err = failures.Ask(b.ctx, b.c, failures.In{Scope: ask.Scope{Limit: 5 * mostFailures}, NoCauses: true})
	}
	if b.failures == nil {
		return &failures.Answer{}
	}
	return b.failures
}

// failuresQuery shows how a reader runs find_failures.
func (b *builder) failuresQuery() []Query {
	return []Query{b.question("find-failures", " --no-causes")}
}

// failing lists failures; DNS and TLS have their own sections.
func (b *builder) failing() (Section, string) {
	s := Section{ID: "failing", Title: "Failing endpoints", Text: []string{"The evidence is the first failed call of each kind; pcapsule show prints it in full. DNS and TLS have their own sections."}}
	t := &Table{ID: "failures", Title: "Failed calls by endpoint and outcome", Queries: b.failuresQuery(),
		Columns: []Column{column("Protocol"), code("Endpoint"), name("Client"), name("Server"), name("Outcome"), number("Failed", "this way"), {Name: "When", Kind: "name"}, moment("First (UTC)")}}
	for _, g := range b.whatFailed().Groups {
		if g.Class == "tls" || len(t.Rows) == mostFailures {
			continue
		}
		t.add(b.cite(g.CallIDs[0]), textCell(g.Protocol), textCell(g.Endpoint), wordCell(b.nodeName(g.Src)), wordCell(b.nodeName(g.Dst)), wordCell(outcome(g.Status)),
			countCell(g.Calls), wordCell(g.When), wordCell(clock(nanos(g.First), b.first, b.last)))
	}
	if len(t.Rows) == 0 {
		return s, "failed calls other than DNS and TLS"
	}
	t.shares(5)
	s.Blocks = []Block{tableBlock(t)}
	return s, ""
}

// nanos parses a time of an answer.
func nanos(s string) int64 {
	t, _ := time.Parse(time.RFC3339Nano, s) // answers use no other format
	return t.UnixNano()
}

// outcome is the status of a call in the protocol's words.
func outcome(status string) string {
	return clean(strings.ReplaceAll(status, "_", " "), maxText)
}
