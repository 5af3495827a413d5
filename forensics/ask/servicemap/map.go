// Package servicemap answers which services talk to each other: an overview of the case
// (get_overview), the graph of services (get_service_map), dependencies (get_dependencies) and
// external destinations (list_external).
package servicemap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// ServiceMapIn is the input of get_service_map.
type ServiceMapIn struct {
	ask.Scope
	GroupBy        string `json:"group_by,omitempty" jsonschema:"what a node of the map is (default service)"`
	Service        string `json:"service,omitempty" jsonschema:"only edges from or to this service, workload, pod, host or address"`
	Label          string `json:"label,omitempty" jsonschema:"as name=value: only edges from or to pods with this label, such as team=money"`
	CrossNamespace bool   `json:"cross_namespace,omitempty" jsonschema:"only edges between different namespaces"`
	FromNamespace  string `json:"from_namespace,omitempty" jsonschema:"also list what this namespace reaches, directly and transitively"`
	Format         string `json:"format,omitempty" jsonschema:"json (the default); mermaid or dot adds a diagram"`
}

// ServiceMap is the answer of get_service_map.
type ServiceMap struct {
	ask.Frame
	GroupBy     string           `json:"group_by"`
	TotalCalls  int64            `json:"total_calls" jsonschema:"requests, without handshakes and unknown payload"`
	TotalEdges  int              `json:"total_edges"`
	Nodes       []MapNode        `json:"nodes"`
	Edges       []MapEdge        `json:"edges" jsonschema:"most calls first"`
	External    []ExternalDomain `json:"external_domains" jsonschema:"names outside that were called, by registrable domain"`
	Ingress     []IngressPoint   `json:"ingress" jsonschema:"services called from outside or by unknown addresses"`
	Reachable   []Reachable      `json:"reachable,omitempty" jsonschema:"with from_namespace: what its traffic reaches, nearest first"`
	Diagram     string           `json:"diagram,omitempty" jsonschema:"with format mermaid or dot"`
	DiagramForm string           `json:"diagram_format,omitempty"`
}

// Drawing returns the diagram of an answer with format mermaid or dot, for a file of its own.
func (m *ServiceMap) Drawing() (text string, notes []string) { return m.Diagram, m.Notes }

// MapEdge is the traffic from one node to another.
type MapEdge struct {
	Src          string         `json:"src"`
	Dst          string         `json:"dst"`
	Calls        int64          `json:"calls" jsonschema:"requests; handshakes and unknown payload count in protocols only"`
	Failed       int64          `json:"failed"`
	Faults       int64          `json:"faults,omitempty" jsonschema:"of these, not caused by the caller: 5xx, no answer, reset, database error; not 4xx or unknown names"`
	P50Ms        *float64       `json:"p50_ms,omitempty"`
	P99Ms        *float64       `json:"p99_ms,omitempty"`
	RequestKB    float64        `json:"request_kb" jsonschema:"payload from src in units of 1000 bytes, with handshakes and unknown payload"`
	ResponseKB   float64        `json:"response_kb"`
	Connections  int64          `json:"connections"`
	NotAnswered  int64          `json:"connections_without_calls,omitempty" jsonschema:"of these, connections without calls: refused, not answered, or opened and closed"`
	Shut         int64          `json:"connections_not_accepted,omitempty" jsonschema:"of those without calls, connections that were refused or not answered"`
	Encrypted    string         `json:"encrypted" jsonschema:"yes, no, partly or unknown"`
	CrossesSpace bool           `json:"cross_namespace,omitempty"`
	Protocols    []EdgeProtocol `json:"protocols"`
	KFL          string         `json:"kfl,omitempty" jsonschema:"filter for exactly these calls; if calls is 0, for the handshakes and unknown payload"`

	edgeWork
}

// edgeWork is what an edge is made from.
type edgeWork struct {
	pa, pb  string
	nsA     string
	enc     int64
	shakes  int64
	carried int64
	back    int64     // of calls, those on connections that the callee opened
	broken  int64     // handshakes that failed, and not because of the caller
	blind   int64     // unanswered datagrams of which nobody knows how long the caller waited
	keys    []ask.Key // of the examples of Protocols
}

// EdgeProtocol is one protocol of an edge.
type EdgeProtocol struct {
	Protocol string `json:"protocol"`
	Calls    int64  `json:"calls"`
	Failed   int64  `json:"failed,omitempty"`
	CallID   string `json:"call_id" jsonschema:"an example"`
}

