package forensics

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/internal/copies"
)

// connSlack is how much earlier or later another bundle may show the beginning of a connection without calls, in
// nanoseconds.
const connSlack = 1_000_000_000

// sameTable is the table behind the view; user queries cannot reach it.
const sameTable = "memory.main.copies_of_connections"

// makeSameConnections makes the view connection_sightings: connections that several bundles show between different
// addresses, as the nodes on both sides of a Kubernetes Service do. They have copies of the same calls; without any
// call they are from the same port of a client to the same service, in order of time. Equal addresses need no
// table: ask.Sightings compares them.
func (c *Case) makeSameConnections(ctx context.Context) error {
	sql := fmt.Sprintf(`WITH x AS (SELECT bundle, conn_id, dst_ip, first_ns, {'t': transport, 'ip': src_ip, 'port': src_port, 'ns': namespace, 'service': service} AS way
			FROM (%s) k JOIN (%s) e USING (bundle) WHERE e.endpoint_id = k.dst_id AND calls = 0 AND namespace IS NOT NULL AND service IS NOT NULL),
		n AS (SELECT *, row_number() OVER (PARTITION BY bundle, way ORDER BY first_ns, conn_id) AS nth FROM x)
		SELECT a.bundle, a.conn_id, b.bundle, b.conn_id FROM n a JOIN n b ON a.way = b.way AND a.nth = b.nth AND a.bundle < b.bundle WHERE a.dst_ip <> b.dst_ip AND abs(a.first_ns - b.first_ns) <= %d`, c.allOf("connections"), c.allOf("endpoints"), connSlack)
	if c.copied > 0 {
		calls := "(SELECT bundle, call_no, conn_id, list_sort([src_ip || ' ' || src_port, dst_ip || ' ' || dst_port]) AS ends FROM (" + c.allOf("calls") + "))"
		sql += fmt.Sprintf(` UNION ALL SELECT DISTINCT t.bundle, t.conn_id, o.bundle, o.conn_id FROM %[1]s k JOIN %[2]s t ON t.bundle = k.bundle AND t.call_no = k.call_no
			JOIN %[2]s o ON o.bundle = k.of_bundle AND o.call_no = k.of_call_no WHERE t.ends <> o.ends`, copiesTable, calls)
	}
	same := sameRows{}
	err := c.eachRow(ctx, sql, func(row []any) error {
		a, b, err := copies.PairOf(row)
		if err != nil {
			return err
		}
		same.join(a, b)
		return nil
	})
	if err != nil {
		return err
	}
	var list []copies.Row
	for r := range same {
		if same.first(r) != r {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, copies.Row.Compare)
	columns := []string{"bundle INTEGER", "conn_id BIGINT", "of_bundle INTEGER", "of_conn_id BIGINT"}
	err = c.insertPlain(ctx, sameTable, columns, len(list), func(i int, row []any) {
		of := same.first(list[i])
		row[0], row[1], row[2], row[3] = int64(list[i].Bundle), list[i].No, int64(of.Bundle), of.No
	})
	if err != nil {
		return err
	}
	c.sameConns = int64(len(list))
	return c.defineView(ctx, "connection_sightings", "SELECT * FROM "+sameTable, view{key: []string{"bundle", "conn_id"}})
}

// sameRows are sets of rows, each with another row of the same set, down to the first, which has itself.
type sameRows map[copies.Row]copies.Row

// first returns the first row of a row's set.
func (s sameRows) first(r copies.Row) copies.Row {
	for up, ok := s[r]; ok && up != r; up, ok = s[r] {
		s[r] = s[up]
		r = up
	}
	return r
}

// join makes two sets one.
func (s sameRows) join(a, b copies.Row) {
	a, b = s.first(a), s.first(b)
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	s[a], s[b] = a, a
}
