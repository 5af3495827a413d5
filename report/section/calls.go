package section

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// Limits of lists of calls.
const (
	mostEndpoints = 12
	mostFailures  = 20
	mostNodes     = 25
	mostEdges     = 300
	mostListed    = 40
	mostFindings  = 200
)

// others is the node for all nodes that are not shown.
const others = "(others)"

// protocols lists the protocols in use.
func (b *builder) protocols(*templates.Section) (value.Section, string) {
	if b.calls == 0 {
		return value.Section{}, "calls"
	}
	s := value.Section{Title: "Protocols",
		Text: []string{"A call is one request with its response, or one message if a protocol has no pairs. A call failed if its protocol reports a failure (an HTTP status of 400 or more, a DNS code that is not NOERROR, an SQLSTATE, a Redis error, a gRPC status that is not 0, a fatal TLS alert), or when there was no response."}}
	list := b.protocolList()
	t := &value.Table{ID: "protocols-table", Title: "Calls by protocol", Queries: b.query(list.SQL),
		Note: "Latency runs from the first byte of the request to the last byte of the response; for protocols without requests it is the length of the exchange. A call without a response counts with the time that its caller waited. p50 is the median; 99 % of the calls took p99 or less.",
		Columns: []value.Column{value.TextColumn("Protocol"), value.NumberColumn("Calls", ""), value.NumberColumn("Failed", ""), value.NumberColumn("Share failed", ""), value.NumberColumn("Bytes", "payload"),
			value.NumberColumn("p50", "latency"), value.NumberColumn("p90", "latency"), value.NumberColumn("p99", "latency")}}
	for _, p := range list.Rows {
		name := value.Text(p.Protocol)
		p50, p90, p99 := quantiles(p.Took)
		t.Add(b.cite(p.First), value.WordCell(name), value.CountCell(p.Calls), value.FailedCell(p.Failed), value.WordCell(value.Percent(p.Failed, p.Calls)), value.BytesCell(p.Bytes), p50, p90, p99)
	}
	t.Shares(1)
	s.Blocks = []value.Block{value.TableBlock(t)}
	return s, ""
}

// protocolList counts the calls of each protocol.
func (b *builder) protocolList() tally.Table[tally.Protocol] {
	if !b.has("calls") {
		return tally.Table[tally.Protocol]{}
	}
	return tallied(b, tally.Protocols)
}

// quantiles returns the cells of three quantiles in microseconds, empty if there are none.
func quantiles(list []int64) (p50, p90, p99 value.Cell) {
	if len(list) != 3 {
		return
	}
	return value.MicrosCell(list[0]), value.MicrosCell(list[1]), value.MicrosCell(list[2])
}

// millisCell is milliseconds, or nothing.
func millisCell(ms *float64) value.Cell {
	if ms == nil {
		return value.Cell{}
	}
	return value.MicrosCell(int64(math.Round(*ms * 1000)))
}

// services shows which services call each other, from get_service_map.
func (b *builder) services(*templates.Section) (value.Section, string) {
	if b.calls == 0 || b.err != nil {
		return value.Section{}, ""
	}
	s := value.Section{Title: "Who calls whom"}
	var m struct {
		Nodes []mapNode `json:"nodes"`
		Edges []mapEdge `json:"edges"`
	}
	query := b.ask("get_service_map", map[string]any{"limit": ask.MaxRows}, &m)
	if b.err != nil {
		return s, ""
	}
	edges := slices.DeleteFunc(m.Edges, func(e mapEdge) bool { return len(e.Protocols) == 0 })
	if len(edges) == 0 {
		return s, "ends of calls"
	}
	t := &value.Table{ID: "edges", Title: "Calls between them", Queries: query,
		Note:    "Requests and their latency; if there are none, only handshakes or unknown payload were seen. The evidence is one call of each pair.",
		Columns: []value.Column{value.NameColumn("From"), value.NameColumn("To"), value.NumberColumn("Calls", ""), value.NumberColumn("Failed", ""), value.NumberColumn("Share failed", ""), value.NumberColumn("p50", "latency"), value.NumberColumn("p99", "latency")}}
	for _, e := range edges[:min(len(edges), mostListed)] {
		t.Add(b.cite(e.Protocols[0].CallID), value.WordCell(b.nodeName(e.Src)), value.WordCell(b.nodeName(e.Dst)), value.CountCell(e.Calls), value.FailedCell(e.Failed),
			value.WordCell(value.Percent(e.Failed, e.Calls)), millisCell(e.P50Ms), millisCell(e.P99Ms))
	}
	if len(edges) > len(t.Rows) {
		t.Note += " " + plural.Count(int64(len(edges)-len(t.Rows)), "more pair", "more pairs") + " with fewer calls: run the question to see them."
	}
	t.Shares(2)
	single := func(list []mapEdge) []mapEdge {
		return slices.DeleteFunc(slices.Clone(list), func(e mapEdge) bool { return toAll(e.Dst) })
	}(edges)
	nodes := slices.DeleteFunc(slices.Clone(m.Nodes), func(n mapNode) bool {
		return !slices.ContainsFunc(single, func(e mapEdge) bool { return e.Src == n.Name || e.Dst == n.Name })
	})
	chart := b.mapChart(nodes, single)
	f := &value.Figure{ID: "service-map", Title: "Map of calls", Map: chart, Queries: t.Queries}
	f.Alt = fmt.Sprintf("Map of %s and the calls of %s; the table below has the same data.", plural.Count(int64(len(chart.Nodes)), "node", "nodes"),
		plural.Count(int64(len(chart.Edges)), "connection", "connections"))
	f.Note = "Calls run from left to right unless an arrow shows otherwise; thicker lines have more calls. Red: some calls failed."
	if n := len(edges) - len(single); n > 0 {
		f.Note += " " + plural.Count(int64(n), "pair with a multicast or broadcast address, such as a look for routers, is", "pairs with a multicast or broadcast address, such as a look for routers, are") + " only in the table."
	}
	if b.namespace != "" {
		f.Note += " Names without a namespace belong to " + value.Clean(b.namespace, 60) + ", here and in the tables."
	}
	s.Blocks = []value.Block{value.TableBlock(t)}
	if len(chart.Edges) > 0 {
		s.Blocks = []value.Block{value.FigureBlock(f), value.TableBlock(t)}
	}
	return s, ""
}

