package forensics

import (
	"context"
	"strings"
)

// maxUnread is the number of times that are read of what could not be read. If there are more, everything after them
// counts as unread.
const maxUnread = 200000

// UnknownPayload is the SQL condition for connections with payload that no dissector reads.
const UnknownPayload = `(payload_protocol IS NOT NULL OR protocol IS NULL AND key_state IS NULL AND calls > 0)`

// sealed is the SQL condition for connections whose content no key decrypts.
const sealed = `key_state IN ('none', 'unverified')`

// UnreadPacket is the SQL condition for anomalies of packets of which something was not read: the snap length or a mirror
// cut them, their link type, a header or a tunnel is not decoded, they are encrypted, or fragments are missing.
const UnreadPacket = `(source IN ('link', 'ip') AND kind IN ('truncated', 'header_cut', 'bad_header', 'unknown_link', 'depth_limit', 'fragment_dropped', 'fragment_missing', 'fragments_missing', 'encrypted', 'aggregate'))`

// unparsed is the SQL condition for anomalies of bytes that are in no row, and for limits at which calls or bodies were left out.
// What every receiver drops is no answer.
const unparsed = `(lost_bytes > 0 AND kind NOT IN ('bad_checksum', 'old_timestamp', 'old_ack', 'unsent_ack') OR kind IN ('evicted', 'limit', 'panic'))`

// oneSided is the SQL condition for flows of TCP of which only one direction was captured, as terms.OneDirection: a SYN
// that nobody answers and a FIN, NULL or Xmas scan do not count.
const oneSided = `(one_sided AND transport = 'tcp' AND completeness & 47 <> 0 AND coalesce(state NOT IN ('syn_sent', 'refused'), true))`

// readUnread reads the times, first and last nanosecond, in which something was recorded that could be an answer and could
// not be read: connections with missing bytes, of one direction, encrypted or of an unknown protocol, packets that were
// cut or not decoded, and bytes that no dissector could parse. Times in order of their begin that overlap are one. docs/guide/troubleshooting.md has the condition.
func (c *Case) readUnread() (out [][2]int64, err error) {
	var parts []string
	for _, p := range []struct{ table, sql string }{
		{"flows", "SELECT first_ns AS a, last_ns AS b FROM flows_raw WHERE gap_bytes > 0 OR " + oneSided},
		{"connections", "SELECT first_ns, last_ns FROM connections_raw WHERE " + sealed + " OR " + UnknownPayload},
		{"anomalies", "SELECT ts_ns, CASE WHEN count > 1 THEN 9223372036854775807 ELSE ts_ns END FROM anomalies_raw WHERE " + UnreadPacket + " OR " + unparsed}, // many share a row
	} {
		if c.views[p.table] != nil {
			parts = append(parts, p.sql)
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	rows, err := c.db.Query(context.Background(), "SELECT a, max(b) FROM ("+strings.Join(parts, " UNION ALL ")+") GROUP BY a ORDER BY a LIMIT ?", maxUnread)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		from, to := rows.Int(0), rows.Int(1)
		if k := len(out) - 1; k >= 0 && from <= out[k][1] {
			out[k][1] = max(out[k][1], to)
			continue
		}
		out = append(out, [2]int64{from, to})
	}
	if n == maxUnread {
		out[len(out)-1][1] = 1<<63 - 1
	}
	return out, rows.Err()
}

// UnreadPackets counts the packets between two times of which something was not read, except for missing bytes of
// connections.
func (c *Case) UnreadPackets(ctx context.Context, from, to int64) (n int64, err error) {
	if c.views["anomalies"] == nil {
		return 0, nil
	}
	rows, err := c.db.Query(ctx, "SELECT coalesce(sum(count), 0)::BIGINT FROM anomalies_raw WHERE "+UnreadPacket+" AND ts_ns BETWEEN ? AND ?", from, to)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		n = rows.Int(0)
	}
	return n, rows.Err()
}

// UnparsedBytes counts the bytes between two times that are in no row because no dissector could parse them, or a limit was
// reached.
func (c *Case) UnparsedBytes(ctx context.Context, from, to int64) (anomalies, bytes int64, err error) {
	if c.views["anomalies"] == nil {
		return 0, 0, nil
	}
	rows, err := c.db.Query(ctx, "SELECT coalesce(sum(count), 0)::BIGINT, coalesce(sum(lost_bytes), 0)::BIGINT FROM anomalies_raw WHERE "+unparsed+" AND NOT "+UnreadPacket+" AND ts_ns BETWEEN ? AND ?", from, to)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		anomalies, bytes = rows.Int(0), rows.Int(1)
	}
	return anomalies, bytes, rows.Err()
}
