package ask

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Overlapping reports whether bundles of the case overlap in time.
func Overlapping(c *forensics.Case) bool {
	type span struct{ from, to int64 }
	var spans []span
	for _, b := range c.Bundles() {
		if w := b.Manifest.Window; w.FirstNs != nil && w.LastNs != nil {
			spans = append(spans, span{int64(*w.FirstNs), int64(*w.LastNs)})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from <= spans[i-1].to {
			return true
		}
		spans[i].to = max(spans[i].to, spans[i-1].to)
	}
	return false
}

// Sighting says which row stands for a connection that several bundles saw.
type Sighting string

const (
	Earliest Sighting = "began"    // knows best which end is the client, and whether it was accepted
	Largest  Sighting = "-packets" // has the most bytes; the others may have bytes that it lacks
)

// Sightings is SQL for the connections that match a condition, in a case of several bundles: bundle,
// conn_id, and first, which is the row that stands for all of the same connection: its bundle is
// first.b and its conn_id is first.c. Rows of different bundles are the same connection if they have a
// flow between the same ports in common, and were seen at the same time, within a second, because clocks
// differ, or one after the other: within 10 minutes, as in one bundle, and within an hour on TCP if the
// beginning of the later one was not seen. If an address was translated between them, connection_sightings has them.
//
// LIMIT: a connection without any call is counted in each bundle if an address was translated between them and neither
// saw both sides, unless both name the same service.
func Sightings(cond string, by Sighting) string {
	return `WITH k AS (SELECT bundle, conn_id, first_ns AS began FROM connections_raw WHERE ` + cond + `),
		p AS (SELECT bundle, conn_id, began, transport, first_ns, last_ns, max(src_packets + dst_packets) OVER (PARTITION BY bundle, conn_id) AS packets,
			list_sort([src_ip || ' ' || coalesce(src_port, 0), dst_ip || ' ' || coalesce(dst_port, 0), CASE WHEN src_ip IN ('0.0.0.0', '::') THEN first_ns::VARCHAR ELSE '' END]) AS ends,
			CASE WHEN transport <> 'tcp' THEN 600::BIGINT WHEN role_known IN ('syn', 'synack') THEN 1 ELSE 3600 END * 1000000000 AS silence
			FROM flows_raw JOIN k USING (bundle, conn_id)),
		f AS (SELECT *, {'a': ` + string(by) + `, 'p': -packets, 'b': bundle, 'c': conn_id} AS me FROM p),
		g AS (SELECT *, first_ns > silence + max(last_ns) OVER (PARTITION BY transport, ends ORDER BY first_ns, me ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later FROM f),
		h AS (SELECT *, count(*) FILTER (later) OVER (PARTITION BY transport, ends ORDER BY first_ns, me ROWS UNBOUNDED PRECEDING) AS run FROM g),
		i AS (SELECT *, dense_rank() OVER (PARTITION BY transport, ends, run, bundle ORDER BY began, conn_id) AS nth FROM h),
		j AS (SELECT bundle, conn_id, {'t': transport, 'ends': ends, 'run': run, 'nth': nth} AS way, {'b': coalesce(of_bundle, bundle), 'c': coalesce(of_conn_id, conn_id)} AS same, me
			FROM i LEFT JOIN connection_sightings_raw USING (bundle, conn_id)),
		l AS (SELECT *, min(me) OVER (PARTITION BY way) AS one FROM j),
		m AS (SELECT *, min(one) OVER (PARTITION BY same) AS two FROM l),
		n AS (SELECT *, min(two) OVER (PARTITION BY way) AS three FROM m)
		SELECT bundle, conn_id, min(three) AS first FROM n GROUP BY bundle, conn_id`
}

// Once is the condition for connections that match a condition, each once even if several bundles of the
// case have it.
func Once(c *forensics.Case, cond string, by Sighting) string {
	if !Overlapping(c) {
		return cond
	}
	return `(bundle, conn_id) IN (SELECT (bundle, conn_id) FROM (` + Sightings(cond, by) + `) WHERE bundle = first.b AND conn_id = first.c)`
}

// FlowsOnce is the condition for one flow of each connection that matches a condition, however many vantages and
// bundles of the case saw it: the flow from which its calls were read.
func FlowsOnce(c *forensics.Case, cond string, by Sighting) string {
	flow := terms.Key(c, "") + "flow_id"
	return "(" + flow + ") IN (SELECT (" + flow + ") FROM connections_raw WHERE " + Once(c, cond, by) + ")"
}

// connNumber is SQL for the number conn of a connection.
func connNumber(bundle, conn string) string {
	return fmt.Sprintf("%s::BIGINT * %d + %s", bundle, terms.BundleStep, conn)
}

// Joined is SQL for the rows of a table or query with conn_id, and with bundle if the case has several. It
// adds the column conn, which is the same number for rows of one connection, whichever bundle they are of.
func Joined(c *forensics.Case, from string) string { return JoinedIf(c, from, "true") }

// JoinedIf is Joined for rows whose connections match a condition: only these are compared with each other.
func JoinedIf(c *forensics.Case, from, cond string) string {
	switch {
	case !c.Several():
		return "(SELECT *, conn_id AS conn FROM " + from + ")"
	case !Overlapping(c):
		return "(SELECT *, " + connNumber("bundle", "conn_id") + " AS conn FROM " + from + ")"
	}
	return "(SELECT r.*, " + connNumber("coalesce(s.first.b, r.bundle)", "coalesce(s.first.c, r.conn_id)") + " AS conn FROM " + from + " r LEFT JOIN (" + Sightings(cond, Earliest) + ") s USING (bundle, conn_id))"
}

// EachOnce is SQL for the rows of connections or connections_raw that match a condition, each connection
// once, with the column conn of Joined. If several bundles have a connection, its row is the earliest, with
// the calls of all bundles, and the end that the last of them saw.
func EachOnce(c *forensics.Case, table, cond string) string {
	if !Overlapping(c) {
		return Joined(c, "(SELECT * FROM "+table+" WHERE "+cond+")")
	}
	return "(SELECT * REPLACE (coalesce(n, 0) AS calls, until AS last_ns) FROM " + Joined(c, "(SELECT * FROM "+table+" WHERE "+Once(c, cond, Earliest)+")") +
		" LEFT JOIN (SELECT conn, count(*) AS n FROM " + Joined(c, "(SELECT bundle, conn_id FROM calls)") + " GROUP BY conn) USING (conn)" +
		" JOIN (SELECT conn, max(last_ns) AS until FROM " + Joined(c, "(SELECT bundle, conn_id, last_ns FROM connections_raw)") + " GROUP BY conn) USING (conn))"
}

// During is the condition for connections of the window.
func (w *Window) During() string {
	return fmt.Sprintf("first_ns <= %d AND last_ns >= %d", w.To, w.From)
}

// Connections is SQL, with its arguments, for the connections of the window, as in EachOnce. With a KFL
// filter, or if narrowed is true, they must also have carried calls of the window.
func (w *Window) Connections(c *forensics.Case, table string, narrowed bool) (string, []any) {
	from := EachOnce(c, table, w.During())
	if w.KFL == "" && !narrowed {
		return from, nil
	}
	carried := Joined(c, "(SELECT "+terms.Key(c, "")+"conn_id FROM calls WHERE "+w.Where+")")
	return "(SELECT * FROM " + from + " WHERE conn IN (SELECT conn FROM " + carried + "))", w.Args
}
