package forensics

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/internal/copies"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// connSlack is how much earlier or later another bundle may show the beginning of a connection without calls, in
// nanoseconds.
const connSlack = 1_000_000_000

// translatedTable has connections that several bundles show between different addresses, or of a host that has none yet; user queries cannot reach it.
const translatedTable = "memory.main.translated_connections"

// sameSQL is for the rows of connections that show a connection of which another bundle has a row too, with the row that
// represents it, which is the earliest. Rows of different bundles are the same connection if they have a flow between
// the same ports in common, and were seen at the same time, within a second, because clocks differ, or one after the
// other: within 10 minutes, as in one bundle, and within an hour on TCP if the beginning of the later one was not
// seen. %[1]s are the flows, %[2]s the connections, and %[3]s the connections that were translated between them.
//
// LIMIT: a connection without any call is counted in each bundle if an address was translated between them and neither
// saw both sides, unless both name the same service.
const sameSQL = `WITH k AS (SELECT bundle, conn_id, k.first_ns AS began, packets, row_number() OVER (ORDER BY began, packets DESC, bundle, conn_id) AS me
		FROM (%[2]s) k JOIN (SELECT bundle, conn_id, max(src_packets + dst_packets) AS packets FROM (%[1]s) GROUP BY ALL) USING (bundle, conn_id)),
	s AS (SELECT t.bundle, t.conn_id, me AS same FROM %[3]s t JOIN k ON k.bundle = of_bundle AND k.conn_id = of_conn_id),
	f AS (SELECT me, coalesce(same, me) AS same, bundle, f.first_ns, f.last_ns,
		concat_ws(' ', transport, least(src_ip || ' ' || coalesce(src_port, 0), dst_ip || ' ' || coalesce(dst_port, 0)), greatest(src_ip || ' ' || coalesce(src_port, 0), dst_ip || ' ' || coalesce(dst_port, 0)), CASE WHEN src_ip IN ('0.0.0.0', '::') THEN f.first_ns END) AS ends,
		CASE WHEN transport <> 'tcp' THEN 600::BIGINT WHEN role_known IN ('syn', 'synack') THEN 1 ELSE 3600 END * 1000000000 AS silence
		FROM (%[1]s) f JOIN k USING (bundle, conn_id) LEFT JOIN s USING (bundle, conn_id)),
	g AS (SELECT *, first_ns > silence + max(last_ns) OVER (PARTITION BY ends ORDER BY first_ns, me ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later FROM f),
	h AS (SELECT *, count(*) FILTER (later) OVER (PARTITION BY ends ORDER BY first_ns, me ROWS UNBOUNDED PRECEDING) AS run FROM g),
	i AS (SELECT *, dense_rank() OVER (PARTITION BY ends, run, bundle ORDER BY me) AS nth FROM h),
	l AS (SELECT me, same, min(me) OVER (PARTITION BY ends, run, nth) AS one FROM i),
	m AS (SELECT me, one, min(one) OVER (PARTITION BY same) AS two FROM l),
	n AS (SELECT me, min(two) OVER (PARTITION BY one) AS three FROM m),
	o AS (SELECT me, min(three) AS first FROM n GROUP BY me)
	SELECT k.bundle, k.conn_id, k.began AS first_ns, k.packets, r.bundle AS of_bundle, r.conn_id AS of_conn_id FROM o JOIN k USING (me) JOIN k r ON r.me = first
	WHERE first IN (SELECT first FROM o WHERE first <> me) ORDER BY ALL`

// sameColumns are the columns of sameSQL. To ask DuckDB would compute it.
var sameColumns = []duck.Column{{Name: "bundle", Type: "INTEGER"}, {Name: "conn_id", Type: "BIGINT"}, {Name: "first_ns", Type: "BIGINT"},
	{Name: "packets", Type: "BIGINT"}, {Name: "of_bundle", Type: "INTEGER"}, {Name: "of_conn_id", Type: "BIGINT"}}

// makeSameConnections makes the table connection_sightings. same are connections that have copies of the same calls.
func (c *Case) makeSameConnections(ctx context.Context, same copies.Sets) error {
	if err := c.makeTranslated(ctx, same); err != nil {
		return err
	}
	source := fmt.Sprintf(sameSQL, c.allOf("flows"), c.allOf("connections"), translatedTable)
	c.defineTable("connection_sightings", source, sameColumns, view{key: []string{"bundle", "conn_id"}, from: "first_ns", to: "first_ns"})
	return nil
}

// makeTranslated makes the table of translated connections: connections that several bundles show between different
// addresses, as the nodes on both sides of a Kubernetes Service do. They have copies of the same calls, or are without
// any call from the same port of a client to the same service, in order of time.
func (c *Case) makeTranslated(ctx context.Context, same copies.Sets) error {
	err := c.eachRow(ctx, fmt.Sprintf(`WITH x AS (SELECT bundle, conn_id, dst_ip, first_ns, {'t': transport, 'ip': src_ip, 'port': src_port, 'ns': namespace, 'service': service} AS way
			FROM (%s) k JOIN (%s) e USING (bundle) WHERE e.endpoint_id = k.dst_id AND calls = 0 AND namespace IS NOT NULL AND service IS NOT NULL),
		n AS (SELECT *, row_number() OVER (PARTITION BY bundle, way ORDER BY first_ns, conn_id) AS nth FROM x)
		SELECT a.bundle, a.conn_id, b.bundle, b.conn_id FROM n a JOIN n b ON a.way = b.way AND a.nth = b.nth AND a.bundle < b.bundle WHERE a.dst_ip <> b.dst_ip AND abs(a.first_ns - b.first_ns) <= %d`, c.allOf("connections"), c.allOf("endpoints"), connSlack), func(row []any) error {
		a, b, err := copies.PairOf(row)
		if err != nil {
			return err
		}
		same.Join(a, b)
		return nil
	})
	if err != nil {
		return err
	}
	list := same.Others()
	columns := []string{"bundle INTEGER", "conn_id BIGINT", "of_bundle INTEGER", "of_conn_id BIGINT"}
	return c.insertPlain(ctx, translatedTable, columns, len(list), func(i int, row []any) {
		of := same.First(list[i])
		row[0], row[1], row[2], row[3] = int64(list[i].Bundle), list[i].No, int64(of.Bundle), of.No
	})
}
