package check

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
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
