package tally

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Transport summarizes TCP flows, one of each connection. Times are the 50th, 90th and 99th percentile in microseconds.
type Transport struct {
	Flows      int64   `json:"flows"`
	Packets    int64   `json:"packets"`
	Resent     int64   `json:"retransmissions"`
	Fast       int64   `json:"fast"`
	OutOfOrder int64   `json:"out_of_order"`
	DupACKs    int64   `json:"duplicate_acks"`
	ZeroWindow int64   `json:"zero_windows"`
	Resets     int64   `json:"resets"`
	Refused    int64   `json:"refused"`
	Gaps       int64   `json:"gaps"`
	GapBytes   int64   `json:"gap_bytes"`
	OneSided   int64   `json:"one_sided"`
	Handshake  []int64 `json:"handshake"`
	RoundTrip  []int64 `json:"rtt"`
}

// flows is the condition for flows_raw of a window: one flow of each connection, however many vantages and bundles saw
// it. Of several bundles that saw it, the one with the most packets counts.
func flows(c *forensics.Case, w *ask.Window) string {
	return during(w) + " AND " + ask.FlowsOnce(c, during(w), ask.Largest)
}

// TCP summarizes TCP flows, one of each connection, in one row.
func TCP(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Transport], error) {
	return read[Transport](ctx, c, `SELECT count(*) AS flows, sum(src_packets + dst_packets)::BIGINT AS packets, sum(retransmissions)::BIGINT AS retransmissions, sum(fast_retransmissions)::BIGINT AS fast,
  sum(out_of_order)::BIGINT AS out_of_order, sum(duplicate_acks)::BIGINT AS duplicate_acks, sum(zero_windows)::BIGINT AS zero_windows, sum(resets)::BIGINT AS resets,
  count(*) FILTER (WHERE state = 'refused') AS refused, sum(lost_segments)::BIGINT AS gaps, sum(gap_bytes)::BIGINT AS gap_bytes, count(*) FILTER (WHERE one_sided) AS one_sided,
  quantile_disc(handshake_us, [0.5, 0.9, 0.99]) AS handshake, quantile_disc(rtt_avg_us, [0.5, 0.9, 0.99]) AS rtt
FROM flows_raw WHERE transport = 'tcp' AND `+flows(c, w))
}

// Trouble is a TCP flow with retransmissions, zero windows, losses or resets.
type Trouble struct {
	Bundle      int64  `json:"bundle"`
	FlowID      int64  `json:"flow_id"`
	Client      string `json:"client"`
	SrcPort     int64  `json:"src_port"`
	Server      string `json:"server"`
	DstPort     int64  `json:"dst_port"`
	State       string `json:"state"`
	Packets     int64  `json:"packets"`
	Resent      int64  `json:"retransmissions"`
	ZeroWindows int64  `json:"zero_windows"`
	Resets      int64  `json:"resets"`
	GapBytes    int64  `json:"gap_bytes"`
	HandshakeUs *int64 `json:"handshake_us"`
	First       int64  `json:"first_packet"`
	Last        int64  `json:"last_packet"`
}

// Troubled returns the worst TCP flows. Of a connection that was seen several times, it returns the worst sighting.
func Troubled(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Trouble], error) {
	return read[Trouble](ctx, c, fmt.Sprintf(`WITH f AS (SELECT *, retransmissions + 2 * zero_windows + 2 * lost_segments + resets AS badness FROM %[1]s
  WHERE transport = 'tcp' AND badness > 0 QUALIFY row_number() OVER (PARTITION BY conn ORDER BY badness DESC, %[2]sflow_id) = 1)
SELECT %[3]s, f.flow_id, s.who AS client, f.src_port, d.who AS server, f.dst_port, f.state, f.src_packets + f.dst_packets AS packets,
  f.retransmissions, f.zero_windows, f.resets, f.gap_bytes, f.handshake_us, f.first_packet, f.last_packet
FROM f JOIN endpoints s ON s.endpoint_id = f.src_id%[4]s JOIN endpoints d ON d.endpoint_id = f.dst_id%[5]s
ORDER BY f.badness DESC, 1, f.flow_id LIMIT 12`,
		ask.Joined(c, "(SELECT * FROM flows_raw WHERE "+during(w)+")"), terms.Key(c, ""), terms.BundleOf(c, "f."), terms.SameBundle(c, "s", "f"), terms.SameBundle(c, "d", "f")))
}

// ends is SQL for table t, which has one row for each end of one flow of each connection.
func ends(c *forensics.Case, w *ask.Window) string {
	return fmt.Sprintf(`WITH f AS (SELECT * FROM flows_raw WHERE %[2]s),
  t AS (SELECT %[1]ssrc_id AS id, dst_id AS peer, src_bytes AS sent, dst_bytes AS received, protocol FROM f
  UNION ALL SELECT %[1]sdst_id, src_id, dst_bytes, src_bytes, protocol FROM f)`, terms.Key(c, ""), flows(c, w))
}

// Talker is an endpoint with the IP bytes that it sent and received.
type Talker struct {
	Name     string `json:"name"`
	IP       string `json:"ip"`
	Kind     string `json:"kind"`
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
	Flows    int64  `json:"flows"`
}

// Talkers returns the endpoints with the most bytes.
func Talkers(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Talker], error) {
	return read[Talker](ctx, c, fmt.Sprintf(`%s
SELECT e.name, e.ip, e.kind, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received, count(*) AS flows
FROM t JOIN endpoints e ON e.endpoint_id = t.id%s
GROUP BY e.name, e.ip, e.kind ORDER BY sum(sent + received) DESC, e.name, e.ip, e.kind LIMIT 12`, ends(c, w), terms.SameBundle(c, "e", "t")))
}

// Stranger is an address outside, with the IP bytes that it sent and received, and its peers.
type Stranger struct {
	IP        string   `json:"ip"`
	Name      string   `json:"name"`
	Sent      int64    `json:"sent"`
	Received  int64    `json:"received"`
	Flows     int64    `json:"flows"`
	Protocols []string `json:"protocols"`
	Peers     []string `json:"peers"`
}

// Outside returns the addresses outside with the most bytes.
func Outside(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Stranger], error) {
	return read[Stranger](ctx, c, fmt.Sprintf(`%s
SELECT e.ip, max(coalesce(e.dns_name, e.hostname)) AS name, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received, count(*) AS flows,
  list(DISTINCT protocol ORDER BY protocol) FILTER (protocol IS NOT NULL) AS protocols, list(DISTINCT p.who ORDER BY p.who) AS peers
FROM t JOIN endpoints e ON e.endpoint_id = t.id%s JOIN endpoints p ON p.endpoint_id = t.peer%s
WHERE e.external GROUP BY e.ip ORDER BY sum(sent + received) DESC, e.ip LIMIT 20`, ends(c, w), terms.SameBundle(c, "e", "t"), terms.SameBundle(c, "p", "t")))
}

// Readings counts the connections that could be read, in one row.
func Readings(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[ask.Reading], error) {
	return read[ask.Reading](ctx, c, ask.ReadingSQL(c, during(w)))
}
