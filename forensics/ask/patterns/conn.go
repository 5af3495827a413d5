package patterns

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Thresholds of churn: new connections per minute, and calls per connection.
const (
	churnPerMinute = 30
	churnCalls     = 3
)

// churn finds clients that open connections unnecessarily.
func (l *finder) churn(ctx context.Context) ([]Pattern, error) {
	type row struct {
		Src     string   `json:"src"`
		Dst     string   `json:"dst"`
		Pb      string   `json:"pb"`
		Opened  int64    `json:"opened"`
		Calls   int64    `json:"calls"`
		Silent  int64    `json:"silent"`
		Refused int64    `json:"refused"`
		Peak    int64    `json:"peak"`
		PeakAt  int64    `json:"peak_at"`
		P50     *float64 `json:"handshake_ms"`
		Life    *float64 `json:"life_ms"`
		Minutes int64    `json:"minutes"`
	}
	w := l.w
	on := terms.Key(l.c, "")
	conns, args := w.Connections(l.c, "connections", w.Where != "true")
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, fmt.Sprintf(`WITH k AS (SELECT %[1]s AS src, %[2]s AS dst, %[3]s AS pb, calls, k.first_ns, k.last_ns, f.handshake_us, f.state FROM %[6]s k
			JOIN (SELECT %[4]s flow_id, handshake_us, state, completeness FROM flows_raw) f USING (%[4]s flow_id) WHERE k.transport = 'tcp' AND f.completeness %% 2 = 1 AND k.first_ns >= %[5]d),
		m AS (SELECT src, dst, first_ns // 60000000000 AS minute, count(*) AS n FROM k GROUP BY ALL)
		SELECT src, dst, min(pb) AS pb, count(*) AS opened, sum(calls)::BIGINT AS calls, count(*) FILTER (calls = 0) AS silent, count(*) FILTER (state IN ('refused', 'syn_sent')) AS refused,
			(SELECT max(n) FROM m WHERE m.src = k.src AND m.dst = k.dst) AS peak, (SELECT arg_max(minute, n * 100000000000 - minute) FROM m WHERE m.src = k.src AND m.dst = k.dst) * 60000000000 AS peak_at,
			(SELECT count(*) FROM m WHERE m.src = k.src AND m.dst = k.dst) AS minutes,
			quantile_disc(handshake_us, 0.5) / 1000.0 AS handshake_ms, quantile_disc(last_ns - first_ns, 0.5) / 1e6 AS life_ms FROM k GROUP BY src, dst ORDER BY opened DESC, 1, 2`,
		terms.Who("src_"), terms.Who("dst_"), terms.Place("dst_"), on, w.From, conns), args...)
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		per := float64(r.Calls) / float64(max(r.Opened, 1))
		if r.Peak < churnPerMinute || per > churnCalls {
			continue
		}
		p := Pattern{Kind: "churn", Src: r.Src, Dst: r.Dst, Problem: true, Count: r.Opened, Confidence: "exact", How: "handshakes per minute, and the calls on these connections", KFL: l.kfl(r.Src, r.Dst, r.Pb, false),
			Numbers: []Number{{"connections_opened", float64(r.Opened)}, {"peak_per_minute", float64(r.Peak)}, {"calls_per_connection", ask.Round(per)}, {"without_calls", float64(r.Silent)}, {"refused_or_unanswered", float64(r.Refused)}},
			Words:   plural.Sprintf("%s opened %d {connection|connections} to %s, up to %d per minute (at %s), with %s on each.", r.Src, r.Opened, r.Dst, r.Peak, when.Stamp(max(r.PeakAt, w.From)), plural.Amount(per, 2, "call", "calls"))}
		if r.P50 != nil {
			p.Numbers = append(p.Numbers, Number{"handshake_p50_ms", *r.P50})
		}
		if r.Life != nil {
			p.Numbers = append(p.Numbers, Number{"life_p50_ms", ask.Round(*r.Life)})
		}
		if p.CallIDs, err = l.examples(ctx, r.Src, r.Dst); err != nil {
			return nil, err
		}
		out = append(out, p)
		if len(out) == 2*ask.MaxNames { // each reads its own examples
			break
		}
	}
	return out, nil
}

// examples returns the first calls from one service to another.
func (l *finder) examples(ctx context.Context, src, dst string) ([]string, error) {
	v, err := ask.One[struct {
		IDs []string `json:"ids"`
	}](ctx, l.c, fmt.Sprintf("SELECT list_transform(arg_min(call_id, (ts_ns, call_id), 5), i -> lower(hex(i))) AS ids FROM calls WHERE %s AND src_id IN (SELECT endpoint_id FROM endpoints WHERE %s = ?) AND dst_id IN (SELECT endpoint_id FROM endpoints WHERE %s = ?) AND %s = ? AND %s = ?",
		l.w.Where, terms.Who(""), terms.Who(""), terms.Who("src_"), terms.Who("dst_")), l.w.Values(src, dst, src, dst)...)
	return v.IDs, err
}

