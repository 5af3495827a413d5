package report

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of lists of calls.
const (
	mostEndpoints = 12
	mostFailures  = 20
	mostNodes     = 25
	mostEdges     = 300
)

// others is the node that stands for all that have none of their own.
const others = "(others)"

// protocols is what was spoken.
func (b *builder) protocols() (Section, string) {
	if b.calls == 0 {
		return Section{}, "calls"
	}
	s := Section{ID: "protocols", Title: "Protocols",
		Text: []string{"A call is one request with its response, or one message where a protocol has no pairs. A call failed when its protocol says so (an HTTP status of 400 or more, a DNS code that is not NOERROR, an SQLSTATE, a Redis error, a gRPC status that is not 0, a fatal TLS alert), or when no answer came."}}
	sql := `SELECT protocol, count(*) AS calls, count(*) FILTER (WHERE failed) AS failed, sum(request_bytes + response_bytes)::BIGINT AS bytes,
  quantile_disc(` + terms.Took + `, [0.5, 0.9, 0.99]) AS p50_p90_p99_us, arg_min(` + b.ref("c") + `, ` + b.ref("c") + `) AS first_call
FROM calls_raw c
GROUP BY protocol ORDER BY calls DESC, protocol`
	t := &Table{ID: "protocols-table", Title: "Calls by protocol", Queries: []Query{b.query(sql)},
		Note: "Latency runs from the first byte of the request to the last byte of the response; for protocols without requests it is the length of the exchange. Half of the calls took p50 or less, 99 of 100 p99 or less.",
		Columns: []Column{column("Protocol"), number("Calls", ""), number("Failed", ""), number("Share failed", ""), number("Bytes", "payload"),
			number("p50", "latency"), number("p90", "latency"), number("p99", "latency")}}
	for _, row := range b.ask(sql) {
		p50, p90, p99 := quantiles(row[4])
		t.add(b.cite(row[5]), textCell(row[0]), countCell(row[1]), failedCell(row[2]), wordCell(percent(num(row[2]), num(row[1]))), bytesCell(row[3]),
			microsCell(p50), microsCell(p90), microsCell(p99))
		b.notes.protocols = append(b.notes.protocols, fmt.Sprintf("%s (%s)", str(row[0]), plural.Thousands(num(row[1]))))
		if n := num(row[2]); n > 0 {
			b.notes.failures = append(b.notes.failures, fmt.Sprintf("%s of %s %s", plural.Thousands(n), plural.Thousands(num(row[1])), str(row[0])))
		}
	}
	t.shares(1)
	s.Blocks = []Block{tableBlock(t)}
	return s, ""
}

func quantiles(v any) (p50, p90, p99 any) {
	list, _ := v.([]any)
	if len(list) != 3 {
		return nil, nil, nil
	}
	return list[0], list[1], list[2]
}

