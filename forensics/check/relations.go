package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
)

// Calls are put into slices of time, so that the calls of one place are only held against
// those of the same slice.
const (
	slice    = 100_000_000 // nanoseconds
	maxSlice = 600         // slices of one call; a longer one is looked at up to there
)

// children is SQL for the calls of a scope with how many calls for which below holds were
// made because of each: by the server of the call, within its time, and of the same trace
// or request where both say so; else for the call at that place that began last. unsure
// counts those that could belong to another call as well. Arguments are those of below,
// then those of the scope. Columns: call_id, ts_ns, equal, n, unsure.
func children(c *forensics.Case, where, below string) string {
	bundle := func(alias string) string {
		if c.Several() {
			return alias + ".bundle"
		}
		return "0"
	}
	return fmt.Sprintf(`WITH k AS (SELECT call_id AS id, %[1]s AS b, ts_ns, trace_id, request_id,
			unnest(list_distinct(list_filter([coalesce(src_namespace, '') || '/' || src_pod, 'service ' || coalesce(src_namespace, '') || '/' || src_service, src_ip], x -> x IS NOT NULL))) AS place
			FROM calls c WHERE (%[2]s)),
		p AS (SELECT call_id AS id, %[1]s AS b, ts_ns, ts_ns + coalesce(elapsed_us, 0) * 1000 AS till, trace_id, request_id,
			CASE WHEN dst_pod IS NOT NULL THEN coalesce(dst_namespace, '') || '/' || dst_pod WHEN dst_service IS NOT NULL THEN 'service ' || coalesce(dst_namespace, '') || '/' || dst_service ELSE dst_ip END AS place,
			dst_id || '|' || coalesce(method, '') || '|' || coalesce(path, '') || '|' || coalesce(query_string, '') AS equal,
			(%[3]s) AS asked
			FROM calls c WHERE protocol IN ('http1', 'http2', 'http3', 'grpc')),
		ps AS (SELECT *, unnest(range(ts_ns // %[4]d, least(till // %[4]d, ts_ns // %[4]d + %[5]d) + 1)) AS slice FROM p WHERE place IN (SELECT place FROM k)),
		j AS (SELECT ps.id AS parent, ps.b, ps.asked, k.id AS child,
			CASE WHEN k.trace_id = ps.trace_id THEN 2 WHEN k.request_id = ps.request_id THEN 1 ELSE 0 END AS sure, ps.ts_ns,
			FROM ps JOIN k ON k.place = ps.place AND k.b = ps.b AND k.ts_ns // %[4]d = ps.slice AND k.ts_ns BETWEEN ps.ts_ns AND ps.till AND k.id <> ps.id
			WHERE k.trace_id IS NULL OR ps.trace_id IS NULL OR k.trace_id = ps.trace_id),
		best AS (SELECT *, max(sure) OVER (PARTITION BY child, b) AS top, row_number() OVER (PARTITION BY child, b ORDER BY sure DESC, ts_ns DESC, parent) AS nth FROM j),
		rivals AS (SELECT child, b, count(*) > 1 AS unsure FROM best WHERE sure = top GROUP BY 1, 2),
		n AS (SELECT parent AS id, best.b, count(*) AS n, count(*) FILTER (unsure) AS unsure FROM best JOIN rivals USING (child, b) WHERE nth = 1 AND asked GROUP BY 1, 2)
		SELECT p.id AS call_id, p.ts_ns, p.equal, coalesce(n.n, 0) AS n, coalesce(n.unsure, 0) AS unsure FROM p LEFT JOIN n ON n.id = p.id AND n.b = p.b WHERE p.asked`,
		bundle("c"), below, where, slice, maxSlice)
}

// perCall is one call with its children.
type perCall struct {
	CallID string `json:"call_id"`
	N      int64  `json:"n"`
	Unsure int64  `json:"unsure"`
	Nth    int64  `json:"nth"`
}