// keepAlive finds how often HTTP/1 connections are reused.
func (l *finder) keepAlive(ctx context.Context) ([]Pattern, error) {
	type row struct {
		Src     string   `json:"src"`
		Dst     string   `json:"dst"`
		Pb      string   `json:"pb"`
		Asked   bool     `json:"asked"`
		Calls   int64    `json:"calls"`
		Conns   int64    `json:"conns"`
		Single  int64    `json:"single"`
		Closing int64    `json:"closing"`
		CallIDs []string `json:"call_ids"`
	}
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, l.k.Ends(l.c, "service")+fmt.Sprintf(`, k AS (SELECT an, bn, far, conn, count(*) AS n, count(*) FILTER (NOT coalesce(http1_keep_alive, true)) AS closing, bool_or(`+terms.Asked+`) AS asked,
			min(ts_ns) AS ts_ns, arg_min(call_id, (ts_ns, call_id)) AS call_id FROM %s WHERE protocol = 'http1' GROUP BY ALL)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, any_value(pb) AS pb, bool_or(asked) AS asked, sum(n)::BIGINT AS calls, count(*) AS conns, count(*) FILTER (n = 1) AS single, sum(closing)::BIGINT AS closing, %s
		FROM k JOIN sname USING (an) JOIN dname USING (bn) GROUP BY 1, 2 HAVING sum(n) >= 10 ORDER BY calls DESC, 1, 2`, ask.Joined(l.c, "x"), terms.SomeCalls), l.k.Args...)
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		per := float64(r.Calls) / float64(r.Conns)
		p := Pattern{Kind: "keep_alive", Src: r.Src, Dst: r.Dst, Count: r.Conns, Confidence: "exact", How: "HTTP/1 calls by connection; closing: Connection: close, or HTTP/1.0 without keep-alive", CallIDs: r.CallIDs,
			KFL: l.kfl(r.Src, r.Dst, r.Pb, r.Asked) + " and http1", Numbers: []Number{{"calls", float64(r.Calls)}, {"connections", float64(r.Conns)}, {"calls_per_connection", ask.Round(per)}, {"connections_with_one_call", float64(r.Single)}, {"calls_that_close", float64(r.Closing)}}}
		if per < 1.5 {
			p.Problem = true
			p.Words = plural.Sprintf("%s opens a connection to %s for nearly every call: %d {call|calls} on %d {connection|connections}, %d of which ask to close.", r.Src, r.Dst, r.Calls, r.Conns, r.Closing)
		} else {
			p.Words = plural.Sprintf("%s reuses connections to %s: %d {call|calls} on %d.", r.Src, r.Dst, r.Calls, r.Conns)
		}
		out = append(out, p)
	}
	return out, nil
}

// Thresholds of an exhausted pool.
const (
	maxPooled     = 200_000 // calls that are read
	minPooled     = 50
	poolShare     = 0.2 // share of calls that began with all connections busy
	poolQuickNs   = 2_000_000
	poolQuickRate = 0.7
)

