package tools

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/mcp/cases"
)

// ShapedEnd is one endpoint of a call or flow.
type ShapedEnd struct {
	IP   string `json:"ip"`
	Port int64  `json:"port,omitempty"`
	Pod  string `json:"pod,omitempty"`
	NS   string `json:"ns,omitempty"`
	Svc  string `json:"svc,omitempty"`
	Node string `json:"node,omitempty"`
	Name string `json:"name,omitempty"`
}

// ShapedCall is a call in the shape that dashboards expect.
type ShapedCall struct {
	ID        string        `json:"id"`
	Ts        int64         `json:"ts"`
	Src       ShapedEnd     `json:"src"`
	Dst       ShapedEnd     `json:"dst"`
	Proto     string        `json:"proto"`
	Method    string        `json:"method,omitempty"`
	Path      string        `json:"path,omitempty"`
	Status    *int64        `json:"status,omitempty"`
	Error     string        `json:"error,omitempty"`
	LatencyMs *float64      `json:"latency_ms,omitempty"`
	Failed    bool          `json:"failed"`
	Outcome   string        `json:"outcome,omitempty"`
	Packets   string        `json:"packets"`
	ConnID    *int64        `json:"conn_id,omitempty"`
	FlowID    *int64        `json:"flow_id,omitempty"`
	Headers   []ShapedField `json:"headers,omitempty"`
	ReqSize   *int64        `json:"req_size,omitempty"`
	RespSize  *int64        `json:"resp_size,omitempty"`
	Summary   string        `json:"summary,omitempty"`
}

// ShapedField is a header.
type ShapedField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Kind  string `json:"kind"`
}

// ShapedCalls is a page of calls.
type ShapedCalls struct {
	Calls     any          `json:"calls"`
	Total     int64        `json:"total" jsonschema:"calls on all pages"`
	Truncated bool         `json:"truncated"`
	Cursor    string       `json:"next_cursor,omitempty"`
	Coverage  ask.Coverage `json:"coverage"`
}

var shapedColumns = []string{"call_id", "ts_ns", "src_ip", "src_port", "src_pod", "src_namespace", "src_service", "src_node", "src_name",
	"dst_ip", "dst_port", "dst_pod", "dst_namespace", "dst_service", "dst_node", "dst_name", "protocol", "method", "path", "status_code", "error", "elapsed_us",
	"conn_id", "flow_id", "request_bytes", "response_bytes", "summary", "failed", "outcome", "cites"}

// ShapedPage selects a page of calls or flows.
type ShapedPage struct {
	Limit  int // rows
	Cursor string
	Format string // compact, full or, of calls, list: full without headers, raw: every column
}

// CallOrders lists the orders of calls; the first is the default.
var CallOrders = []string{"time", "newest", "slowest", "fastest", "largest"}

var callOrders = map[string]string{
	"newest":  "ts_ns desc, call_no desc",
	"slowest": "elapsed_us desc, ts_ns, call_no",
	"fastest": "elapsed_us, ts_ns, call_no",
	"largest": "response_bytes desc, ts_ns, call_no",
}

// ShapeCalls returns the calls that match a KFL filter, from one time to another in milliseconds
// since 1970 UTC, in one of CallOrders.
func (a *Invocation) ShapeCalls(ctx context.Context, kfl string, from, to int64, order string, page ShapedPage) (ShapedCalls, error) {
	q := forensics.Query{KFL: kfl, Limit: page.Limit, Cursor: page.Cursor, Columns: shapedColumns, MaxBytes: MaxBytes,
		From: from * int64(time.Millisecond), To: to * int64(time.Millisecond)}
	switch page.Format {
	case "raw":
		q.Columns = nil
	case "full":
		q.Columns = append(slices.Clip(shapedColumns), "headers")
	}
	q.Order = callOrders[order]
	r, err := a.Case.Query(ctx, q)
	if err != nil {
		return ShapedCalls{}, err
	}
	total, err := totalOf(ctx, a, q, r, forensics.Query{KFL: q.KFL, From: q.From, To: q.To, Count: true})
	if err != nil {
		return ShapedCalls{}, err
	}
	out := ShapedCalls{Total: total, Truncated: r.Truncated, Cursor: r.Next, Coverage: ask.CoverageOf(r.Coverage)}
	if page.Format == "raw" {
		list := []json.RawMessage{}
		for _, row := range r.Rows {
			list = append(list, encode.Row(nil, r.Columns, row))
		}
		out.Calls = list
		return out, nil
	}
	if err := a.Case.CiteRows(ctx, r); err != nil {
		return ShapedCalls{}, err
	}
	list := []ShapedCall{}
	for i, row := range r.Rows {
		list = append(list, shapedCall(row, citation(r, i), page.Format))
	}
	out.Calls = list
	return out, nil
}

