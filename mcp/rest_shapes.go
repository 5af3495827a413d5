package mcp

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// restEnd is one endpoint of a call or flow.
type restEnd struct {
	IP   string `json:"ip"`
	Port int64  `json:"port,omitempty"`
	Pod  string `json:"pod,omitempty"`
	NS   string `json:"ns,omitempty"`
	Svc  string `json:"svc,omitempty"`
	Node string `json:"node,omitempty"`
	Name string `json:"name,omitempty"`
}

// restCall is a call in the shape that dashboards expect.
type restCall struct {
	ID        string      `json:"id"`
	Ts        int64       `json:"ts"`
	Src       restEnd     `json:"src"`
	Dst       restEnd     `json:"dst"`
	Proto     string      `json:"proto"`
	Method    string      `json:"method,omitempty"`
	Path      string      `json:"path,omitempty"`
	Status    *int64      `json:"status,omitempty"`
	Error     string      `json:"error,omitempty"`
	LatencyMs *float64    `json:"latency_ms,omitempty"`
	Packets   string      `json:"packets"`
	ConnID    *int64      `json:"conn_id,omitempty"`
	FlowID    *int64      `json:"flow_id,omitempty"`
	Headers   []restField `json:"headers,omitempty"`
	ReqSize   *int64      `json:"req_size,omitempty"`
	RespSize  *int64      `json:"resp_size,omitempty"`
	Summary   string      `json:"summary,omitempty"`
}

type restField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Kind  string `json:"kind"`
}

type restCallsOut struct {
	Calls     any          `json:"calls"`
	Total     int64        `json:"total" jsonschema:"calls on all pages"`
	Truncated bool         `json:"truncated"`
	Cursor    string       `json:"next_cursor,omitempty"`
	Coverage  ask.Coverage `json:"coverage"`
}

var restColumns = []string{"call_id", "ts_ns", "src_ip", "src_port", "src_pod", "src_namespace", "src_service", "src_node", "src_name",
	"dst_ip", "dst_port", "dst_pod", "dst_namespace", "dst_service", "dst_node", "dst_name", "protocol", "method", "path", "status_code", "error", "elapsed_us",
	"conn_id", "flow_id", "headers", "request_bytes", "response_bytes", "summary", "cites"}

// limit returns the number of rows of a page, 100 by default.
func (x *question) limit() int {
	if n := x.number("limit"); n > 0 {
		return int(n)
	}
	return 100
}

// callsRoute returns the route of calls, whose rows have all columns of the table if format is raw.
func callsRoute(s *Server, rt route) route {
	rt = typed(s, rt, false, restCalls)
	raw := &jsonschema.Schema{Type: "object", Description: "format=raw: every column of table calls", Required: []string{"call_id"}}
	rt.answer.Properties["calls"] = &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{schema[restCall](rt.Path), raw}}}
	return rt
}

func restCalls(ctx context.Context, a *invocation, x *question) (restCallsOut, error) {
	q := forensics.Query{KFL: x.get("kfl"), Limit: x.limit(), Cursor: x.get("cursor"), Columns: restColumns, MaxBytes: maxBytes,
		From: x.number("start") * int64(time.Millisecond), To: x.number("end") * int64(time.Millisecond)}
	format := x.get("format")
	if format == "raw" {
		q.Columns = nil
	}
	r, err := a.c.Query(ctx, q)
	if err != nil {
		return restCallsOut{}, err
	}
	total, err := totalOf(ctx, a, q, r, forensics.Query{KFL: q.KFL, From: q.From, To: q.To, Count: true})
	if err != nil {
		return restCallsOut{}, err
	}
	out := restCallsOut{Total: total, Truncated: r.Truncated, Cursor: r.Next, Coverage: ask.CoverageOf(r.Coverage)}
	if format == "raw" {
		list := []json.RawMessage{}
		for _, row := range r.Rows {
			list = append(list, forensics.AppendRow(nil, r.Columns, row))
		}
		out.Calls = list
		return out, nil
	}
	list := []restCall{}
	for i, row := range r.Rows {
		list = append(list, restCallOf(row, citation(r, i), format == "full"))
	}
	out.Calls = list
	return out, nil
}

// totalOf returns the number of rows on all pages of q: those of r if it is the only page, or
// else the result of count.
func totalOf(ctx context.Context, a *invocation, q forensics.Query, r *forensics.Result, count forensics.Query) (int64, error) {
	if !r.Truncated && q.Cursor == "" {
		return int64(len(r.Rows)), nil
	}
	all, err := a.c.Query(ctx, count)
	if err != nil {
		return 0, err
	}
	return number(all.Rows[0][0]), nil
}

func endOf(row []any) restEnd {
	return restEnd{IP: text(row[0]), Port: number(row[1]), Pod: text(row[2]), NS: text(row[3]), Svc: text(row[4]), Node: text(row[5]), Name: text(row[6])}
}