// pool finds pods whose calls wait for a free connection. Such a pod never has more calls in flight
// than some ceiling and often reaches it; then its next call begins on a connection as soon as the
// previous one ends. Servers that refuse further connections report this themselves.
func (l *finder) pool(ctx context.Context) ([]Pattern, error) {
	type row struct {
		Src     string   `json:"src"`
		Dst     string   `json:"dst"`
		Pb      string   `json:"pb"`
		Asked   bool     `json:"asked"`
		Pod     string   `json:"pod"`
		Calls   int64    `json:"calls"`
		Ceiling int64    `json:"ceiling"`
		Conns   int64    `json:"conns"`
		Full    int64    `json:"full_calls"`
		Quick   int64    `json:"quick"`
		CallIDs []string `json:"call_ids"`
	}
	w, since, err := l.k.Latest(ctx, l.c, ``+pooled+` AND elapsed_us IS NOT NULL`, maxPooled)
	if err != nil {
		return nil, err
	}
	if since != "" {
		l.note(fmt.Sprintf("pool: only the latest %d calls, from %s on, were examined", maxPooled, since))
	}
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, w.Ends(l.c, "service")+fmt.Sprintf(`, t AS MATERIALIZED (SELECT %[1]s AS k, conn, ap, an, bn, far, src_pod, protocol, `+terms.Asked+` AS asked, call_id, ts_ns, ts_ns + elapsed_us * 1000 AS done,
			lag(ts_ns + elapsed_us * 1000) OVER (PARTITION BY conn ORDER BY ts_ns, call_no) AS before FROM %[2]s WHERE `+pooled+` AND elapsed_us IS NOT NULL),
		ev AS (SELECT k, ap, bn, far, ts_ns AS moment, 1 AS d FROM t UNION ALL SELECT k, ap, bn, far, done AS moment, -1 AS d FROM t),
		fl AS (SELECT k, d, sum(d) OVER (PARTITION BY ap, bn, far ORDER BY moment, d, k ROWS UNBOUNDED PRECEDING) AS busy FROM ev),
		b AS (SELECT t.*, busy FROM t JOIN (SELECT k, busy FROM fl WHERE d = 1) USING (k)),
		c AS (SELECT ap, bn, far, max(busy) AS ceiling FROM b GROUP BY ALL HAVING count(*) >= %[3]d AND max(busy) >= 2),
		g AS (SELECT an, bn, far, any_value(src_pod) AS pod, bool_or(asked) AS asked, count(*) AS calls, any_value(ceiling) AS ceiling, count(DISTINCT conn) AS conns, count(*) FILTER (busy = ceiling) AS full_calls,
			count(*) FILTER (busy = ceiling AND ts_ns - before BETWEEN 0 AND %[4]d) AS quick, list_transform(arg_min(call_id, (ts_ns, call_id), 5) FILTER (busy = ceiling AND ts_ns - before BETWEEN 0 AND %[4]d), i -> lower(hex(i))) AS call_ids
			FROM b JOIN c USING (ap, bn, far) GROUP BY ap, an, bn, far)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, pb, asked, coalesce(pod, src) AS pod, calls, ceiling::BIGINT AS ceiling, conns, full_calls, quick, call_ids FROM g JOIN sname USING (an) JOIN dname USING (bn)
		WHERE full_calls >= %[5]g * calls AND quick >= %[6]g * full_calls AND conns <= ceiling * 2 ORDER BY full_calls DESC, 1, 2, 5`, terms.NumberOf(l.c), ask.Joined(l.c, "x"), minPooled, poolQuickNs, poolShare, poolQuickRate), w.Args...)
	if err != nil {
		return nil, err
	}
	var out []Pattern
	for _, r := range rows {
		out = append(out, Pattern{Kind: "pool", Src: r.Src, Dst: r.Dst, Problem: true, Count: r.Full, Confidence: "likely", CallIDs: r.CallIDs, KFL: l.kfl(r.Src, r.Dst, r.Pb, r.Asked),
			How:     "never more calls in flight than the ceiling, and at the ceiling the next call begins on a connection within 2 ms of the end of the previous one: calls wait for a free connection",
			Numbers: []Number{{"ceiling", float64(r.Ceiling)}, {"connections", float64(r.Conns)}, {"calls", float64(r.Calls)}, {"calls_at_ceiling", float64(r.Full)}, {"begun_at_once", float64(r.Quick)}},
			Words:   plural.Sprintf("%s has at most %d {call|calls} to %s in flight and reaches this for %d of %d {call|calls}; %d of these begin as soon as a connection becomes free: its pool is exhausted.", r.Pod, r.Ceiling, r.Dst, r.Full, r.Calls, r.Quick)})
	}
	crowded, err := l.crowds(ctx, w)
	if err != nil {
		return nil, err
	}
	for _, p := range crowded {
		if !slices.ContainsFunc(out, func(o Pattern) bool { return o.Src == p.Src && o.Dst == p.Dst }) {
			out = append(out, p)
		}
	}
	refused, err := l.tooMany(ctx)
	if err != nil {
		return nil, err
	}
	away, err := l.turnedAway(ctx)
	return append(append(out, refused...), away...), err
}

// pooled is the condition that a call is of a protocol whose clients keep pools of connections.
var pooled = "protocol IN " + table.ProtocolsIn(func(t *table.Traits) bool { return t.Pooled })

// tooMany finds servers that report too many connections.
func (l *finder) tooMany(ctx context.Context) ([]Pattern, error) {
	type row struct {
		Src     string   `json:"src"`
		Dst     string   `json:"dst"`
		Pb      string   `json:"pb"`
		Calls   int64    `json:"calls"`
		CallIDs []string `json:"call_ids"`
	}
	rows, _, err := ask.Rows[row](ctx, l.c, ask.MaxEdges, l.k.Ends(l.c, "service")+fmt.Sprintf(`SELECT src, dst, pb, calls, call_ids FROM (SELECT an, bn, count(*) AS calls, %s FROM x WHERE failed AND %s GROUP BY ALL) JOIN sname USING (an) JOIN dname USING (bn) ORDER BY calls DESC, 1, 2`, terms.SomeCalls, table.EitherOf(func(t *table.Traits) string { return t.TooMany })), l.k.Args...)
	var out []Pattern
	for _, r := range rows {
		out = append(out, Pattern{Kind: "pool", Src: r.Src, Dst: r.Dst, Problem: true, Count: r.Calls, Confidence: "exact", How: "reported by the server", CallIDs: r.CallIDs, KFL: l.kfl(r.Src, r.Dst, r.Pb, false) + " and failed",
			Words: plural.Sprintf("%s refused %d {connection|connections} from %s: it has too many clients.", r.Dst, r.Calls, r.Src)})
	}
	return out, err
}
