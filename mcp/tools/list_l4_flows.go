package tools

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

var toolListL4Flows = Tool{Name: "list_l4_flows", set: "network", Sealed: true, title: "Transport flows",
	doc: "List TCP, UDP and other flows with packets, bytes and TCP health, or totals by pod, namespace, service or node. Filters match either endpoint. Each connection is there once; table flows has one row for each place where it was captured."}

type listL4FlowsIn struct {
	Aggregate string `json:"aggregate,omitempty" jsonschema:"one row per pair of these instead of per flow"`
	Transport string `json:"l4proto,omitempty" jsonschema:"protocol over IP"`
	IP        string `json:"ip,omitempty" jsonschema:"address"`
	Namespace string `json:"ns,omitempty" jsonschema:"namespace"`
	Pod       string `json:"pod,omitempty" jsonschema:"pod"`
	Service   string `json:"svc,omitempty" jsonschema:"service"`
	From      string `json:"from,omitempty" jsonschema:"start: a time such as 2026-01-31T14:15:00Z or 14:15:00, or a duration such as 15m before the end of the recording"`
	To        string `json:"to,omitempty" jsonschema:"end, inclusive; same forms as from"`
	limits
}

// ListL4FlowsOut is the answer of list_l4_flows.
type ListL4FlowsOut struct {
	Answer    string   `json:"answer" jsonschema:"how many flows or pairs match"`
	Columns   []string `json:"columns"`
	Flows     [][]any  `json:"flows" jsonschema:"one row per flow or pair, with values in the order of columns"`
	Citations string   `json:"citations" jsonschema:"how to get the packets of a row"`
	page
}

const flowColumns = `flow_id, make_timestamp_ns(first_ns) AS first, make_timestamp_ns(last_ns) AS last, transport, protocol, src_name, src_ip, src_port,
	dst_name, dst_ip, dst_port, src_packets, dst_packets, src_bytes, dst_bytes, state, close_reason, handshake_us, rtt_avg_us, retransmissions,
	out_of_order, zero_windows, resets, gap_bytes, first_packet, last_packet`

const sumColumns = `count(*) AS flows, sum(src_packets + dst_packets)::BIGINT AS packets, sum(src_bytes)::BIGINT AS src_bytes, sum(dst_bytes)::BIGINT AS dst_bytes,
	sum(retransmissions)::BIGINT AS retransmissions, sum(resets)::BIGINT AS resets, approx_quantile(handshake_us, 0.5)::BIGINT AS handshake_p50_us,
	approx_quantile(handshake_us, 0.99)::BIGINT AS handshake_p99_us`

func (s *Invocation) listL4Flows(ctx context.Context, in listL4FlowsIn) (ListL4FlowsOut, error) {
	out := ListL4FlowsOut{Columns: []string{}, Flows: [][]any{},
		Citations: "packets of a flow: run_sql 'select packet_no from packets where flow_id = N', or export_pcap with sql"}
	where, args, err := s.flowFilter(in)
	if err != nil {
		return out, err
	}
	no := ""
	if s.several() {
		no = "bundle, "
	}
	sql := "SELECT " + no + flowColumns + " FROM flows WHERE " + where + " ORDER BY first_ns, " + no + "flow_id"
	if in.Aggregate != "" {
		a := in.Aggregate
		sql = fmt.Sprintf(`SELECT coalesce(src_%[1]s, src_name) AS src, coalesce(dst_%[1]s, dst_name) AS dst, transport, %[2]s
			FROM flows WHERE %[3]s GROUP BY 1, 2, 3 ORDER BY sum(src_bytes + dst_bytes) DESC, 1, 2, 3`, a, sumColumns, where)
	}
	q := forensics.Query{SQL: sql, Args: args}
	list, r, err := rows(ctx, s, q, in.limits, s.line)
	if err != nil {
		return out, err
	}
	for _, c := range r.Columns {
		out.Columns = append(out.Columns, c.Name)
	}
	out.Flows, out.page = list, s.page(ctx, r)
	words := counted{"%d {flow matches|flows match}", "{flow that matches|flows that match}"}
	if in.Aggregate != "" {
		words = counted{"%d {pair has|pairs have} flows that match", "{pair|pairs} with flows that match"}
	}
	out.Answer, err = s.sentence(ctx, counting(q), in.limits, &out.page, len(list), words)
	return out, err
}

// line converts the values of a row to JSON.
func (s *Invocation) line(r *forensics.Result, i int) []any {
	line := make([]any, len(r.Rows[i]))
	for k, v := range r.Rows[i] {
		line[k] = s.value(v)
	}
	return line
}

// flowFilter returns an SQL condition on flows that selects one flow of each connection, however many vantages and
// bundles saw it; the user's values are arguments.
func (s *Invocation) flowFilter(in listL4FlowsIn) (string, []any, error) {
	where := []string{ask.FlowsOnce(s.Case, "true", ask.Largest)}
	var args []any
	both := func(value string, columns ...string) {
		if value == "" {
			return
		}
		var either []string
		for _, c := range columns {
			either = append(either, c+" = ?")
			args = append(args, value)
		}
		where = append(where, "("+strings.Join(either, " OR ")+")")
	}
	both(in.Transport, "transport")
	both(in.IP, "src_ip", "dst_ip")
	both(in.Namespace, "src_namespace", "dst_namespace")
	both(in.Pod, "src_pod", "dst_pod")
	both(in.Service, "src_service", "dst_service")
	from, to, err := s.times(in.From, in.To)
	if from != 0 {
		where, args = append(where, "last_ns >= ?"), append(args, from)
	}
	if to != 0 {
		where, args = append(where, "first_ns <= ?"), append(args, to)
	}
	return strings.Join(where, " AND "), args, err
}