func restCallOf(row []any, packets string, full bool) restCall {
	id, _ := row[0].([]byte)
	c := restCall{ID: hex.EncodeToString(id), Ts: number(row[1]) / int64(time.Millisecond), Src: endOf(row[2:9]), Dst: endOf(row[9:16]), Proto: text(row[16]), Method: text(row[17]),
		Path: clip(text(row[18]), maxCell), Status: optional(row[19]), Error: text(row[20]), Packets: packets}
	if us := optional(row[21]); us != nil {
		ms := float64(*us) / 1000
		c.LatencyMs = &ms
	}
	if !full {
		return c
	}
	c.ConnID, c.FlowID, c.ReqSize, c.RespSize, c.Summary = optional(row[22]), optional(row[23]), optional(row[25]), optional(row[26]), clip(text(row[27]), 300)
	list, _ := row[24].([]any)
	for _, e := range list {
		if h, ok := e.(forensics.Struct); ok {
			c.Headers = append(c.Headers, restField{text(h.Get("name")), clip(text(h.Get("value")), maxCell), text(h.Get("kind"))})
		}
	}
	return c
}

// restFlow is a flow in the shape that dashboards expect.
type restFlow struct {
	Proto       string    `json:"proto"`
	Client      restEnd   `json:"client"`
	Server      restEnd   `json:"server"`
	ClientStats restStats `json:"client_stats"`
	ServerStats restStats `json:"server_stats"`
	Totals      restStats `json:"totals"`
	FlowID      int64     `json:"flow_id"`
	State       string    `json:"state,omitempty"`
	First       int64     `json:"first_ts"`
	Last        int64     `json:"last_ts"`
}

type restStats struct {
	TxPkts      int64  `json:"tx_pkts,omitempty"`
	RxPkts      int64  `json:"rx_pkts,omitempty"`
	TxBytes     int64  `json:"tx_bytes,omitempty"`
	RxBytes     int64  `json:"rx_bytes,omitempty"`
	Pkts        int64  `json:"pkts,omitempty"`
	Bytes       int64  `json:"bytes,omitempty"`
	HandshakeUs *int64 `json:"tcp_handshake_us,omitempty"`
	Retransmits *int64 `json:"retransmissions,omitempty"`
}

type restFlowsOut struct {
	Flows     []restFlow   `json:"flows"`
	Total     int64        `json:"total" jsonschema:"flows on all pages"`
	Truncated bool         `json:"truncated"`
	Cursor    string       `json:"next_cursor,omitempty"`
	Coverage  ask.Coverage `json:"coverage"`
}

func restFlows(ctx context.Context, a *invocation, x *question) (restFlowsOut, error) {
	where, args, err := a.flowFilter(listL4FlowsIn{Transport: x.get("l4proto"), IP: x.get("ip"), Namespace: x.get("ns"), Pod: x.get("pod"), Service: x.get("svc")})
	if err != nil {
		return restFlowsOut{}, err
	}
	no := ""
	if a.several() {
		no = "bundle, "
	}
	q := forensics.Query{SQL: `SELECT flow_id, transport, src_ip, src_port, src_pod, src_namespace, src_service, src_node, src_name, dst_ip, dst_port, dst_pod, dst_namespace, dst_service, dst_node, dst_name,
		src_packets, dst_packets, src_bytes, dst_bytes, state, first_ns, last_ns, handshake_us, retransmissions FROM flows WHERE ` + where + ` ORDER BY src_bytes + dst_bytes DESC, ` + no + `flow_id`, Args: args, Limit: x.limit(), Cursor: x.get("cursor"), MaxBytes: maxBytes}
	r, err := a.c.Query(ctx, q)
	if err != nil {
		return restFlowsOut{}, err
	}
	total, err := totalOf(ctx, a, q, r, forensics.Query{SQL: "SELECT count(*) FROM flows WHERE " + where, Args: args})
	if err != nil {
		return restFlowsOut{}, err
	}
	list := []restFlow{}
	for _, row := range r.Rows {
		f := restFlow{FlowID: number(row[0]), Proto: text(row[1]), Client: endOf(row[2:9]), Server: endOf(row[9:16]), State: text(row[20]),
			First: number(row[21]) / int64(time.Millisecond), Last: number(row[22]) / int64(time.Millisecond)}
		f.Client.Port = 0 // a client's port is ephemeral
		f.ClientStats = restStats{TxPkts: number(row[16]), RxPkts: number(row[17]), TxBytes: number(row[18]), RxBytes: number(row[19]), HandshakeUs: optional(row[23]), Retransmits: optional(row[24])}
		f.ServerStats = restStats{TxPkts: number(row[17]), RxPkts: number(row[16]), TxBytes: number(row[19]), RxBytes: number(row[18])}
		f.Totals = restStats{Pkts: number(row[16]) + number(row[17]), Bytes: number(row[18]) + number(row[19])}
		list = append(list, f)
	}
	return restFlowsOut{list, total, r.Truncated, r.Next, ask.CoverageOf(r.Coverage)}, nil
}

// restPair is the traffic from one namespace to another.
type restPair struct {
	Src   string `json:"src_ns"`
	Dst   string `json:"dst_ns"`
	Flows int64  `json:"flows"`
	Bytes int64  `json:"bytes"`
}