// services is who calls whom.
func (b *builder) services() (Section, string) {
	if b.calls == 0 {
		return Section{}, ""
	}
	s := Section{ID: "services", Title: "Who calls whom"}
	sql := fmt.Sprintf(`WITH n AS (SELECT %[1]sendpoint_id, kind, %[2]s AS node FROM endpoints e),
c AS (SELECT s.node AS client, d.node AS server, s.kind AS client_kind, d.kind AS server_kind, c.failed,
    CASE WHEN c.method IS NOT NULL THEN %[9]s END AS us, %[3]s AS ref
  FROM calls_raw c JOIN n s ON %[4]s JOIN n d ON %[5]s),
top AS (SELECT node FROM (SELECT client AS node FROM c UNION ALL SELECT server FROM c) GROUP BY node ORDER BY count(*) DESC, node LIMIT %[6]d)
SELECT coalesce(s.node, '%[7]s') AS from_node, coalesce(d.node, '%[7]s') AS to_node, min(client_kind) AS from_kind, min(server_kind) AS to_kind,
  count(*) AS calls, count(*) FILTER (WHERE failed) AS failed, quantile_disc(us, 0.5) AS p50_us, quantile_disc(us, 0.99) AS p99_us, min(ref) AS first_call
FROM c LEFT JOIN top s ON s.node = c.client LEFT JOIN top d ON d.node = c.server
GROUP BY from_node, to_node ORDER BY calls DESC, from_node, to_node LIMIT %[8]d`, b.bundleColumn("e"), node("e"), b.ref("c"),
		b.on("c", "s", "s.endpoint_id = c.src_id"), b.on("c", "d", "d.endpoint_id = c.dst_id"), mostNodes-1, others, mostEdges, terms.Took)
	rows := b.ask(sql)
	chart := &MapChart{}
	at := map[string]int{}
	nodeOf := func(name, kind any, calls int64) int {
		key, _ := name.(string)
		i, ok := at[key]
		if !ok {
			i = len(chart.Nodes)
			at[key] = i
			chart.Nodes = append(chart.Nodes, Node{Name: b.nodeName(name), Kind: kindWord(str(kind)), Others: key == others})
		}
		chart.Nodes[i].Calls += calls
		return i
	}
	t := &Table{ID: "edges", Title: "Calls between them", Queries: []Query{b.query(sql)}, Note: "Latency only of protocols with requests. The evidence is the first call of each pair.",
		Columns: []Column{name("From"), name("To"), number("Calls", ""), number("Failed", ""), number("Share failed", ""), number("p50", "latency"), number("p99", "latency")}}
	for i, row := range rows {
		calls := num(row[4])
		e := Edge{From: nodeOf(row[0], row[2], calls), To: nodeOf(row[1], row[3], calls), Calls: calls, Failed: num(row[5]), P50: microsCell(row[6]).Value, P99: microsCell(row[7]).Value}
		chart.Edges = append(chart.Edges, e)
		if i < 40 {
			t.add(b.cite(row[8]), wordCell(chart.Nodes[e.From].Name), wordCell(chart.Nodes[e.To].Name), countCell(row[4]), failedCell(row[5]),
				wordCell(percent(e.Failed, calls)), microsCell(row[6]), microsCell(row[7]))
		}
	}
	if len(rows) > len(t.Rows) {
		t.Note += " " + plural.Count(int64(len(rows)-len(t.Rows)), "more pair", "more pairs") + " with fewer calls: ask the query."
	}
	if len(chart.Edges) == 0 {
		return s, "ends of calls"
	}
	t.shares(2)
	f := &Figure{ID: "service-map", Title: "Map of calls", Map: chart, Queries: t.Queries}
	f.Alt = fmt.Sprintf("Map of %s and %s between them; the table below says the same in words.", plural.Count(int64(len(chart.Nodes)), "node", "nodes"),
		plural.Count(int64(len(chart.Edges)), "connection", "connections"))
	f.Note = "Calls run from left to right unless an arrow says otherwise; thicker is more calls. Red: some failed."
	if b.namespace != "" {
		f.Note += " Names without a namespace are of " + clean(b.namespace, 60) + ", here and in the tables."
	}
	s.Blocks = []Block{figureBlock(f), tableBlock(t)}
	return s, ""
}

// kindWord is a kind of endpoint for a person.
func kindWord(kind string) string {
	if kind == "unknown" || kind == "" {
		return "address"
	}
	return kind
}

// bundleColumn selects the bundle where there are several.
func (b *builder) bundleColumn(alias string) string {
	if b.several {
		return alias + ".bundle, "
	}
	return ""
}

// endpointCalls is SQL for calls of protocols with requests, with the endpoint they go to.
func (b *builder) endpointCalls() string {
	return fmt.Sprintf(`c AS (SELECT c.protocol, c.method, CASE WHEN c.protocol <> 'dns' THEN c.host END AS host, nullif(%[1]s, '') AS path, %[2]s AS server,
    %[5]s AS elapsed_us, c.failed, c.status_code, c.status_text, c.error, c.src_ip, c.ts_ns, %[3]s AS ref
  FROM calls_raw c JOIN endpoints d ON %[4]s WHERE c.method IS NOT NULL)`, terms.PathTemplate, node("d"), b.ref("c"), b.on("c", "d", "d.endpoint_id = c.dst_id"), terms.Took)
}

// target is an endpoint in one line.
func target(method, host, path any) string {
	m, h, p := str(method), "", str(path)
	if s, _ := host.(string); s != "" {
		h = clean(s, 60)
	}
	return clean(strings.TrimSpace(m+" "+h+p), maxText)
}