// totalOf returns the number of rows on all pages of q: those of r if it is the only page, or
// else the result of count.
func totalOf(ctx context.Context, a *Invocation, q forensics.Query, r *forensics.Result, count forensics.Query) (int64, error) {
	if !r.Truncated && q.Cursor == "" {
		return int64(len(r.Rows)), nil
	}
	all, err := a.Case.Query(ctx, count)
	if err != nil {
		return 0, err
	}
	return number(all.Rows[0][0]), nil
}

func endOf(row []any) ShapedEnd {
	return ShapedEnd{IP: text(row[0]), Port: number(row[1]), Pod: text(row[2]), NS: text(row[3]), Svc: text(row[4]), Node: text(row[5]), Name: text(row[6])}
}

func shapedCall(row []any, packets, format string) ShapedCall {
	id, _ := row[0].([]byte)
	c := ShapedCall{ID: hex.EncodeToString(id), Ts: number(row[1]) / int64(time.Millisecond), Src: endOf(row[2:9]), Dst: endOf(row[9:16]), Proto: text(row[16]), Method: text(row[17]),
		Path: ask.Clip(text(row[18]), maxCell), Status: optional(row[19]), Error: text(row[20]), Outcome: text(row[28]), Packets: packets}
	c.Failed, _ = row[27].(bool)
	if us := optional(row[21]); us != nil {
		ms := float64(*us) / 1000
		c.LatencyMs = &ms
	}
	if format != "full" && format != "list" {
		return c
	}
	c.ConnID, c.FlowID, c.ReqSize, c.RespSize, c.Summary = optional(row[22]), optional(row[23]), optional(row[24]), optional(row[25]), ask.Clip(text(row[26]), 300)
	if format == "list" {
		return c
	}
	list, _ := row[len(shapedColumns)].([]any)
	for _, e := range list {
		if h, ok := e.(forensics.Struct); ok {
			c.Headers = append(c.Headers, ShapedField{text(h.Get("name")), ask.Clip(text(h.Get("value")), maxCell), text(h.Get("kind"))})
		}
	}
	return c
}

// ShapedFlow is a flow in the shape that dashboards expect.
type ShapedFlow struct {
	Proto       string      `json:"proto"`
	Client      ShapedEnd   `json:"client"`
	Server      ShapedEnd   `json:"server"`
	ClientStats ShapedStats `json:"client_stats"`
	ServerStats ShapedStats `json:"server_stats"`
	Totals      ShapedStats `json:"totals"`
	FlowID      int64       `json:"flow_id"`
	State       string      `json:"state,omitempty"`
	First       int64       `json:"first_ts"`
	Last        int64       `json:"last_ts"`
}

// ShapedStats count packets and bytes.
type ShapedStats struct {
	TxPkts      int64  `json:"tx_pkts,omitempty"`
	RxPkts      int64  `json:"rx_pkts,omitempty"`
	TxBytes     int64  `json:"tx_bytes,omitempty"`
	RxBytes     int64  `json:"rx_bytes,omitempty"`
	Pkts        int64  `json:"pkts,omitempty"`
	Bytes       int64  `json:"bytes,omitempty"`
	HandshakeUs *int64 `json:"tcp_handshake_us,omitempty"`
	Retransmits *int64 `json:"retransmissions,omitempty"`
}

// ShapedFlows is a page of flows.
type ShapedFlows struct {
	Flows     []ShapedFlow `json:"flows"`
	Total     int64        `json:"total" jsonschema:"flows on all pages"`
	Truncated bool         `json:"truncated"`
	Cursor    string       `json:"next_cursor,omitempty"`
	Coverage  ask.Coverage `json:"coverage"`
}

// FlowFilter selects flows by their protocol and either endpoint, and by the calls on them; empty members select all.
type FlowFilter struct {
	Transport, IP, Namespace, Pod, Service string
	ChartFilter                            // the flow overlaps its time, and has a call that matches its filter
}

