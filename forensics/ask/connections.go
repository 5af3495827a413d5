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
// beginning of the later one was not seen.
//
// LIMIT: a connection is counted in each bundle if an address was translated between them and neither
// saw both sides.
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
		j AS (SELECT bundle, conn_id, min(me) OVER (PARTITION BY transport, ends, run, nth) AS first FROM i)
		SELECT bundle, conn_id, min(first) AS first FROM j GROUP BY bundle, conn_id`
}

// Once is the condition for connections that match a condition, each once even if several bundles of the
// case have it.
func Once(c *forensics.Case, cond string, by Sighting) string {
	if !Overlapping(c) {
		return cond
	}
	return `(bundle, conn_id) IN (SELECT (bundle, conn_id) FROM (` + Sightings(cond, by) + `) WHERE bundle = first.b AND conn_id = first.c)`
}

// Connections returns the condition, with its arguments, for connections of the window. With a
// KFL filter, or if narrowed is true, they must also have carried calls of the window.
func (w *Window) Connections(c *forensics.Case, narrowed bool) (string, []any) {
	cond, args := "first_ns <= ? AND last_ns >= ?", []any{w.To, w.From}
	if w.KFL != "" || narrowed {
		cols := terms.Key(c, "") + "conn_id"
		cond += fmt.Sprintf(" AND (%s) IN (SELECT (%s) FROM calls WHERE %s)", cols, cols, w.Where)
		args = append(args, w.Args...)
	}
	return Once(c, cond, Earliest), args
}
