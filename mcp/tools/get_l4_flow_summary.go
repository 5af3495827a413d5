package tools

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

var toolGetL4FlowSummary = Tool{Name: "get_l4_flow_summary", set: "network", Sealed: true, title: "Traffic summary",
	doc: "Summarize all flows, each connection once: totals, top talkers by bytes, traffic by namespace, between namespaces and to external addresses, and TCP health."}

type getL4FlowSummaryIn struct {
	From string `json:"from,omitempty" jsonschema:"start: a time such as 2026-01-31T14:15:00Z or 14:15:00, or a duration such as 15m before the end of the recording"`
	To   string `json:"to,omitempty" jsonschema:"end, inclusive; same forms as from"`
}

// GetL4FlowSummaryOut is the answer of get_l4_flow_summary.
type GetL4FlowSummaryOut struct {
	Totals         map[string]any   `json:"totals"`
	TopByBytes     []map[string]any `json:"top_by_bytes"`
	ByNamespace    []map[string]any `json:"by_namespace"`
	CrossNamespace []map[string]any `json:"cross_namespace"`
	Outside        []map[string]any `json:"outside" jsonschema:"external addresses that internal ones connected to"`
	Coverage       ask.Coverage     `json:"coverage"`
	Citations      string           `json:"citations"`
}

func (s *Invocation) getL4FlowSummary(ctx context.Context, in getL4FlowSummaryIn) (GetL4FlowSummaryOut, error) {
	out := GetL4FlowSummaryOut{Citations: "the numbers are totals over table flows; its first_packet and last_packet, and packets.flow_id, name the packets"}
	where, args, err := s.flowFilter(listL4FlowsIn{From: in.From, To: in.To})
	if err != nil {
		return out, err
	}
	read := func(sql string) (rows []map[string]any) {
		rows = []map[string]any{}
		if err != nil {
			return rows
		}
		var r *forensics.Result
		if r, err = s.Case.Query(ctx, forensics.Query{SQL: sql, Args: args, Limit: 20}); err != nil {
			return rows
		}
		s.maskRows(r)
		for _, row := range r.Rows {
			m := map[string]any{}
			for i, c := range r.Columns {
				if v := s.value(row[i]); v != nil {
					m[c.Name] = v
				}
			}
			rows = append(rows, m)
		}
		return rows
	}
	const sums = "count(*) AS flows, sum(src_bytes + dst_bytes)::BIGINT AS bytes, sum(src_packets + dst_packets)::BIGINT AS packets"
	totals := read(`SELECT ` + sums + `, count(*) FILTER (transport = 'tcp') AS tcp_flows, count(*) FILTER (transport = 'udp') AS udp_flows,
		count(DISTINCT src_ip) AS unique_clients, count(DISTINCT dst_ip) AS unique_servers, sum(retransmissions)::BIGINT AS retransmissions,
		sum(out_of_order)::BIGINT AS out_of_order, sum(resets)::BIGINT AS resets, sum(zero_windows)::BIGINT AS zero_windows, sum(gap_bytes)::BIGINT AS gap_bytes,
		count(*) FILTER (transport = 'tcp' AND NOT ` + terms.Accepted + `) AS unanswered_or_refused, approx_quantile(handshake_us, 0.5)::BIGINT AS handshake_p50_us,
		approx_quantile(handshake_us, 0.99)::BIGINT AS handshake_p99_us FROM flows WHERE ` + where)
	if len(totals) > 0 {
		out.Totals = totals[0]
	}
	out.TopByBytes = read(`SELECT src_name AS src, dst_name AS dst, dst_port, transport, ` + sums + ` FROM flows WHERE ` + where + ` GROUP BY ALL ORDER BY bytes DESC, 1, 2, 3 LIMIT 10`)
	out.ByNamespace = read(`SELECT dst_namespace AS namespace, ` + sums + ` FROM flows WHERE dst_namespace IS NOT NULL AND ` + where + ` GROUP BY 1 ORDER BY bytes DESC, 1`)
	out.CrossNamespace = read(`SELECT src_namespace, dst_namespace, ` + sums + ` FROM flows WHERE src_namespace <> dst_namespace AND ` + where + ` GROUP BY 1, 2 ORDER BY bytes DESC, 1, 2`)
	out.Outside = read(`SELECT dst_name AS name, dst_ip AS ip, ` + sums + ` FROM flows WHERE dst_external AND NOT src_external AND ` + where + ` GROUP BY 1, 2 ORDER BY bytes DESC, 1, 2 LIMIT 15`)
	if err != nil {
		return out, err
	}
	from, to, err := s.times(in.From, in.To)
	if err != nil {
		return out, err
	}
	cov, err := s.Case.Coverage(from, to)
	out.Coverage = ask.CoverageOf(cov)
	return out, err
}