// ShapeFlows returns the flows that match a filter, the largest first.
func (a *Invocation) ShapeFlows(ctx context.Context, f FlowFilter, page ShapedPage) (ShapedFlows, error) {
	where, args, err := a.flowFilter(listL4FlowsIn{Transport: f.Transport, IP: f.IP, Namespace: f.Namespace, Pod: f.Pod, Service: f.Service})
	if err != nil {
		return ShapedFlows{}, err
	}
	w, err := f.window(ctx, a, page.Limit)
	if err != nil {
		return ShapedFlows{}, err
	}
	no := ""
	if a.several() {
		no = "bundle, "
	}
	if f.KFL != "" {
		where += " AND (" + no + "conn_id) IN (SELECT (" + no + "conn_id) FROM calls WHERE " + w.Where + ")"
		args = append(args, w.Args...)
	}
	if w.Asked {
		where, args = where+" AND last_ns >= ? AND first_ns <= ?", append(args, w.From, w.To)
	}
	q := forensics.Query{SQL: `SELECT flow_id, transport, src_ip, src_port, src_pod, src_namespace, src_service, src_node, src_name, dst_ip, dst_port, dst_pod, dst_namespace, dst_service, dst_node, dst_name,
		src_packets, dst_packets, src_bytes, dst_bytes, state, first_ns, last_ns, handshake_us, retransmissions FROM flows WHERE ` + where + ` ORDER BY src_bytes + dst_bytes DESC, ` + no + `flow_id`, Args: args, Limit: page.Limit, Cursor: page.Cursor, MaxBytes: MaxBytes}
	r, err := a.Case.Query(ctx, q)
	if err != nil {
		return ShapedFlows{}, err
	}
	total, err := totalOf(ctx, a, q, r, forensics.Query{SQL: "SELECT count(*) FROM flows WHERE " + where, Args: args})
	if err != nil {
		return ShapedFlows{}, err
	}
	list := []ShapedFlow{}
	for _, row := range r.Rows {
		f := ShapedFlow{FlowID: number(row[0]), Proto: text(row[1]), Client: endOf(row[2:9]), Server: endOf(row[9:16]), State: text(row[20]),
			First: number(row[21]) / int64(time.Millisecond), Last: number(row[22]) / int64(time.Millisecond)}
		f.Client.Port = 0 // a client's port is ephemeral
		f.ClientStats = ShapedStats{TxPkts: number(row[16]), RxPkts: number(row[17]), TxBytes: number(row[18]), RxBytes: number(row[19]), HandshakeUs: optional(row[23]), Retransmits: optional(row[24])}
		f.ServerStats = ShapedStats{TxPkts: number(row[17]), RxPkts: number(row[16]), TxBytes: number(row[19]), RxBytes: number(row[18])}
		f.Totals = ShapedStats{Pkts: number(row[16]) + number(row[17]), Bytes: number(row[18]) + number(row[19])}
		list = append(list, f)
	}
	cov, err := a.Case.Coverage(w.From, w.To)
	return ShapedFlows{list, total, r.Truncated, r.Next, ask.CoverageOf(cov)}, err
}

// ShapedPair is the traffic from one namespace to another.
type ShapedPair struct {
	Src   string `json:"src_ns"`
	Dst   string `json:"dst_ns"`
	Flows int64  `json:"flows"`
	Bytes int64  `json:"bytes"`
}

// ShapedTop is the traffic between two endpoints.
type ShapedTop struct {
	Client string `json:"client"`
	Server string `json:"server"`
	Bytes  int64  `json:"bytes"`
	Pkts   int64  `json:"pkts"`
}

// ShapedSummary are totals over all flows.
type ShapedSummary struct {
	Total          int64            `json:"total_flows"`
	TCP            int64            `json:"tcp_flows"`
	UDP            int64            `json:"udp_flows"`
	Bytes          int64            `json:"total_bytes"`
	Pkts           int64            `json:"total_pkts"`
	Clients        int64            `json:"unique_clients"`
	Servers        int64            `json:"unique_servers"`
	TopByBytes     []ShapedTop      `json:"top_by_bytes"`
	TopByPkts      []ShapedTop      `json:"top_by_pkts"`
	ByNamespace    map[string]int64 `json:"by_namespace"`
	CrossNamespace []ShapedPair     `json:"cross_namespace"`
	Coverage       ask.Coverage     `json:"coverage"`
}