// restTop is the traffic between two endpoints.
type restTop struct {
	Client string `json:"client"`
	Server string `json:"server"`
	Bytes  int64  `json:"bytes"`
	Pkts   int64  `json:"pkts"`
}

type restSummaryOut struct {
	Total          int64            `json:"total_flows"`
	TCP            int64            `json:"tcp_flows"`
	UDP            int64            `json:"udp_flows"`
	Bytes          int64            `json:"total_bytes"`
	Pkts           int64            `json:"total_pkts"`
	Clients        int64            `json:"unique_clients"`
	Servers        int64            `json:"unique_servers"`
	TopByBytes     []restTop        `json:"top_by_bytes"`
	TopByPkts      []restTop        `json:"top_by_pkts"`
	ByNamespace    map[string]int64 `json:"by_namespace"`
	CrossNamespace []restPair       `json:"cross_namespace"`
	Coverage       ask.Coverage     `json:"coverage"`
}

func restSummary(ctx context.Context, a *invocation, x *question) (restSummaryOut, error) {
	out := restSummaryOut{TopByBytes: []restTop{}, TopByPkts: []restTop{}, ByNamespace: map[string]int64{}, CrossNamespace: []restPair{}}
	sums := func(sql string, each func(row []any)) error {
		r, err := a.c.Query(ctx, forensics.Query{SQL: sql, Limit: ask.MaxAll})
		if err != nil {
			return err
		}
		out.Coverage = ask.CoverageOf(r.Coverage)
		for _, row := range r.Rows {
			each(row)
		}
		return nil
	}
	err := sums(`SELECT count(*), count(*) FILTER (transport = 'tcp'), count(*) FILTER (transport = 'udp'), coalesce(sum(src_bytes + dst_bytes), 0)::BIGINT, coalesce(sum(src_packets + dst_packets), 0)::BIGINT,
		count(DISTINCT src_ip), count(DISTINCT dst_ip) FROM flows`, func(r []any) {
		out.Total, out.TCP, out.UDP, out.Bytes, out.Pkts, out.Clients, out.Servers = number(r[0]), number(r[1]), number(r[2]), number(r[3]), number(r[4]), number(r[5]), number(r[6])
	})
	for _, by := range []struct {
		order string
		to    *[]restTop
	}{{"bytes", &out.TopByBytes}, {"pkts", &out.TopByPkts}} {
		if err == nil {
			err = sums(`SELECT src_name, dst_name, sum(src_bytes + dst_bytes)::BIGINT AS bytes, sum(src_packets + dst_packets)::BIGINT AS pkts FROM flows GROUP BY 1, 2 ORDER BY `+by.order+` DESC, 1, 2 LIMIT 10`, func(r []any) {
				*by.to = append(*by.to, restTop{text(r[0]), text(r[1]), number(r[2]), number(r[3])})
			})
		}
	}
	if err == nil {
		err = sums(`SELECT coalesce(dst_namespace, ''), count(*) FROM flows GROUP BY 1 ORDER BY 1`, func(r []any) { out.ByNamespace[text(r[0])] = number(r[1]) })
	}
	if err == nil {
		err = sums(`SELECT src_namespace, dst_namespace, count(*), sum(src_bytes + dst_bytes)::BIGINT FROM flows WHERE src_namespace <> dst_namespace GROUP BY 1, 2 ORDER BY 4 DESC, 1, 2`, func(r []any) {
			out.CrossNamespace = append(out.CrossNamespace, restPair{text(r[0]), text(r[1]), number(r[2]), number(r[3])})
		})
	}
	return out, err
}

// restDatabase is a bundle, a dissection or the live traffic.
type restDatabase struct {
	Type     string `json:"type" jsonschema:"bundle, dissection or realtime"`
	Snapshot string `json:"snapshot,omitempty"`
	Name     string `json:"name"`
	DB       string `json:"db"`
	Entries  int64  `json:"entry_count"`
	First    int64  `json:"first_ts,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	Last     int64  `json:"last_ts,omitempty"`
	Status   string `json:"status"`
}

type restDatabasesOut struct {
	Databases []restDatabase `json:"databases"`
}

// restDatabases lists the databases to query.
func restDatabases(ctx context.Context, a *invocation, _ *question) (restDatabasesOut, error) {
	list := []restDatabase{}
	if c, release, err := a.cases.acquire(); err == nil {
		defer release()
		for _, b := range c.Bundles() {
			d := restDatabase{Type: "bundle", Name: b.Path, Status: "completed"}
			if a.o.Store == nil {
				d.Snapshot = snapshotNames(c)[b.Index]
				d.DB = d.Snapshot + "/" + mainDissection
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
	if a.o.Store != nil {
		all, err := a.o.Store.Dissections(ctx, "")
		if err != nil {
			return restDatabasesOut{}, err
		}
		for _, x := range all {
			list = append(list, restDatabase{Type: "dissection", Snapshot: x.Snapshot, Name: x.Name, DB: x.DB, Entries: x.Stats.Calls, Status: x.Status})
		}
		list = append(list, restDatabase{Type: "realtime", Name: "live", DB: "live", Status: "running"})
	}
	return restDatabasesOut{list}, nil
}
