package patterns

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Thresholds of a server that turns clients away at a ceiling.
const (
	leastTurned  = 3    // connections that it reset or refused
	leastCeiling = 3    // calls, or connections, that it serves meanwhile
	turnedShare  = 0.9  // share of these connections that came at the ceiling
	nearCeiling  = 2e6  // ns: a response may be captured just before the reset that follows it
	maxTurned    = 5000 // resets and refusals that are examined
)

// turnedAway finds servers that reset or refuse connections exactly while they serve as many calls as ever, or have as many
// connections with calls open: their pool of workers or connections is exhausted. A server that crashed or is not there
// serves nothing then, and one that resets for another reason does so at any load.
func (l *finder) turnedAway(ctx context.Context) ([]Pattern, error) {
	type row struct {
		Dst     string   `json:"dst"`
		Pb      string   `json:"pb"`
		Port    int64    `json:"port"`
		Srcs    []string `json:"srcs"`
		Way     string   `json:"way"`
		Ceiling int64    `json:"ceiling"`
		Turned  int64    `json:"turned"`
		Full    int64    `json:"full"`
		First   int64    `json:"first_ns"`
		Last    int64    `json:"last_ns"`
		CallIDs []string `json:"call_ids"`
	}
	w := l.w
	conns, args := w.Connections(l.c, "connections", w.Where != "true")
	away := fmt.Sprintf(`k AS MATERIALIZED (SELECT %[1]s, conn_id, conn, dst_ip, dst_port, first_ns, last_ns, %[2]s AS src, %[3]s AS dst, %[4]s AS pb FROM %[5]s WHERE transport = 'tcp'),
		y AS (%[6]s),
		r AS (SELECT %[7]s, l.conn_id, min(t.ts_ns) AS ns FROM tcp_events_raw t JOIN flows_raw l ON l.flow_id = t.flow_id%[8]s WHERE t.event IN ('reset', 'refused') AND t.side = 'server' GROUP BY 1, 2),
		z AS MATERIALIZED (SELECT k.*, r.ns FROM k JOIN r ON r.conn_id = k.conn_id%[9]s LEFT JOIN y ON y.conn_id = k.conn_id%[10]s WHERE coalesce(y.side, 'server') = 'server')`,
		terms.BundleOf(l.c, ""), terms.Client("src_"), terms.Who("dst_"), terms.Place("dst_"), conns, terms.ResetBy(l.c, "l.resets > 0"), terms.BundleOf(l.c, "l."), terms.SameBundle(l.c, "l", "t"), terms.SameBundle(l.c, "r", "k"), terms.SameBundle(l.c, "y", "k"))
	n, err := ask.Count(ctx, l.c, "WITH "+away+" SELECT count(*) AS n FROM z", args...)
	if err != nil || n < leastTurned {
		return nil, err
	}
	answered := ask.Joined(l.c, "(SELECT "+terms.Key(l.c, "")+"conn_id, call_id, ts_ns, ts_ns + elapsed_us * 1000 AS done FROM calls WHERE elapsed_us IS NOT NULL AND outcome NOT IN ('no_answer', 'refused', 'cut'))")
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, "WITH "+away+fmt.Sprintf(`,
		a AS MATERIALIZED (SELECT * FROM %[1]s),
		t AS MATERIALIZED (SELECT * FROM z WHERE conn NOT IN (SELECT conn FROM a) ORDER BY ns, conn LIMIT %[6]d),
		s AS MATERIALIZED (SELECT k.dst_ip, k.dst_port, a.ts_ns, a.done, a.call_id, conn, k.first_ns, k.last_ns FROM a JOIN k USING (conn) WHERE (k.dst_ip, k.dst_port) IN (SELECT (dst_ip, dst_port) FROM t)),
		o AS (SELECT dst_ip, dst_port, conn, min(first_ns) AS ts_ns, max(last_ns) AS done FROM s GROUP BY ALL),
		ev AS (SELECT dst_ip, dst_port, 'calls' AS way, ts_ns AS moment, 1 AS d, 0 AS away FROM s UNION ALL SELECT dst_ip, dst_port, 'calls', done, -1, 0 FROM s
			UNION ALL SELECT dst_ip, dst_port, 'connections', ts_ns, 1, 0 FROM o UNION ALL SELECT dst_ip, dst_port, 'connections', done, -1, 0 FROM o
			UNION ALL SELECT dst_ip, dst_port, unnest(['calls', 'connections']), ns, 0, 1 FROM t),
		f AS (SELECT *, sum(d) OVER (PARTITION BY dst_ip, dst_port, way ORDER BY moment, d DESC, away ROWS UNBOUNDED PRECEDING) AS busy FROM ev),
		m AS (SELECT *, max(busy) OVER (PARTITION BY dst_ip, dst_port, way) AS ceiling, max(busy) OVER (PARTITION BY dst_ip, dst_port, way ORDER BY moment RANGE BETWEEN %[2]d PRECEDING AND CURRENT ROW) AS near FROM f),
		g AS (SELECT dst_ip, dst_port, way, any_value(ceiling) AS ceiling, count(*) AS turned, count(*) FILTER (near = ceiling) AS full_at, min(moment) AS first_ns, max(moment) AS last_ns FROM m WHERE away = 1 GROUP BY ALL),
		b AS (SELECT * FROM g WHERE ceiling >= %[3]d AND turned >= %[4]d AND full_at >= %[5]g * turned QUALIFY row_number() OVER (PARTITION BY dst_ip, dst_port ORDER BY way) = 1),
		w AS (SELECT dst_ip, dst_port, min(dst) AS dst, min(pb) AS pb, list_sort(list(DISTINCT src)) AS srcs FROM t GROUP BY ALL),
		i AS (SELECT s.dst_ip, s.dst_port, list_transform(arg_min(call_id, (s.ts_ns, call_id), 5), x -> lower(hex(x))) AS call_ids FROM s JOIN b ON b.dst_ip = s.dst_ip AND b.dst_port = s.dst_port AND s.ts_ns <= b.first_ns AND s.done >= b.first_ns - %[2]d GROUP BY ALL)
		SELECT dst, pb, b.dst_port AS port, srcs, way, ceiling::BIGINT AS ceiling, turned, full_at AS "full", first_ns, last_ns, coalesce(call_ids, []) AS call_ids FROM b JOIN w USING (dst_ip, dst_port) LEFT JOIN i USING (dst_ip, dst_port) ORDER BY turned DESC, dst, port`,
		answered, int64(nearCeiling), leastCeiling, leastTurned, turnedShare, maxTurned), args...)
	var out []Pattern
	for _, r := range rows {
		what := map[string]string{"calls": plural.Sprintf("%d {call|calls} at once", r.Ceiling), "connections": plural.Sprintf("%d open {connection|connections}", r.Ceiling)}[r.Way]
		out = append(out, Pattern{Kind: "pool", Src: strings.Join(ask.SomeNames(r.Srcs), ", "), Dst: r.Dst, Problem: true, Count: r.Turned, Confidence: "likely", CallIDs: r.CallIDs, KFL: l.kfl("", r.Dst, r.Pb, false),
			How:     "the server reset or refused connections while it had exactly as many calls or connections as it ever had, and answered those",
			Numbers: []Number{{"ceiling", float64(r.Ceiling)}, {"turned_away", float64(r.Turned)}, {"turned_away_at_ceiling", float64(r.Full)}},
			Words:   plural.Sprintf("%s serves at most %s on port %d: it reset or refused %d {connection|connections} while it served that many, from %s to %s. Its pool of workers or connections is exhausted.", r.Dst, what, r.Port, r.Turned, when.Stamp(r.First), when.Stamp(r.Last))})
	}
	return out, err
}
