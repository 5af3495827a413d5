package copies

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// wholeness is the SQL for the completeness of a row. Any answer, also an ICMP error, is more than none; that its caller
// rejected it is more still.
const wholeness = `(complete AND error IS NOT DISTINCT FROM 'abandoned')::BIGINT * 32 + (outcome NOT IN ('cut', 'unread'))::BIGINT * 16 + (outcome <> 'no_answer')::BIGINT * 8 + complete::BIGINT * 4 + (error IS NULL)::BIGINT * 2 + (elapsed_us IS NOT NULL)::BIGINT`

// SQL conditions for rows of two bundles, the second of which may have a part of the first's call:
// with the same ends, or with the client of one as the server of the other.
const (
	sameEnds    = `a.protocol = b.protocol AND ` + sameStream
	sameStream  = `a.bundle <> b.bundle AND a.src_ip = b.src_ip AND a.src_port = b.src_port AND a.dst_ip = b.dst_ip AND a.dst_port = b.dst_port AND a.stream_id IS NOT DISTINCT FROM b.stream_id`
	swappedEnds = `a.bundle <> b.bundle AND a.protocol = b.protocol AND a.src_ip = b.dst_ip AND a.src_port = b.dst_port AND a.dst_ip = b.src_ip AND a.dst_port = b.src_port AND a.stream_id IS NOT DISTINCT FROM b.stream_id`
)

// halfRules find rows b with a part of a call or conversation that row a of another bundle has:
//   - a response without its request, from its first byte on,
//   - one of which the beginning is missing too, so it is the first row of its connection, or within a whole response,
//   - the greeting of a server, of a connection that the bundle does not show for longer,
//   - a response that alone reads as a message of the server (said has them), unless a bundle shows both,
//   - the beginning of a request whose rest is in the other bundle,
//   - a part of a conversation that is a single row (talk has those), whose client may be a guess,
//   - an incomplete row (poor has those) of a connection that the other bundle saw for as long without a loss, or
//     payload of an unknown protocol of which the other bundle could read as many bytes: it belongs to the last row
//     that began before it, or else to the first.
//
// x are the calls with the times of their connections, a those with a response and its time in µs, and b those
// without one or the other, with their times.
var halfRules = []string{
	`SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM b JOIN a ON ` + sameEnds + ` AND a.answered = b.at WHERE b.error = 'no_request'`,
	`SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM x b JOIN a ON ` + sameEnds + ` AND (b.ordinal = 0 OR a.complete) AND b.request_bytes = 0
		AND (b.error = 'no_request' AND a.first_ns < b.first_ns OR b.error = 'gap')
		AND a.answered < b.ts_ns // 1000 AND a.ts_ns // 1000 + a.elapsed_us + 1 >= b.ts_ns // 1000`,
	`SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM x b JOIN x a ON ` + sameEnds + ` AND b.ordinal = 0 AND b.error = 'no_request'
		AND a.ordinal = 0 AND a.error IS DISTINCT FROM 'no_request' AND a.first_ns // 1000 = b.first_ns // 1000 AND a.ts_ns > b.ts_ns`,
	`SELECT alone, alone_no, whole, whole_no FROM said WHERE NOT EXISTS (SELECT 1 FROM x c JOIN x d ON c.bundle = d.bundle
		WHERE c.content = said.whole_content AND c.elapsed_us IS NOT NULL AND d.content = said.alone_content)`,
	`SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM b JOIN x a ON ` + sameEnds + ` AND a.ts_ns // 1000 = b.at WHERE b.error = 'cut' AND a.error IS DISTINCT FROM 'cut'`,
	fmt.Sprintf(`SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM talk b JOIN talk a ON a.bundle <> b.bundle AND a.protocol = b.protocol AND a.ends = b.ends AND a.stream_id IS NOT DISTINCT FROM b.stream_id
		WHERE (b.protocol IN ('tls', 'quic') AND b.outcome = 'cut' AND a.outcome <> 'cut' OR b.protocol = b.transport AND b.outcome = 'unread'
			OR (b.protocol = 'rtp' AND a.src_ip = b.src_ip OR b.protocol = 'sctp' AND b.ts_ns = b.first_ns) AND a.ts_ns + 1000 * greatest(coalesce(a.elapsed_us, 0), coalesce(a.send_us, 0)) >= b.ts_ns)
		AND a.first_ns < b.first_ns AND a.last_ns + (b.outcome = 'cut')::BIGINT * %d >= b.first_ns AND a.ts_ns <= b.ts_ns AND (a.outcome = 'unread') = (b.outcome = 'unread')`, clockSlack),
	`SELECT p.bundle, p.call_no, a.bundle, a.call_no FROM (SELECT b.bundle, b.call_no, greatest(b.ts_ns, w.began) AS ts_ns, w.bundle AS saw, w.conn_id FROM poor b JOIN seen o USING (bundle, conn_id) JOIN seen w ON w.transport = b.transport AND w.ends = b.ends
			WHERE w.bundle <> b.bundle AND w.first_ns <= b.first_ns AND w.last_ns >= b.last_ns AND (w.complete OR w.bytes >= o.bytes AND w.known AND b.protocol = b.transport)) p
		ASOF JOIN (SELECT bundle, conn_id, ts_ns, max(call_no) AS call_no FROM x GROUP BY ALL) a ON a.bundle = p.saw AND a.conn_id = p.conn_id AND a.ts_ns <= p.ts_ns`,
}

// ends is the SQL column with both ends of a call, in one order whichever is the client.
const ends = "list_sort([src_ip || ' ' || src_port, dst_ip || ' ' || dst_port]) AS ends"