// slow is where time goes.
func (b *builder) slow() (Section, string) {
	if b.calls == 0 {
		return Section{}, ""
	}
	s := Section{ID: "slow", Title: "Slowest endpoints", Text: []string{"Segments of a path that look like ids are written {id}, so that calls of one kind count together. A call without an answer counts with how long its caller waited. The evidence is the slowest call of each."}}
	for _, kind := range []struct{ id, title, order string }{
		{"slow-p99", "By the slowest calls (p99)", "q[3] DESC"},
		{"slow-total", "By the time they took in all", "total_us DESC"},
	} {
		sql := fmt.Sprintf(`WITH %s
SELECT protocol, method, host, path, server, count(*) AS calls, count(*) FILTER (WHERE failed) AS failed, quantile_disc(elapsed_us, [0.5, 0.9, 0.99]) AS q,
  sum(elapsed_us)::BIGINT AS total_us, arg_max(ref, (elapsed_us, -ref)) AS slowest_call
FROM c WHERE elapsed_us IS NOT NULL
GROUP BY protocol, method, host, path, server ORDER BY %s, protocol, method, host, path, server LIMIT %d`, b.endpointCalls(), kind.order, mostEndpoints)
		t := &Table{ID: kind.id, Title: kind.title, Queries: []Query{b.query(sql)},
			Columns: []Column{column("Protocol"), code("Endpoint"), name("Server"), number("Calls", ""), number("Failed", ""), number("p50", "latency"), number("p99", "latency"), number("In all", "latencies")}}
		for i, row := range b.ask(sql) {
			p50, _, p99 := quantiles(row[7])
			t.add(b.cite(row[9]), textCell(row[0]), wordCell(target(row[1], row[2], row[3])), wordCell(b.nodeName(row[4])), countCell(row[5]), failedCell(row[6]),
				microsCell(p50), microsCell(p99), microsCell(row[8]))
			if i == 0 && kind.id == "slow-p99" {
				b.notes.slowest = fmt.Sprintf("%s %s at %s (p99 %s over %s)", str(row[0]), target(row[1], row[2], row[3]), b.nodeName(row[4]), micros(num(p99)), plural.Count(num(row[5]), "call", "calls"))
			}
		}
		if len(t.Rows) == 0 {
			return s, "calls with a latency"
		}
		t.shares(map[string]int{"slow-p99": 6, "slow-total": 7}[kind.id])
		s.Blocks = append(s.Blocks, tableBlock(t))
	}
	return s, ""
}

// failing is what went wrong, DNS aside, which has its own section.
func (b *builder) failing() (Section, string) {
	s := Section{ID: "failing", Title: "Failing endpoints", Text: []string{"The evidence is the first failed call of each kind; pcapsule show prints it whole. DNS has a section of its own."}}
	sql := fmt.Sprintf(`WITH %s,
k AS (SELECT protocol, method, host, path, server, failed, status_code, status_text, error, count(*) AS n, min(ref) AS first_call, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, count(DISTINCT src_ip) AS clients
  FROM c WHERE protocol <> 'dns' GROUP BY ALL)
SELECT protocol, method, host, path, server, status_code, status_text, error, n, calls, clients, first_ns, last_ns, first_call
FROM (SELECT *, sum(n) OVER (PARTITION BY protocol, method, host, path, server)::BIGINT AS calls FROM k) WHERE failed
ORDER BY n DESC, first_call LIMIT %d`, b.endpointCalls(), mostFailures)
	t := &Table{ID: "failures", Title: "Failed calls by endpoint and outcome", Queries: []Query{b.query(sql)},
		Columns: []Column{column("Protocol"), code("Endpoint"), name("Server"), name("Outcome"), number("Failed", "this way"), number("Calls", "in all"),
			number("Clients", "addresses"), moment("First (UTC)")}}
	for _, row := range b.ask(sql) {
		t.add(b.cite(row[13]), textCell(row[0]), wordCell(target(row[1], row[2], row[3])), wordCell(b.nodeName(row[4])), wordCell(outcome(ownCode(row[0], row[5]), row[6], row[7])),
			countCell(row[8]), countCell(row[9]), countCell(row[10]), wordCell(clock(num(row[11]), b.first, b.last)))
	}
	if len(t.Rows) == 0 {
		return s, "failed calls other than DNS"
	}
	t.shares(4)
	s.Blocks = []Block{tableBlock(t)}
	return s, ""
}

// ownCode is a status code that people know by its number, as those of HTTP are.
func ownCode(protocol, code any) any {
	if strings.HasPrefix(str(protocol), "http") {
		return code
	}
	return nil
}

// outcome is how a call ended, in the protocol's words.
func outcome(code, text, why any) string {
	var parts []string
	for _, v := range []any{code, text, why} {
		if s := str(v); s != "" {
			parts = append(parts, strings.ReplaceAll(s, "_", " "))
		}
	}
	if len(parts) == 0 {
		return "failed"
	}
	return strings.Join(parts, " ")
}
