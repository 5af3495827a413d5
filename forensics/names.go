package forensics

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/copies"
)

// A DNS answer in one bundle names addresses in all bundles of the same network: those that share calls with it, because
// another network may use the same addresses for other hosts. The answers that a bundle itself has come first, so nobody who
// writes one bundle of a case replaces the names of another. The tables are made once, when the case opens; user queries
// cannot reach them.
const (
	renamedTable  = "memory.main.renamed_ends" // bundle, conn_id, id, and better: the row of endpoints in place of id
	lookedUpTable = "memory.main.looked_up"    // rows of endpoints: bundle, id, better, with another name and how_known

	maxRenamed = 10_000_000 // in a case
)

// namesSQL lists the ends of connections whose name is another, or none, by the DNS answers of all bundles up to the
// beginning of the connection, which another bundle may have seen. %[1]s are the endpoints, %[2]s the connections,
// %[3]s the flows, %[4]s the calls of DNS, and %[5]s the networks of bundles. docs/format/identity.md has the rule.
//
// LIMIT: dns_us is of the lookups in the same bundle.
const namesSQL = `WITH nets(bundle, net) AS (VALUES %[5]s),
	r AS (SELECT bundle, net, src_ip AS peer, ts_ns + 1000 * coalesce(elapsed_us, 0) AS ts, dns_questions[1] AS question, dns_answers, dns_answer_types, dns_answer_names, generate_subscripts(dns_answers, 1) AS n
		FROM (%[4]s) JOIN nets USING (bundle) WHERE status_code = 0 AND error IS NULL),
	d AS (SELECT bundle, net, peer, ts, dns_answers[n] AS ip, rtrim(lower(coalesce(question, dns_answer_names[n])), '.') AS name FROM r
		WHERE dns_answer_types[n] IN ('A', 'AAAA') AND (question IS NULL OR lower(question) = lower(dns_answer_names[n]) OR list_contains(dns_answer_types, 'CNAME'))),
	e AS (SELECT bundle, net, endpoint_id AS id, ip, dns_name, how_known FROM (%[1]s) JOIN nets USING (bundle) WHERE how_known IN ('none', 'dns', 'dns_other') AND (net, ip) IN (SELECT (net, ip) FROM d)),
	g AS (SELECT bundle, conn_id, src_id, dst_id, role_known IN ('syn', 'synack') AS opens FROM (%[3]s)),
	k AS (SELECT *, concat_ws(' ', net, transport, least(src_ip || ' ' || coalesce(src_port, 0), dst_ip || ' ' || coalesce(dst_port, 0)), greatest(src_ip || ' ' || coalesce(src_port, 0), dst_ip || ' ' || coalesce(dst_port, 0))) AS ends, CASE transport WHEN 'tcp' THEN 3600::BIGINT ELSE 600 END * 1000000000 AS silence
		FROM (SELECT bundle, conn_id, transport, src_id, dst_id, src_ip, dst_ip, src_port, dst_port, first_ns, last_ns FROM (%[2]s) WHERE src_ip IN (SELECT ip FROM e) OR dst_ip IN (SELECT ip FROM e)) JOIN nets USING (bundle) LEFT JOIN (SELECT bundle, conn_id, bool_or(opens) AS opens FROM g GROUP BY ALL) USING (bundle, conn_id)),
	f AS (SELECT bundle, conn_id, src_id, dst_id FROM g UNION SELECT bundle, conn_id, src_id, dst_id FROM k),
	u AS (SELECT bundle, conn_id, src_id AS id FROM f UNION SELECT bundle, conn_id, dst_id FROM f),
	h AS (SELECT *, opens OR first_ns > silence + max(last_ns) OVER (PARTITION BY ends ORDER BY first_ns, opens, bundle, conn_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS other FROM k),
	i AS (SELECT *, count(*) FILTER (other) OVER (PARTITION BY ends ORDER BY first_ns, opens, bundle, conn_id ROWS UNBOUNDED PRECEDING) AS run FROM h),
	b AS (SELECT *, first(bundle) OVER (PARTITION BY ends, run ORDER BY first_ns, opens, bundle, conn_id) <> bundle AS older, min(first_ns) OVER (PARTITION BY ends, run) AS begun FROM i),
	w AS (SELECT bundle, conn_id, e.net, id, ip, CASE ip WHEN b.src_ip THEN b.dst_ip ELSE b.src_ip END AS peer, CASE WHEN older THEN begun ELSE first_ns END AS ts, older, dns_name, how_known
		FROM u JOIN e USING (bundle, id) JOIN b USING (bundle, conn_id)),
	own AS (SELECT bundle, peer, ip, ts, max(name) AS name FROM d GROUP BY ALL),
	mine AS (SELECT net, peer, ip, ts, max(name) AS name FROM d GROUP BY ALL),
	here AS (SELECT bundle, ip, ts, max(name) AS name FROM d GROUP BY ALL),
	anyone AS (SELECT net, ip, ts, max(name) AS name FROM d GROUP BY ALL),
	found AS (SELECT w.bundle, w.conn_id, w.id, w.older, w.dns_name, w.how_known, coalesce(o.name, m.name, h.name, a.name) AS name, CASE WHEN coalesce(o.name, m.name) IS NOT NULL THEN 'dns' WHEN coalesce(h.name, a.name) IS NOT NULL THEN 'dns_other' ELSE 'none' END AS how,
			coalesce(o.name, m.name, h.name, a.name) IS NOT NULL AND o.name IS NULL AND (m.name IS NOT NULL OR h.name IS NULL) AS borrowed
		FROM w ASOF LEFT JOIN own o ON o.bundle = w.bundle AND o.peer = w.peer AND o.ip = w.ip AND o.ts <= w.ts ASOF LEFT JOIN mine m ON m.net = w.net AND m.peer = w.peer AND m.ip = w.ip AND m.ts <= w.ts
			ASOF LEFT JOIN here h ON h.bundle = w.bundle AND h.ip = w.ip AND h.ts <= w.ts ASOF LEFT JOIN anyone a ON a.net = w.net AND a.ip = w.ip AND a.ts <= w.ts)
	SELECT bundle::BIGINT, conn_id, id, name, how, borrowed FROM found WHERE (name, how) IS DISTINCT FROM (dns_name, how_known) AND (name IS NOT NULL OR older) ORDER BY ALL`

