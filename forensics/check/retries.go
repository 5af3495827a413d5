package check

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// retries checks the retries that find_patterns finds: their number before a client gave up, and
// their pauses.
func (q *scope) retries(ctx context.Context, r *Rule, o *Outcome) error {
	if r.Retries == nil {
		return nil
	}
	out, err := patterns.Ask(ctx, q.c, patterns.In{Scope: ask.Scope{From: r.From, To: r.To, KFL: r.Calls, Limit: 1000}, Kinds: []string{"retries"}})
	if err != nil {
		return err
	}
	if len(out.Findings) == 0 {
		if r.Retries.Exactly != nil && *r.Retries.Exactly > 0 || r.Retries.Backoff != "" {
			o.fail(nil, "calls that are retried after a failure", "none")
		}
		return nil
	}
	for i := range out.Findings {
		if err := q.retry(ctx, r.Retries, &out.Findings[i], o); err != nil {
			return err
		}
	}
	if n := r.Retries.Exactly; n != nil && *n > 0 {
		return q.unretried(ctx, o, plural.Sprintf("exactly %d {retry|retries}", *n))
	}
	return nil
}

// unretried fails for each failed call that neither repeats an equal call nor is repeated. The pattern retries has
// only calls with at least one retry.
func (q *scope) unretried(ctx context.Context, o *Outcome, expected string) error {
	type row struct {
		CallID string `json:"call_id"`
		Total  int64  `json:"total"`
	}
	w := ask.Window{Where: q.where}
	rows, _, err := ask.Rows[row](ctx, q.c, maxListed, w.Ends(q.c, "service")+fmt.Sprintf(`, m AS (SELECT call_id, %[1]s FROM x WHERE protocol IN %[2]s),
		o AS (SELECT *, coalesce(lead(retry) OVER (PARTITION BY h ORDER BY ts_ns, tie), false) AS retried FROM (%[3]s))
		SELECT lower(hex(call_id)) AS call_id, count(*) OVER () AS total FROM o WHERE bad AND NOT retry AND NOT retried ORDER BY ts_ns, call_id LIMIT %[4]d`,
		relation.Compared(relation.Request, "call_id"), terms.Serving, relation.Repeats("m"), maxListed), q.args...)
	if err != nil || len(rows) == 0 {
		return err
	}
	for _, x := range rows {
		call, err := q.call(ctx, x.CallID)
		if err != nil {
			return err
		}
		o.fail(call, expected, "no equal request followed (method, path, query, body and Idempotency-Key, request or trace id)")
	}
	o.More += rows[0].Total - int64(len(rows))
	o.Measured = append(o.Measured, plural.Sprintf("%d failed {call|calls} without an equal request afterwards", rows[0].Total))
	return nil
}

// retry checks one client and endpoint.
func (q *scope) retry(ctx context.Context, want *Retries, p *patterns.Pattern, o *Outcome) error {
	has := map[string]float64{}
	for _, n := range p.Numbers {
		has[n.Name] = n.Value
	}
	o.Measured = append(o.Measured, p.Words)
	var call *ask.Call
	if len(p.CallIDs) > 0 {
		var err error
		if call, err = q.call(ctx, p.CallIDs[0]); err != nil {
			return err
		}
	}
	if n := want.Exactly; n != nil {
		// A client that succeeded may have retried less often; one that gave up may not.
		exactly, known := has["exactly"]
		if has["max_retries"] > float64(*n) || has["gave_up_failed"] > 0 && (!known || exactly != float64(*n)) {
			o.fail(call, plural.Sprintf("exactly %d {retry|retries}", *n), "%s", p.Words)
		}
	}
	if n := want.Max; n != nil && has["max_retries"] > float64(*n) {
		o.fail(call, plural.Sprintf("at most %d {retry|retries}", *n), "%s", p.Words)
	}
	if want.Backoff != "" && has["max_retries"] >= 2 {
		growing := p.Shape == "exponential" || p.Shape == "linear"
		if p.Shape != want.Backoff && !(want.Backoff == "growing" && growing) {
			o.fail(call, want.Backoff+" pauses", "%s: %s", p.Shape, p.Words)
		}
	}
	return nil
}
