package patterns

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Number of calls at the ceiling that must have waited for a free connection: a third, and at least
// three.
const (
	leastWaiting = 3
	waitingShare = 3
)

// crowds finds pods that once had more requests to serve than connections to a server: never more
// calls in flight than some ceiling, more requests open than that, and calls that begin as soon as
// the previous one on their connection ends. Responses often arrive together, so several connections
// may be free when the next call begins: it counts if all were in use at most 2 ms before. Unlike
// pool, which requires that a pod often reaches the ceiling, this needs only a few calls.
func (l *finder) crowds(ctx context.Context, w *ask.Window) ([]Pattern, error) {
	type row struct {
		Src     string   `json:"src"`
		Dst     string   `json:"dst"`
		Pb      string   `json:"pb"`
		Asked   bool     `json:"asked"`
		Pod     string   `json:"pod"`
		Ceiling int64    `json:"ceiling"`
		Full    int64    `json:"full_calls"`
		Waited  int64    `json:"waited"`
		AtOnce  int64    `json:"at_once"`
		First   int64    `json:"first_ns"`
		Last    int64    `json:"last_ns"`
		CallIDs []string `json:"call_ids"`
	}
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxNames, w.Ends(l.c, "service")+fmt.Sprintf(`, t AS MATERIALIZED (SELECT %[1]s AS k, conn, ap, an, bn, far, src_pod, `+terms.Asked+` AS asked, call_id, ts_ns, ts_ns + elapsed_us * 1000 AS done,
			lag(ts_ns + elapsed_us * 1000) OVER (PARTITION BY conn ORDER BY ts_ns, call_no) AS before FROM %[2]s WHERE `+pooled+` AND elapsed_us IS NOT NULL),
		ev AS (SELECT k, ap, bn, far, ts_ns AS moment, 1 AS d FROM t UNION ALL SELECT k, ap, bn, far, done AS moment, -1 AS d FROM t),
		fl AS (SELECT *, max(greatest(busy, busy - d)) OVER (PARTITION BY ap, bn, far ORDER BY moment RANGE BETWEEN %[3]d PRECEDING AND CURRENT ROW) AS late FROM
			(SELECT *, sum(d) OVER (PARTITION BY ap, bn, far ORDER BY moment, d, k ROWS UNBOUNDED PRECEDING) AS busy FROM ev)),
		c AS (SELECT ap, bn, far, max(busy) AS ceiling FROM fl WHERE d = 1 GROUP BY ALL HAVING max(busy) >= 2),
		b AS (SELECT t.*, ceiling, coalesce(ts_ns - before BETWEEN 0 AND %[3]d, false) AS quick FROM fl JOIN c USING (ap, bn, far) JOIN t USING (k) WHERE fl.d = 1 AND late = ceiling AND (busy = ceiling OR ts_ns - before BETWEEN 0 AND %[3]d)),
		served AS (SELECT bp AS pod, ts_ns AS moment, ts_ns + elapsed_us * 1000 AS done FROM x WHERE protocol IN %[4]s AND elapsed_us IS NOT NULL AND bp IN (SELECT ap FROM c)),
		ins AS (SELECT NULL::BIGINT AS k, pod, moment, 1 AS d FROM served UNION ALL SELECT NULL, pod, done, -1 FROM served UNION ALL SELECT k, ap, ts_ns, 0 FROM b),
		open AS (SELECT k, max(greatest(n, n - d)) OVER (PARTITION BY pod ORDER BY moment RANGE BETWEEN %[3]d PRECEDING AND CURRENT ROW) AS open FROM (SELECT *, sum(d) OVER (PARTITION BY pod ORDER BY moment, d DESC, k ROWS UNBOUNDED PRECEDING) AS n FROM ins)),
		g AS (SELECT ap, an, bn, far, any_value(src_pod) AS pod, bool_or(asked) AS asked, any_value(ceiling) AS ceiling, count(*) AS full_calls, count(*) FILTER (quick AND open > ceiling) AS waited,
			max(open) FILTER (quick) AS at_once, count(DISTINCT conn) FILTER (quick AND open > ceiling) AS conns, min(ts_ns) FILTER (quick AND open > ceiling) AS first_ns, max(done) FILTER (quick AND open > ceiling) AS last_ns,
			list_transform(arg_min(call_id, (ts_ns, call_id), 5) FILTER (quick AND open > ceiling), i -> lower(hex(i))) AS call_ids FROM b JOIN (SELECT k, open FROM open WHERE k IS NOT NULL) USING (k) GROUP BY ap, an, bn, far)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, pb, asked, coalesce(pod, src) AS pod, ceiling::BIGINT AS ceiling, full_calls, waited, at_once::BIGINT AS at_once, first_ns, last_ns, call_ids FROM g JOIN sname USING (an) JOIN dname USING (bn)
		WHERE waited >= %[5]d AND waited * %[6]d >= full_calls AND conns <= ceiling ORDER BY waited DESC, 1, 2, 5`,
		terms.NumberOf(l.c), ask.Joined(l.c, "x"), poolQuickNs, terms.Serving, leastWaiting, waitingShare), w.Args...)
	var out []Pattern
	for _, r := range rows {
		out = append(out, Pattern{Kind: "pool", Src: r.Src, Dst: r.Dst, Problem: true, Count: r.Waited, Confidence: "likely", CallIDs: r.CallIDs, KFL: l.kfl(r.Src, r.Dst, r.Pb, r.Asked),
			How:     "never more calls in flight than the ceiling while more requests than that were being served, and within 2 ms of the ceiling the next call begins on a connection within 2 ms of the end of the previous one",
			Numbers: []Number{{"ceiling", float64(r.Ceiling)}, {"requests_at_once", float64(r.AtOnce)}, {"calls_at_ceiling", float64(r.Full)}, {"calls_that_waited", float64(r.Waited)}},
			Words: plural.Sprintf("%s serves up to %d {request|requests} at once and has at most %d {call|calls} to %s in flight: %d needed, %d available. %d {call|calls} waited for a free connection, from %s to %s.", r.Pod, r.AtOnce, r.Ceiling, r.Dst, r.AtOnce, r.Ceiling, r.Waited,
				when.Stamp(r.First), when.Stamp(r.Last))})
	}
	return out, err
}
