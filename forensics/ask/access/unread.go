package access

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// UnreadConn summarizes the connections between a client and a server that have no known calls.
type UnreadConn struct {
	Client      string   `json:"client"`
	Server      string   `json:"server"`
	Port        int64    `json:"port"`
	Why         string   `json:"why"`
	Connections int64    `json:"connections"`
	Sent        int64    `json:"sent_bytes" jsonschema:"payload from the client"`
	Got         int64    `json:"received_bytes"`
	First       string   `json:"first"`
	Last        string   `json:"last"`
	CallIDs     []string `json:"call_ids" jsonschema:"handshakes of some of them, if known"`
	Packets     string   `json:"packets" jsonschema:"first frames of the first three, as Wireshark counts"`
}

// unread lists connections without known calls.
func (a *accessAnswer) unread() error {
	if a.in.PII || a.in.KFL != "" {
		return ask.NoteUnread(a.ctx, a.c, &a.out.Frame, a.w)
	}
	w := a.w
	conns := ask.EachOnce(a.c, "connections", w.During())
	sql := fmt.Sprintf(`WITH b AS (SELECT %[1]s, conn_id, max(src_payload_bytes) AS sent, max(dst_payload_bytes) AS got, min(first_packet) AS packet, min(state) AS state FROM flows_raw WHERE first_ns <= ? AND last_ns >= ? GROUP BY 1, 2),
		h AS (SELECT %[1]s, conn_id, min(call_id) AS id FROM calls_raw WHERE NOT %[8]s AND ts_ns <= ? GROUP BY 1, 2),
		k AS (SELECT %[2]s AS client, %[3]s AS server, dst_port AS port, CASE WHEN k.key_state IN ('none', 'unverified') THEN 'encrypted' || coalesce(' (' || k.encryption || ')', '') || ', no key opens it' WHEN k.protocol IS NULL AND k.calls > 0 THEN 'payload that no dissector read' || coalesce(', ' || CASE k.payload_evidence WHEN 'port' THEN 'likely ' ELSE '' END || k.payload_protocol, '')
			WHEN k.calls = 0 THEN 'no call on it' || coalesce(', ' || b.state, '') END AS why, b.sent, b.got, b.packet, %[10]s AS cited, k.first_ns, k.last_ns, h.id FROM %[9]s k JOIN b ON b.conn_id = k.conn_id%[4]s LEFT JOIN h ON h.conn_id = k.conn_id%[5]s
			WHERE (%[6]s))
		SELECT client, server, port, why, count(*) AS connections, sum(sent)::BIGINT AS sent_bytes, sum(got)::BIGINT AS received_bytes, make_timestamp_ns(min(first_ns)) AS first, make_timestamp_ns(max(last_ns)) AS last,
			coalesce(list_transform(list_filter(arg_min(id, (first_ns, packet, id), 3), x -> x IS NOT NULL), x -> lower(hex(x))), []) AS call_ids, arg_min(cited, (first_ns, packet, cited), 3) AS packets
		FROM k WHERE why IS NOT NULL GROUP BY ALL ORDER BY connections DESC, client, server, port, why LIMIT %[7]d`,
		terms.BundleOf(a.c, ""), terms.Who("src_"), terms.Who("dst_"), terms.SameBundle(a.c, "b", "k"), terms.SameBundle(a.c, "h", "k"), terms.Qualified(a.conn), ask.MaxAll, terms.IsRequest, conns, terms.CitesOne(a.c, "b", "b.packet"))
	list, more, err := ask.Rows[UnreadConn](a.ctx, a.c, ask.MaxAll, sql, w.To, w.From, w.To)
	if err != nil {
		return err
	}
	for _, u := range list {
		a.out.UnreadTotal += u.Connections
	}
	a.out.Truncated = a.out.Truncated || more
	a.out.Unread = ask.Fit(w, &a.out.Frame, list)
	if a.out.UnreadTotal > 0 {
		a.out.Note("%d {connection has|connections have} no readable calls: see unread", a.out.UnreadTotal)
	}
	return nil
}