// lookedUp is a row of endpoints with another name.
type lookedUp struct {
	endKey
	name, how string
	better    int64
}

// renamedEnd is an end of a connection.
type renamedEnd struct {
	endKey
	conn, better int64
}

// networks lists the bundles that share calls, as SQL: rows of bundle and the first bundle of its network.
func networks(f *copies.Copies) string {
	nets, seen := copies.Sets{}, map[[2]int]bool{}
	for k, of := range f.Of {
		if pair := [2]int{k.Bundle, of.Bundle}; pair[0] != pair[1] && !seen[pair] {
			seen[pair] = true
			nets.Join(copies.Row{Bundle: k.Bundle}, copies.Row{Bundle: of.Bundle})
		}
	}
	var rows []string
	for b := range nets {
		rows = append(rows, fmt.Sprintf("(%d, %d)", b.Bundle, nets.First(b).Bundle))
	}
	slices.Sort(rows)
	return strings.Join(rows, ", ")
}

// shareNames finds the ends that DNS answers in other bundles name.
func (c *Case) shareNames(ctx context.Context, f *copies.Copies) error {
	nets := networks(f)
	if nets == "" {
		return nil
	}
	var dns []string
	for i, parts := range c.calls.parts {
		for _, part := range parts {
			if part.protocol == "dns" {
				dns = append(dns, fmt.Sprintf("SELECT %d AS bundle, * FROM %s", i, parquet(part.files, false)))
			}
		}
	}
	for _, name := range []string{"dns_questions", "dns_answers", "dns_answer_types", "dns_answer_names"} {
		if len(dns) == 0 || !hasColumn(c.calls.own["dns"], name) {
			return nil
		}
	}
	var sources []any
	for _, name := range []string{"endpoints", "connections", "flows"} {
		if !slices.Contains(c.order, name) {
			return nil
		}
		sources = append(sources, c.allOf(name))
	}
	ends, made, err := c.lookUps(ctx, fmt.Sprintf(namesSQL, append(sources, strings.Join(dns, " UNION ALL BY NAME "), nets)...))
	if err != nil || len(ends) == 0 {
		return err
	}
	if err := c.insertPlain(ctx, renamedTable, []string{"bundle INTEGER", "conn_id BIGINT", "id BIGINT", "better BIGINT"}, len(ends), func(i int, row []any) {
		row[0], row[1], row[2], row[3] = int64(ends[i].bundle), ends[i].conn, ends[i].id, ends[i].better
	}); err != nil {
		return err
	}
	if err := c.insertPlain(ctx, lookedUpTable, []string{"bundle INTEGER", "id BIGINT", "better BIGINT", "name VARCHAR", "how VARCHAR"}, len(made), func(i int, row []any) {
		row[0], row[1], row[2], row[3], row[4] = int64(made[i].bundle), made[i].id, made[i].better, made[i].name, made[i].how
	}); err != nil {
		return err
	}
	c.renamed = make([]bool, len(c.bundles))
	for i := range made {
		c.renamed[made[i].bundle] = true
	}
	return nil
}