// ExternalDomain summarizes the calls to one registrable domain.
type ExternalDomain struct {
	Domain  string   `json:"domain" jsonschema:"the address if it has no name"`
	Names   []string `json:"names"`
	Clients []string `json:"clients"`
	Calls   int64    `json:"calls"`
	Failed  int64    `json:"failed"`
	KB      float64  `json:"kb" jsonschema:"payload in both directions"`
}

// IngressPoint is a service that is called from outside.
type IngressPoint struct {
	Service string   `json:"service"`
	From    []string `json:"from"`
	Calls   int64    `json:"calls"`
	Failed  int64    `json:"failed"`
	KFL     string   `json:"kfl"`
}

// Reachable is a node that the traffic of a namespace reaches.
type Reachable struct {
	Name      string   `json:"name"`
	Place     string   `json:"place"`
	Depth     int      `json:"depth" jsonschema:"1: called by the namespace itself; 2: by what that calls; and so on"`
	Via       []string `json:"via" jsonschema:"callers on the path"`
	Calls     int64    `json:"calls" jsonschema:"from these callers"`
	Failed    int64    `json:"failed"`
	Protocols []string `json:"protocols"`
	KFL       []string `json:"kfl" jsonschema:"of the edges from these callers, at most three"`
}

// MapQuestion is the question get_service_map.
func MapQuestion() ask.Question {
	return ask.New("get_service_map", "Map the services", "Nodes and edges of the traffic with calls, failures, latency, bytes, protocols and encryption; external domains, ingress points, reachability from a namespace; as JSON, Mermaid or DOT.", true, AskServiceMap).
		Allow("group_by", groupings...).Allow("format", "json", "mermaid", "dot")
}

// AskServiceMap answers get_service_map.
func AskServiceMap(ctx context.Context, c *forensics.Case, in ServiceMapIn) (*ServiceMap, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	by := cmp.Or(in.GroupBy, groupings[0])
	narrowed, err := in.narrow(c, w)
	if err != nil {
		return nil, err
	}
	out := &ServiceMap{GroupBy: by}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	g, err := readGraph(w, ctx, c, by, narrowed, &out.Frame)
	if err != nil {
		return nil, err
	}
	if in.CrossNamespace {
		g.edges = slices.DeleteFunc(g.edges, func(e MapEdge) bool { return !e.CrossesSpace })
	}
	if in.FromNamespace != "" {
		out.Reachable = ask.Fit(w, &out.Frame, g.reach(in.FromNamespace))
	}
	out.External, out.Ingress = ask.Fit(w, &out.Frame, g.external()), ask.Fit(w, &out.Frame, g.ingress())
	out.TotalEdges, out.TotalCalls = len(g.edges), g.calls()
	out.NoteDatagrams(blind(g.edges))
	out.Edges = ask.Fit(w, &out.Frame, g.edges)
	out.Nodes = ask.Fit(w, &out.Frame, g.shown(out.Edges))
	if in.Format == "mermaid" || in.Format == "dot" {
		out.DiagramForm, out.Diagram = in.Format, draw(in.Format, g.shown(out.Edges), out.Edges)
	}
	out.Match(len(out.Edges))
	return out, nil
}

// blind counts the unanswered datagrams of edges; see ask.Waits.
func blind(edges []MapEdge) (n int64) {
	for i := range edges {
		n += edges[i].blind
	}
	return n
}

// narrow adds the filters of the input to the window.
func (in *ServiceMapIn) narrow(c *forensics.Case, w *ask.Window) (bool, error) {
	if in.Service != "" {
		cond, args := terms.Either(c, in.Service)
		w.And(cond, args...)
	}
	if in.Label != "" {
		name, value, ok := strings.Cut(in.Label, "=")
		if !ok {
			return false, ask.Malformed("label", "name=value", in.Label)
		}
		w.And(`list_contains(src_labels, {'name': ?::VARCHAR, 'value': ?::VARCHAR}) OR list_contains(dst_labels, {'name': ?::VARCHAR, 'value': ?::VARCHAR})`, name, value, name, value)
	}
	return in.Service != "" || in.Label != "", nil
}

// graph is a complete map, before it is cut for an answer.
type graph struct {
	by    string
	nodes map[string]*MapNode
	edges []MapEdge
	same  map[string][]string // other nodes with pods of a node
	known map[string]ask.Node
}