// toAll reports whether a name is a multicast or broadcast address: what is sent there is for all neighbours, and says
// nothing about who depends on whom.
func toAll(name string) bool {
	ip, err := netip.ParseAddr(name)
	return err == nil && (ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

// mapNode and mapEdge are the parts of the answer of get_service_map that reports use.
type (
	mapNode struct {
		Name  string `json:"name"`
		Place string `json:"place"`
	}
	mapEdge struct {
		Src       string   `json:"src"`
		Dst       string   `json:"dst"`
		Calls     int64    `json:"calls"`
		Failed    int64    `json:"failed"`
		P50Ms     *float64 `json:"p50_ms"`
		P99Ms     *float64 `json:"p99_ms"`
		Protocols []struct {
			CallID string `json:"call_id"`
		} `json:"protocols"`
	}
)

// mapChart draws the nodes with the most calls. One node represents all others; its edges have no
// latency.
func (b *builder) mapChart(nodes []mapNode, edges []mapEdge) *value.MapChart {
	chart := &value.MapChart{}
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
			chart.Nodes = append(chart.Nodes, value.Node{Name: b.nodeName(name), Kind: kindWord(kind), Others: !apart})
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
		chart.Edges = append(chart.Edges, value.Edge{From: from, To: to, Calls: e.Calls, Failed: e.Failed, P50: millisCell(e.P50Ms).Value, P99: millisCell(e.P99Ms).Value})
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
func (b *builder) slow(p *templates.Section) (value.Section, string) {
	if b.calls == 0 {
		return value.Section{}, ""
	}
	s := value.Section{Title: "Slowest endpoints", Text: []string{"Segments of a path that look like ids are written {id}, so that calls of one kind count together. A call without a response counts with the time that its caller waited. The evidence is the slowest call of each."}}
	for _, kind := range []struct {
		id, title, order string
		drawn            int
	}{{"slow-p99", "By the slowest calls (p99)", "p99", 6}, {"slow-total", "By total time", "total", 7}} {
		if b.err != nil {
			return s, ""
		}
		var l struct {
			Breakdown []struct {
				Dst      string   `json:"dst"`
				Protocol string   `json:"protocol"`
				Endpoint string   `json:"endpoint"`
				Calls    int64    `json:"calls"`
				Failed   int64    `json:"failed"`
				TotalMs  float64  `json:"total_ms"`
				P50Ms    *float64 `json:"p50_ms"`
				P99Ms    *float64 `json:"p99_ms"`
				CallID   string   `json:"call_id"`
			} `json:"breakdown"`
		}
		query := b.ask("get_latency", map[string]any{"order": kind.order, "limit": or0(p.Limit, mostEndpoints)}, &l)
		if b.err != nil {
			return s, ""
		}
		t := &value.Table{ID: kind.id, Title: kind.title, Queries: query,
			Columns: []value.Column{value.TextColumn("Protocol"), value.CodeColumn("Endpoint"), value.NameColumn("Server"), value.NumberColumn("Calls", ""), value.NumberColumn("Failed", ""), value.NumberColumn("p50", "latency"), value.NumberColumn("p99", "latency"), value.NumberColumn("Total", "latencies")}}
		for _, e := range l.Breakdown {
			if e.P99Ms == nil {
				continue
			}
			p99 := millisCell(e.P99Ms)
			t.Add(b.cite(e.CallID), value.TextCell(e.Protocol), value.TextCell(e.Endpoint), value.WordCell(b.nodeName(e.Dst)), value.CountCell(e.Calls), value.FailedCell(e.Failed),
				millisCell(e.P50Ms), p99, millisCell(&e.TotalMs))
		}
		if len(t.Rows) == 0 {
			return s, "calls with a latency"
		}
		t.Shares(kind.drawn)
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
	return s, ""
}