// relations holds what a call leads to: calls of its server, and sendings of the same again.
func (s *Rules) relations(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	for _, d := range r.Downstream {
		below, err := q.c.Condition(ctx, d.Calls)
		if err != nil {
			return err
		}
		sql := children(q.c, q.where, below.SQL)
		if err := q.eachBad(ctx, o, sql, append(append([]any{}, below.Args...), q.args...), fmt.Sprintf("n NOT BETWEEN %d AND %d", d.Min, d.Max),
			d.Bounds.String()+" of "+d.Calls); err != nil {
			return err
		}
	}
	if r.Cached != nil {
		below, err := q.c.Condition(ctx, r.Cached.Calls)
		if err != nil {
			return err
		}
		sql := "SELECT *, row_number() OVER (PARTITION BY equal ORDER BY ts_ns, call_id) AS nth FROM (" + children(q.c, q.where, below.SQL) + ")"
		if err := q.eachBad(ctx, o, sql, append(append([]any{}, below.Args...), q.args...), "nth > 1 AND n > 0", "only the first of equal calls to lead to "+r.Cached.Calls); err != nil {
			return err
		}
		if err := q.repeats(ctx, o); err != nil {
			return err
		}
	}
	return q.retries(ctx, r, o)
}

// eachBad makes the calls for which bad holds of their children ones that break the rule.
func (q *scope) eachBad(ctx context.Context, o *Outcome, sql string, args []any, bad, expected string) error {
	type sum struct {
		N      int64 `json:"n"`
		Most   int64 `json:"most"`
		Unsure int64 `json:"unsure"`
		Bad    int64 `json:"bad"`
	}
	all, _, err := ask.Rows[sum](ctx, q.c, 1, "SELECT count(*) AS n, coalesce(max(n), 0)::BIGINT AS most, coalesce(sum(unsure), 0)::BIGINT AS unsure, count(*) FILTER ("+bad+") AS bad FROM ("+sql+")", args...)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s: at most %d a call", expected, all[0].Most)
	if all[0].Unsure > 0 {
		text += fmt.Sprintf("; %d could belong to another call of that time as well", all[0].Unsure)
	}
	o.Measured = append(o.Measured, text)
	if all[0].Bad == 0 {
		return nil
	}
	rows, _, err := ask.Rows[perCall](ctx, q.c, maxListed, "SELECT call_id, n, unsure, 0 AS nth FROM ("+sql+") WHERE "+bad+" ORDER BY ts_ns, call_id", args...)
	if err != nil {
		return err
	}
	for _, x := range rows {
		call, err := q.call(ctx, x.CallID)
		if err != nil {
			return err
		}
		o.fail(call, expected, "%d", x.N)
	}
	o.More += all[0].Bad - int64(len(rows))
	return nil
}

// repeats says where nothing was asked twice, so that a cache was not put to the test.
func (q *scope) repeats(ctx context.Context, o *Outcome) error {
	row, err := q.numbers(ctx, "count(*) - count(DISTINCT (dst_id, method, path, query_string))")
	if err != nil {
		return err
	}
	if n, _ := row[0].(int64); n == 0 && o.Calls > 0 {
		o.fail(nil, "calls that are made more than once", "no call repeats another, so a cache is never used")
	}
	return nil
}

// call reads one call of the scope.
func (q *scope) call(ctx context.Context, id string) (*ask.Call, error) {
	list, err := q.with("lower(hex(call_id)) = ?", id).calls(ctx, 1)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// findings holds the calls to what analyzers find.
func findings(ctx context.Context, q *scope, r *Rule, o *Outcome, analyzers []finding.Analyzer) error {
	if len(r.NoFindings) == 0 {
		return nil
	}
	in := finding.In{Scope: ask.Scope{From: r.From, To: r.To, KFL: r.Calls, Limit: 1000}, Names: r.NoFindings, Whole: true}
	out, err := finding.Run(ctx, q.c, analyzers, in)
	if err != nil {
		return err
	}
	for _, f := range out.Findings {
		var call *ask.Call
		if len(f.CallIDs) > 0 {
			if call, err = q.call(ctx, f.CallIDs[0]); err != nil {
				return err
			}
		}
		o.fail(call, "no "+f.Finding, "%s%s", f.What, strings.TrimSuffix(": "+strings.Join(f.Evidence, ", "), ": "))
	}
	return nil
}
