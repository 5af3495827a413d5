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
	Earliest Sighting = "first_ns" // knows best which end is the client, and whether it was accepted
	Largest  Sighting = "-packets" // has the most bytes; the others may have bytes that it lacks
)

// Once is the condition for connections that match a condition, each once even if several bundles of the
// case have it.
func Once(c *forensics.Case, cond string, by Sighting) string {
	if !Overlapping(c) {
		return cond
	}
	matching := "(SELECT bundle, conn_id FROM connections_raw WHERE " + cond + ")"
	return "(bundle, conn_id) IN (SELECT (bundle, conn_id) FROM " + matching + ` ANTI JOIN (SELECT bundle, conn_id FROM connection_sightings_raw JOIN ` + matching + ` USING (bundle, conn_id)
		QUALIFY row_number() OVER (PARTITION BY of_bundle, of_conn_id ORDER BY ` + string(by) + `, -packets, bundle, conn_id) > 1) USING (bundle, conn_id))`
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
func Joined(c *forensics.Case, from string) string {
	switch {
	case !c.Several():
		return "(SELECT *, conn_id AS conn FROM " + from + ")"
	case !Overlapping(c):
		return "(SELECT *, " + connNumber("bundle", "conn_id") + " AS conn FROM " + from + ")"
	}
	return "(SELECT r.*, " + connNumber("coalesce(of_bundle, r.bundle)", "coalesce(of_conn_id, r.conn_id)") + " AS conn FROM " + from + " r LEFT JOIN connection_sightings_raw s ON s.bundle = r.bundle AND s.conn_id = r.conn_id)"
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

// FiltersConnections reports whether the KFL filter, if there is one, applies to connections without calls.
func (w *Window) FiltersConnections() bool { return w.KFL == "" || w.cond.Connections }

// Connections is SQL, with its arguments, for the connections of the window, as in EachOnce. With a KFL
// filter, or if narrowed is true, they must also have carried calls of the window, or match the filter themselves.
func (w *Window) Connections(c *forensics.Case, table string, narrowed bool) (string, []any) {
	from := EachOnce(c, table, w.During())
	if w.KFL == "" && !narrowed {
		return from, nil
	}
	key := "SELECT " + terms.Key(c, "") + "conn_id FROM "
	match, args := key+"calls WHERE "+w.Where, w.Args
	if w.KFL != "" && w.cond.Connections {
		match, args = match+" UNION ALL "+key+"connections WHERE "+w.During()+" AND ("+w.cond.SQL+")", w.Values(w.cond.Args...)
	}
	return "(SELECT * FROM " + from + " WHERE conn IN (SELECT conn FROM " + Joined(c, "("+match+")") + "))", args
}