// lookUps reads the rows of namesSQL. It returns the ends, and the rows of endpoints that they need.
func (c *Case) lookUps(ctx context.Context, sql string) (ends []renamedEnd, made []lookedUp, err error) {
	borrowed := map[endKey]bool{}
	last := make([]int64, len(c.bundles))
	for i := range last {
		source := c.sourceOf(rowsOf{table: "endpoints"}, i, nil, parquet)
		if source == "" {
			continue
		}
		if last[i], err = c.number(ctx, "SELECT coalesce(max(endpoint_id), 0) FROM ("+source+")", nil); err != nil {
			return nil, nil, damagedTable("endpoints", err)
		}
	}
	ids := map[lookedUp]int64{}
	err = c.eachRow(ctx, sql, func(row []any) error {
		var n [3]int64
		for i := range n {
			n[i], _ = row[i].(int64)
		}
		l := lookedUp{endKey: endKey{int(n[0]), n[2]}}
		l.name, _ = row[3].(string)
		l.how, _ = row[4].(string)
		if is, _ := row[5].(bool); is {
			borrowed[l.endKey] = true
		}
		id, ok := ids[l]
		if !ok {
			last[l.bundle]++
			id = last[l.bundle]
			ids[l] = id
			made = append(made, lookedUp{l.endKey, l.name, l.how, id})
		}
		if ends = append(ends, renamedEnd{l.endKey, n[1], id}); len(ends) > maxRenamed {
			return fmt.Errorf("other bundles name more than %d ends of connections: open fewer at once", maxRenamed)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("naming addresses: %w", err)
	}
	c.borrowed = len(borrowed)
	return ends, made, nil
}

// Borrowed is the number of addresses that a DNS answer in another bundle names. Such a name is as certain as that bundle.
func (c *Case) Borrowed() int { return c.borrowed }

// withNames is the SQL for rows of a bundle's table with the names that DNS answers in other bundles give. columns are
// those to read, nil for all.
func (c *Case) withNames(sql, name string, bundle int, columns []string) string {
	switch {
	case c.renamed == nil || !c.renamed[bundle]:
		return sql
	case name == "endpoints":
		return fmt.Sprintf(`SELECT * FROM (WITH e AS (%[1]s) SELECT * FROM e UNION ALL BY NAME
			SELECT e.* REPLACE (n.better AS endpoint_id, n.name AS dns_name, n.how AS how_known, coalesce(n.name, e.ip) AS name, coalesce(n.name, e.ip) AS who) FROM e JOIN %[2]s n ON n.bundle = %[3]d AND n.id = e.endpoint_id)`, sql, lookedUpTable, bundle)
	case name != "calls" && name != "flows" && name != "connections":
		return sql
	}
	var replace []string
	joins := ""
	for _, id := range []string{"src_id", "dst_id"} {
		if columns == nil || slices.Contains(columns, id) {
			replace = append(replace, fmt.Sprintf("coalesce(%[1]s_n.better, t.%[1]s) AS %[1]s", id))
			joins += fmt.Sprintf(" LEFT JOIN (SELECT * FROM %[1]s WHERE bundle = %[2]d) %[3]s_n ON %[3]s_n.conn_id = t.conn_id AND %[3]s_n.id = t.%[3]s", renamedTable, bundle, id)
		}
	}
	if replace == nil {
		return sql
	}
	return "SELECT t.* REPLACE (" + strings.Join(replace, ", ") + ") FROM (" + sql + ") t" + joins
}

// betterIDs is the SQL for the calls whose ends another bundle knows better or names, with the ids of their ends, or -1
// for an end that the row itself knows as well. It is empty if there are none.
func (c *Case) betterIDs() string {
	if c.ends == nil && c.renamed == nil {
		return ""
	}
	from := endsTable + " WHERE src_id IS NOT NULL OR dst_id IS NOT NULL"
	if c.renamed != nil {
		some := "(bundle, conn_id) IN (SELECT (bundle, conn_id) FROM " + renamedTable + ")"
		if c.ends != nil {
			some += " OR (bundle, call_no) IN (SELECT (bundle, call_no) FROM " + from + ")"
		}
		from = "(" + c.reads(rowsOf{table: "calls"}, withCopies, []string{"bundle", "call_no", "conn_id", "src_id", "dst_id"}, parquet) + ") WHERE " + some
	}
	return "SELECT bundle::BIGINT, call_no, coalesce(src_id, -1), coalesce(dst_id, -1) FROM " + from + " ORDER BY bundle, call_no"
}
