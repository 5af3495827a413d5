package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// children is SQL for the calls of a scope with their number of children that match below, as in
// relation.Linked; calls to databases and caches that access no data do not count, unless the filter names kinds of calls. unsure counts the children that could also belong to another call. thing is equal
// for calls that send the same request to one server. The arguments are those of below, then those
// of the scope. Columns: call_id, ts_ns, thing, n, unsure.
func (q *scope) children(below forensics.Condition) string {
	matches := "(" + below.SQL + ")"
	if !statements.NamesKind(below.Columns) {
		matches += " AND " + statements.Accesses
	}
	all := ask.Window{Where: "true"}
	no := terms.NumberOf(q.c)
	// Only calls to and from the servers of the scope matter.
	return all.Ends(q.c, "service") + fmt.Sprintf(`, below AS MATERIALIZED (SELECT %[1]s AS k FROM calls WHERE %[2]s),
		hit AS MATERIALIZED (SELECT %[1]s AS k, coalesce(pod, x.bp) AS pod, call_id, ts_ns, hash(%[3]s) AS thing FROM x LEFT JOIN front ON front.bp = x.bp WHERE protocol IN %[4]s AND %[1]s IN (SELECT %[1]s FROM calls WHERE (%[5]s))), %[6]s%[7]s,
		n AS (SELECT pk AS k, count(*) AS n, count(*) FILTER (grade = 2) AS unsure FROM (%[8]s) GROUP BY 1)
		SELECT DISTINCT k, call_id, ts_ns, thing, coalesce(n, 0) AS n, coalesce(unsure, 0) AS unsure FROM hit LEFT JOIN n USING (k)`,
		no, matches, relation.Thing, terms.Serving, q.where, relation.Children(q.c, "ap IN (SELECT pod FROM hit) AND "+no+" IN (SELECT k FROM below)", ""),
		relation.Parents(q.c, "bp IN (SELECT pod FROM hit UNION ALL SELECT f.bp FROM front f JOIN hit USING (pod))", true), relation.Linked("c0"))
}

// perCall is one call with the number of its children.
type perCall struct {
	CallID string `json:"call_id"`
	N      int64  `json:"n"`
	Unsure int64  `json:"unsure"`
	Nth    int64  `json:"nth"`
}

// relations checks the calls that a call causes, caching, and retries.
func (s *Rules) relations(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	for _, d := range r.Downstream {
		below, err := q.c.Condition(ctx, d.Calls)
		if err != nil {
			return err
		}
		if err := q.eachBad(ctx, o, q.children(below), append(append([]any{}, below.Args...), q.args...), fmt.Sprintf("n NOT BETWEEN %d AND %d", d.Min, d.Max),
			d.Bounds.String()+" of "+d.Calls); err != nil {
			return err
		}
	}
	if r.Cached != nil {
		below, err := q.c.Condition(ctx, r.Cached.Calls)
		if err != nil {
			return err
		}
		sql := "SELECT *, row_number() OVER (PARTITION BY thing ORDER BY ts_ns, call_id) AS nth FROM (" + q.children(below) + ")"
		args := append(append([]any{}, below.Args...), q.args...)
		if err := q.eachBad(ctx, o, sql, args, "nth > 1 AND n > 0", "only the first of equal calls to cause "+r.Cached.Calls); err != nil {
			return err
		}
		again, err := ask.Count(ctx, q.c, "SELECT count(*) AS n FROM ("+sql+") WHERE nth > 1", args...)
		if err != nil {
			return err
		}
		if again == 0 && o.Calls > 0 {
			o.fail(nil, "repeated calls", "no call repeats another, so the cache is never used")
		}
	}
	return q.retries(ctx, r, o)
}

// eachBad reports the calls whose children match the condition bad as violations.
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
	text := fmt.Sprintf("%s: at most %d per call", expected, all[0].Most)
	if all[0].Unsure > 0 {
		text += fmt.Sprintf("; %d could also belong to another call at that time", all[0].Unsure)
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

// call reads one call of the scope.
func (q *scope) call(ctx context.Context, id string) (*ask.Call, error) {
	list, err := q.with("lower(hex(call_id)) = ?", id).calls(ctx, 1)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// findings reports the calls of analyzers' findings as violations.
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