// edgeRow is an edge as SQL returns it.
type edgeRow struct {
	Src       string        `json:"src"`
	Dst       string        `json:"dst"`
	Pa        string        `json:"pa"`
	Pb        string        `json:"pb"`
	Na        string        `json:"na"`
	Nb        string        `json:"nb"`
	Asked     bool          `json:"asked"`
	Calls     int64         `json:"calls"`
	Rows      int64         `json:"n"`
	Failed    int64         `json:"failed"`
	Faults    int64         `json:"faults"`
	P50Ms     *float64      `json:"p50_ms"`
	P99Ms     *float64      `json:"p99_ms"`
	Sent      int64         `json:"sent"`
	Received  int64         `json:"received"`
	Conns     int64         `json:"conns"`
	Blind     int64         `json:"blind"`
	Opened    int64         `json:"opened"`
	Shakes    int64         `json:"shakes"`
	Back      int64         `json:"back"`
	Shut      int64         `json:"shut"`
	Broken    int64         `json:"broken"`
	Protocols []protocolRow `json:"protocols"`
}

// protocolRow is an EdgeProtocol with the key of its example.
type protocolRow struct {
	EdgeProtocol
	ask.Key
}

// readGraph reads the map of the window.
func readGraph(w *ask.Window, ctx context.Context, c *forensics.Case, by string, narrowed bool, f *ask.Frame) (*graph, error) {
	known, err := ask.Nodes(ctx, c, by)
	if err != nil {
		return nil, err
	}
	// Comparing texts of every call takes most of the time, so nothing is compared that is the same for all calls of the case.
	host, back, first := "NULL::VARCHAR", "0", "0"
	for _, n := range known {
		if n.External {
			host, back = "CASE WHEN "+terms.NamesServer+" THEN host END", terms.Back(c)
		}
	}
	if c.Several() {
		first = "arg_min(bundle, (ts_ns, call_id))"
	}
	// Sum by address first, then join the names to the sums, because there are few addresses. The host
	// of a DNS question is not a host that was called.
	sums := fmt.Sprintf(`SELECT %[1]ssrc_id, dst_id, protocol, %[2]s AS host, NULL::VARCHAR AS proxied_to, %[3]s AS request, count(*) AS n, count(*) FILTER (failed) AS failed, count(*) FILTER (%[4]s) AS faults, sum(request_bytes) AS sent, sum(response_bytes) AS received,
			count(*) FILTER (%[5]s) AS opened, arg_min(call_id, (ts_ns, call_id)) AS call_id, arg_min(call_no, (ts_ns, call_id)) AS call_no, min(ts_ns) AS ts_ns, %[6]s AS back
			FROM calls WHERE %[7]s GROUP BY ALL`, terms.Key(c, ""), host, terms.RequestIn(c), terms.Fault, terms.SealedIn(c), back, w.Where)
	sql := w.Ends(c, by) + fmt.Sprintf(`, y AS (%[3]s),
		g AS (SELECT an, bn, far, protocol, request, bool_or(`+terms.Asked+`) AS asked, sum(n) AS n, sum(failed) AS failed, sum(faults) AS faults,
			sum(sent) AS sent, sum(received) AS received, sum(opened) AS opened, sum(back) AS back, arg_min(call_id, (ts_ns, call_id)) AS call_id, %[4]s AS bundle, arg_min(call_no, (ts_ns, call_id)) AS call_no FROM y GROUP BY ALL),
		q AS (SELECT an, bn, far, quantile_disc(`+terms.Took+`, [0.5, 0.99]) FILTER (%[1]s) AS p, count(DISTINCT conn) AS conns, count(*) FILTER (%[1]s AND NOT `+terms.WaitSeen+`) AS blind FROM %[2]s GROUP BY ALL),
		t AS (SELECT an, bn, far, bool_or(asked) AS asked, sum(n)::BIGINT AS n, coalesce(sum(n) FILTER (request), 0)::BIGINT AS calls, coalesce(sum(failed) FILTER (request), 0)::BIGINT AS failed, coalesce(sum(faults) FILTER (request), 0)::BIGINT AS faults, coalesce(sum(faults) FILTER (NOT request), 0)::BIGINT AS broken,
			sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received, coalesce(sum(opened) FILTER (request), 0)::BIGINT AS opened, coalesce(sum(back) FILTER (request), 0)::BIGINT AS back, coalesce(sum(n) FILTER (`+terms.Shakes+`), 0)::BIGINT AS shakes,
			list({'protocol': protocol, 'calls': n::BIGINT, 'failed': failed::BIGINT, 'call_id': lower(hex(call_id)), 'bundle': bundle, 'call_no': call_no} ORDER BY n DESC, protocol) AS protocols FROM g GROUP BY ALL)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, pa, pb, na, nb, asked, calls, n, failed, faults, p[1] / 1000.0 AS p50_ms, p[2] / 1000.0 AS p99_ms, sent, received, conns, blind, opened, shakes, back, broken, protocols
		FROM t JOIN q USING (an, bn, far) JOIN sname USING (an) JOIN dname USING (bn) ORDER BY calls DESC, n DESC, 1, 2`, terms.RequestIn(c), ask.Joined(c, "x"), terms.EndsOf(c, by, sums), first)
	rows, more, err := ask.Rows[edgeRow](ctx, c, ask.MaxEdges, sql, w.Values(w.Args...)...)
	if err != nil {
		return nil, err
	}
	if more {
		f.Truncated = true
		f.Note("the map contains only the %d edges with the most calls", ask.MaxEdges)
	}
	g := &graph{by: by, nodes: map[string]*MapNode{}, edges: []MapEdge{}, known: known}
	for i := range rows {
		g.add(&rows[i], known)
	}
	if w.KFL == "" && !narrowed {
		if err := g.addSilent(ctx, c, w, known); err != nil {
			return nil, err
		}
	}
	for i := range g.edges {
		g.finish(&g.edges[i])
	}
	for _, n := range g.nodes {
		n.Seen = n.seen()
	}
	return g, g.share(ctx, c)
}