// nth is the SQL column with the place of a call among those of its connection whose first byte has the same time.
const nth = "row_number() OVER (PARTITION BY bundle, conn_id, ts_ns ORDER BY ordinal, call_no) AS nth"

// order is the rank of each bundle, with those of redacted bundles after all others: an original stays.
func (c *Case) order() []int {
	order := slices.Clone(c.Ranks)
	for i := range order {
		if c.Redacted[i] {
			order[i] += len(order)
		}
	}
	return order
}

// redacted is a rule for rows b of redacted bundles: the removed value was in the part of a request that
// identifies it, but the first byte of row a was captured at the same nanosecond on the same connection. The
// original stays, or of two redactions the one with the lower rank.
func (c *Case) redacted() string {
	rows := "(SELECT *, " + nth + " FROM x)"
	return fmt.Sprintf(`SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM %[1]s b JOIN %[1]s a ON %[2]s AND a.ts_ns = b.ts_ns AND a.nth = b.nth
		WHERE a.content <> b.content AND %[3]s[b.bundle + 1] >= %[4]d AND %[5]s`, rows, sameEnds, c.ranks(), len(c.Ranks), c.lowerRank())
}

// lossy is the rule for rows b of which bytes are missing, as in a capture with a snapshot length: those that identify the
// request, or its protocol, may be among them. The first byte of row a was captured at the same nanosecond on the same connection.
// A row of a known protocol stays, then the more complete one, one with more bytes, and one with the lower rank.
func (c *Case) lossy() string {
	rows := "(SELECT *, [(protocol <> transport)::BIGINT, " + wholeness + ", request_bytes + response_bytes] AS whole, " + nth + " FROM x SEMI JOIN (SELECT * FROM x WHERE NOT complete) g USING (src_ip, src_port, dst_ip, dst_port, ts_ns))"
	return fmt.Sprintf(`SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM %[1]s b JOIN %[1]s a ON %[2]s AND a.ts_ns = b.ts_ns AND a.nth = b.nth
		WHERE NOT b.complete AND a.content <> b.content AND (a.whole > b.whole OR a.whole = b.whole AND %[3]s)`, rows, sameStream, c.lowerRank())
}

// lowerRank is the SQL condition that the bundle of row a has a lower rank than that of row b.
func (c *Case) lowerRank() string {
	return fmt.Sprintf("%[1]s[b.bundle + 1] > %[1]s[a.bundle + 1]", c.ranks())
}

// ranks is the SQL list of the ranks of the bundles.
func (c *Case) ranks() string {
	var ranks []string
	for _, rank := range c.order() {
		ranks = append(ranks, fmt.Sprint(rank))
	}
	return "[" + strings.Join(ranks, ", ") + "]"
}

// halves finds rows with a part of a call whose other part is in another bundle too.
func (f *Copies) halves(ctx context.Context, c *Case, from string) error {
	conns := c.Conns
	if conns == "" {
		return nil
	}
	stands := map[Row][]Row{} // copies that a row represents
	for k, of := range f.Of {
		stands[of] = append(stands[of], k)
	}
	rules := append(slices.Clone(halfRules), c.lossy())
	if slices.Contains(c.Redacted, true) {
		rules = append(rules, c.redacted())
	}
	sql := fmt.Sprintf(`WITH x AS (SELECT k.*, %s AS content, first_ns, last_ns FROM %s k JOIN (SELECT bundle, conn_id, first_ns, last_ns FROM (%s)) USING (bundle, conn_id)),
		b AS (SELECT *, unnest([ts_ns // 1000 - 1, ts_ns // 1000, ts_ns // 1000 + 1]) AS at FROM x WHERE elapsed_us IS NULL),
		talk AS (SELECT *, `+ends+` FROM x WHERE protocol IN ('tls', 'quic', 'rtp', 'sctp') OR protocol = transport),
		poor AS (SELECT *, `+ends+` FROM x WHERE NOT complete OR protocol = transport AND outcome = 'unread'),
		seen AS (SELECT bundle, conn_id, transport, `+ends+`, first_ns, last_ns,
			bool_and(complete) AS complete, bool_or(protocol <> transport) AS known, sum(request_bytes + response_bytes) AS bytes, min(ts_ns) AS began FROM x GROUP BY ALL),
		a AS (SELECT *, ts_ns // 1000 + ttfb_us AS answered FROM x WHERE error IS DISTINCT FROM 'no_request' AND ttfb_us IS NOT NULL),
		said AS MATERIALIZED (SELECT b.bundle AS alone, b.call_no AS alone_no, a.bundle AS whole, a.call_no AS whole_no, b.content AS alone_content, a.content AS whole_content
			FROM b JOIN a ON %s AND a.answered = b.at WHERE b.elapsed_us IS NULL AND b.response_bytes = 0)
		%s ORDER BY 1, 2, 3, 4`, contentOf, from, conns, swappedEnds, strings.Join(rules, " UNION ALL "))
	return c.Query(ctx, sql, func(row []any) error {
		rest, whole, err := PairOf(row)
		if err != nil {
			return fmt.Errorf("comparing calls: %w", err)
		}
		f.join(stands, rest, whole)
		return nil
	})
}

// join makes a row and its copies copies of another row.
func (f *Copies) join(stands map[Row][]Row, rest, whole Row) {
	if of, ok := f.Of[whole]; ok {
		whole = of
	}
	if _, ok := f.Of[rest]; ok || rest == whole {
		return
	}
	for _, k := range stands[rest] {
		f.Of[k] = whole
	}
	f.add(rest, whole)
	stands[whole] = append(append(stands[whole], rest), stands[rest]...)
	delete(stands, rest)
}