// ShapeSummary returns totals over all flows.
func (a *Invocation) ShapeSummary(ctx context.Context) (ShapedSummary, error) {
	out := ShapedSummary{TopByBytes: []ShapedTop{}, TopByPkts: []ShapedTop{}, ByNamespace: map[string]int64{}, CrossNamespace: []ShapedPair{}}
	where, args, err := a.flowFilter(listL4FlowsIn{})
	if err != nil {
		return out, err
	}
	sums := func(sql string, each func(row []any)) error {
		r, err := a.Case.Query(ctx, forensics.Query{SQL: "WITH f AS (SELECT * FROM flows WHERE " + where + ") " + sql, Args: args, Limit: ask.MaxAll})
		if err != nil {
			return err
		}
		out.Coverage = ask.CoverageOf(r.Coverage)
		for _, row := range r.Rows {
			each(row)
		}
		return nil
	}
	err = sums(`SELECT count(*), count(*) FILTER (transport = 'tcp'), count(*) FILTER (transport = 'udp'), coalesce(sum(src_bytes + dst_bytes), 0)::BIGINT, coalesce(sum(src_packets + dst_packets), 0)::BIGINT,
		count(DISTINCT src_ip), count(DISTINCT dst_ip) FROM f`, func(r []any) {
		out.Total, out.TCP, out.UDP, out.Bytes, out.Pkts, out.Clients, out.Servers = number(r[0]), number(r[1]), number(r[2]), number(r[3]), number(r[4]), number(r[5]), number(r[6])
	})
	for _, by := range []struct {
		order string
		to    *[]ShapedTop
	}{{"bytes", &out.TopByBytes}, {"pkts", &out.TopByPkts}} {
		if err == nil {
			err = sums(`SELECT src_name, dst_name, sum(src_bytes + dst_bytes)::BIGINT AS bytes, sum(src_packets + dst_packets)::BIGINT AS pkts FROM f GROUP BY 1, 2 ORDER BY `+by.order+` DESC, 1, 2 LIMIT 10`, func(r []any) {
				*by.to = append(*by.to, ShapedTop{text(r[0]), text(r[1]), number(r[2]), number(r[3])})
			})
		}
	}
	if err == nil {
		err = sums(`SELECT coalesce(dst_namespace, ''), count(*) FROM f GROUP BY 1 ORDER BY 1`, func(r []any) { out.ByNamespace[text(r[0])] = number(r[1]) })
	}
	if err == nil {
		err = sums(`SELECT src_namespace, dst_namespace, count(*), sum(src_bytes + dst_bytes)::BIGINT FROM f WHERE src_namespace <> dst_namespace GROUP BY 1, 2 ORDER BY 4 DESC, 1, 2`, func(r []any) {
			out.CrossNamespace = append(out.CrossNamespace, ShapedPair{text(r[0]), text(r[1]), number(r[2]), number(r[3])})
		})
	}
	return out, err
}

// Database is a bundle, a dissection or the live traffic.
type Database struct {
	Type     string `json:"type" jsonschema:"bundle, dissection or realtime"`
	Snapshot string `json:"snapshot,omitempty"`
	Name     string `json:"name"`
	DB       string `json:"db"`
	Entries  int64  `json:"entry_count"`
	First    int64  `json:"first_ts,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	Last     int64  `json:"last_ts,omitempty"`
	Status   string `json:"status"`
}

// Databases are the databases to query.
type Databases struct {
	Databases []Database `json:"databases"`
}

// Databases lists the databases to query.
func (a *Invocation) Databases(ctx context.Context) (Databases, error) {
	list := []Database{}
	if c, release, err := a.Cases.Acquire(); err == nil {
		defer release()
		for _, b := range c.Bundles() {
			d := Database{Type: "bundle", Name: b.Path, Status: "completed"}
			if !a.Cases.HasRing() {
				d.Snapshot = cases.SnapshotNames(c)[b.Index]
				d.DB = d.Snapshot + "/" + cases.MainDissection
			}
			for _, n := range b.Manifest.Calls {
				d.Entries += n
			}
			if w := b.Manifest.Window; w.FirstNs != nil && w.LastNs != nil {
				d.First, d.Last = int64(*w.FirstNs)/int64(time.Millisecond), int64(*w.LastNs)/int64(time.Millisecond)
			}
			list = append(list, d)
		}
	}
	if a.Cases.HasRing() {
		all, err := a.Cases.Store().Dissections(ctx, "")
		if err != nil {
			return Databases{}, err
		}
		for _, x := range all {
			list = append(list, Database{Type: "dissection", Snapshot: x.Snapshot, Name: x.Name, DB: x.DB, Entries: x.Stats.Calls, Status: x.Status})
		}
		list = append(list, Database{Type: "realtime", Name: "live", DB: "live", Status: "running"})
	}
	return Databases{list}, nil
}