// share finds the nodes that have pods in common: a pod behind several services is a server under the name of each, but
// makes its calls under one name.
func (g *graph) share(ctx context.Context, c *forensics.Case) error {
	if g.by != groupings[0] {
		return nil
	}
	rows, _, err := ask.Rows[struct {
		Name  string `json:"name"`
		Other string `json:"other"`
	}](ctx, c, ask.MaxFacts, fmt.Sprintf(`WITH e AS (SELECT *, %s AS pod_no FROM endpoints WHERE pod IS NOT NULL),
			n AS (SELECT pod_no, %s AS name FROM e UNION SELECT pod_no, coalesce(namespace || '/', '') || unnest(services) FROM e)
		SELECT DISTINCT a.name, b.name AS other FROM n a JOIN n b USING (pod_no) WHERE a.name <> b.name ORDER BY ALL`, terms.Instance, terms.Who("")))
	g.same = map[string][]string{}
	for _, r := range rows {
		if g.nodes[r.Name] != nil && g.nodes[r.Other] != nil {
			g.same[r.Name] = append(g.same[r.Name], r.Other)
		}
	}
	return err
}

// alike returns nodes, and those that have pods in common with them.
func (g *graph) alike(nodes []string) []string {
	all := slices.Clone(nodes)
	for _, n := range nodes {
		all = append(all, g.same[n]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (g *graph) node(name, place string, asked bool, known map[string]ask.Node) *MapNode {
	n := g.nodes[name]
	if n == nil {
		k, ok := known[name]
		if !ok && !asked {
			k.Levels = "name"
		}
		n = &MapNode{Name: name, Place: place, Namespace: k.Namespace, Workloads: k.Workloads, Labels: k.Labels, Replicas: k.Replicas, levels: k.Levels, asked: asked}
		g.nodes[name] = n
	}
	n.asked = n.asked || asked
	return n
}

func (g *graph) add(r *edgeRow, known map[string]ask.Node) {
	a, b := g.node(r.Src, r.Pa, false, known), g.node(r.Dst, r.Pb, r.Asked, known)
	a.CallsOut += r.Calls
	b.CallsIn += r.Calls
	b.FailedIn += r.Failed
	protocols, keys := make([]EdgeProtocol, len(r.Protocols)), make([]ask.Key, len(r.Protocols))
	for i, p := range r.Protocols {
		protocols[i], keys[i] = p.EdgeProtocol, p.Key
	}
	g.edges = append(g.edges, MapEdge{Src: r.Src, Dst: r.Dst, Calls: r.Calls, Failed: r.Failed, Faults: r.Faults, P50Ms: r.P50Ms, P99Ms: r.P99Ms,
		RequestKB: float64(r.Sent) / 1000, ResponseKB: float64(r.Received) / 1000, Connections: r.Conns, Protocols: protocols,
		CrossesSpace: r.Na != "" && r.Nb != "" && r.Na != r.Nb,
		edgeWork:     edgeWork{pa: r.Pa, pb: r.Pb, nsA: r.Na, enc: r.Opened, shakes: r.Shakes, carried: r.Rows, back: r.Back, broken: r.Broken, blind: r.Blind, keys: keys}})
}

// addSilent adds connections without calls. They make an edge even if it has no call.
func (g *graph) addSilent(ctx context.Context, c *forensics.Case, w *ask.Window, known map[string]ask.Node) error {
	conns, args := w.Connections(c, "connections_raw", false)
	key, node := terms.Key(c, ""), terms.Node("", g.by)
	rows, _, err := ask.Rows[edgeRow](ctx, c, ask.MaxEdges, fmt.Sprintf(`WITH k AS (SELECT %[1]ssrc_id, dst_id, count(*) AS n, count(*) FILTER (%[2]s) AS shut FROM %[3]s WHERE calls = 0 GROUP BY ALL),
		e AS (SELECT %[1]sendpoint_id, CASE WHEN %[4]s THEN '%[5]s' ELSE %[6]s END AS src, %[6]s AS dst, %[7]s AS place, namespace AS ns FROM endpoints_raw)
		SELECT s.src, d.dst, min(s.place) AS pa, min(d.place) AS pb, min(s.ns) AS na, min(d.ns) AS nb, sum(n)::BIGINT AS conns, sum(shut)::BIGINT AS shut
		FROM k LEFT JOIN e s ON s.endpoint_id = k.src_id%[8]s LEFT JOIN e d ON d.endpoint_id = k.dst_id%[9]s GROUP BY 1, 2 ORDER BY conns DESC, 1, 2`,
		key, terms.Shut(c), conns, terms.Nameless(""), terms.AnyOutside, node, terms.Place(""), terms.SameBundle(c, "s", "k"), terms.SameBundle(c, "d", "k")), args...)
	if err != nil {
		return err
	}
	at := make(map[[2]string]int, len(g.edges))
	for i, e := range g.edges {
		at[[2]string{e.Src, e.Dst}] = i
	}
	for i := range rows {
		r := &rows[i]
		k, ok := at[[2]string{r.Src, r.Dst}]
		if !ok {
			n := r.Conns
			r.Conns = 0
			g.add(r, known)
			k = len(g.edges) - 1
			r.Conns = n
		}
		g.edges[k].Connections += r.Conns
		g.edges[k].NotAnswered, g.edges[k].Shut = r.Conns, r.Shut
	}
	return nil
}

// encrypted says whether traffic was encrypted on the wire, of which sealed calls were, and that had handshakes of
// encryption. Nothing is known if there is neither a call nor a handshake.
func encrypted(calls, sealed, shakes int64) string {
	switch {
	case calls > 0 && sealed == calls || calls == 0 && shakes > 0:
		return "yes"
	case calls == 0:
		return "unknown"
	case sealed == 0 && shakes == 0:
		return "no"
	}
	return "partly"
}

// finish sets the fields that are derived from others.
func (g *graph) finish(e *MapEdge) {
	e.Encrypted = encrypted(e.Calls, e.enc, e.shakes)
	a, b := g.nodes[e.Src], g.nodes[e.Dst]
	a.carried, a.out, a.rejected = a.carried+e.carried, a.out+e.Connections, a.rejected+e.Shut
	b.carried, b.in, b.shut = b.carried+e.carried, b.in+e.Connections, b.shut+e.Shut
	a.loud[1], b.loud[0] = a.loud[1]+e.Connections-e.NotAnswered, b.loud[0]+e.Connections-e.NotAnswered
	if e.carried == 0 {
		return
	}
	e.KFL = terms.NodeKFL("src", g.by, e.Src, a.levels) + " and " + g.dst(b)
	if e.Calls > 0 && e.Calls < e.carried {
		e.KFL += terms.NotCarriers
	}
}

// dst is the KFL for calls to a node.
func (g *graph) dst(n *MapNode) string {
	return terms.DstKFL(g.by, n.Name, n.Place, n.levels, n.asked)
}

func (g *graph) calls() (n int64) {
	for i := range g.edges {
		n += g.edges[i].Calls
	}
	return n
}

// shown returns the nodes of some edges, most calls first.
func (g *graph) shown(edges []MapEdge) []MapNode {
	seen := map[string]bool{}
	out := []MapNode{}
	for _, e := range edges {
		for _, name := range []string{e.Src, e.Dst} {
			if !seen[name] {
				seen[name] = true
				out = append(out, *g.nodes[name])
			}
		}
	}
	slices.SortStableFunc(out, func(a, b MapNode) int {
		return cmp.Or(cmp.Compare(b.CallsIn+b.CallsOut, a.CallsIn+a.CallsOut), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Sentence is the answer in one sentence.
func (m *ServiceMap) Sentence() string {
	s := plural.Sprintf("%d {call|calls} on %d {edge|edges} between %d {node|nodes}", m.TotalCalls, m.TotalEdges, len(m.Nodes))
	if len(m.Edges) > 0 {
		s += plural.Sprintf("; most from %s to %s: %d", m.Edges[0].Src, m.Edges[0].Dst, m.Edges[0].Calls)
	}
	return s + "."
}
