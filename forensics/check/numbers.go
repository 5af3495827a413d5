package check

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/internal/stats"
	"github.com/pcapsule/pcapsule/internal/plural"
)

func (s *Rules) counts(_ context.Context, _ *scope, r *Rule, o *Outcome) error {
	if r.Count == nil {
		return nil
	}
	o.Measured = append(o.Measured, plural.Sprintf("%d {call|calls}", o.Calls))
	if !r.Count.holds(o.Calls) {
		o.fail(nil, r.Count.String()+" calls", "%d {call|calls}", o.Calls)
	}
	return nil
}

func summaryOf(c *ask.Call) string {
	return strings.TrimSpace(c.Status + " in " + fmt.Sprint(c.ElapsedMs) + " ms")
}

func (s *Rules) every(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	if r.Every == "" {
		return nil
	}
	others, err := q.butNot(ctx, r.Every)
	if err != nil {
		return err
	}
	return others.breakAll(ctx, o, r.Every, summaryOf)
}

// maxExpected is the length of KFL, in bytes, that violations repeat.
const maxExpected = 200

func (s *Rules) never(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	if r.Never == "" {
		return nil
	}
	those, err := q.and(ctx, r.Never)
	if err != nil {
		return err
	}
	expected := "never " + r.Never
	if len(r.Never) > maxExpected { // each violation repeats it
		expected = "no call that matches never"
	}
	return those.breakAll(ctx, o, expected, summaryOf)
}

// latency checks quantiles of the time from the first byte of the request to the last byte of the
// response. A call without a response counts with the time that its caller waited.
func (s *Rules) latency(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	if len(r.Latency) == 0 {
		return nil
	}
	names := slices.SortedFunc(maps.Keys(r.Latency), func(a, b string) int { return strings.Compare(order(a), order(b)) })
	var list []string
	for _, name := range names {
		if name == "mean" {
			list = append(list, "avg("+terms.Took+")::BIGINT")
		} else {
			list = append(list, fmt.Sprintf("quantile_disc(%s, %g)", terms.Took, quantiles[name]))
		}
	}
	row, err := q.numbers(ctx, strings.Join(list, ", ")+", count(*) - count("+terms.Took+"), count(*) FILTER (outcome = 'no_answer'), count("+terms.Took+")")
	if err != nil {
		return err
	}
	if n, _ := row[len(names)].(int64); n > 0 {
		o.Measured = append(o.Measured, plural.Sprintf("%d {call has|calls have} no latency because {it was|they were} only partly captured", n))
	}
	if n, _ := row[len(names)+1].(int64); n > 0 {
		o.Measured = append(o.Measured, plural.Sprintf("%d {call|calls} got no response and {counts|count} with the time that the caller waited", n))
	}
	for i, name := range names {
		us, ok := row[i].(int64)
		if !ok {
			o.fail(nil, fmt.Sprintf("%s at most %s", name, time.Duration(r.Latency[name])), "no call has a latency")
			continue
		}
		got, most := time.Duration(us)*time.Microsecond, time.Duration(r.Latency[name])
		text := fmt.Sprintf("%s %s", name, got)
		if q := quantiles[name]; q > 0 && q < 1 {
			if n, _ := row[len(names)+2].(int64); n < int64(math.Ceil(1/(1-q)-1e-9)) {
				text += plural.Sprintf(" (the slowest of %d {call|calls}: too few for a %s)", n, name)
			}
		}
		o.Measured = append(o.Measured, text)
		if got <= most {
			continue
		}
		slow := q.with(terms.Took+" > ?", most.Microseconds())
		if err := slow.breakAll(ctx, o, fmt.Sprintf("%s at most %s", name, most), func(c *ask.Call) string {
			return fmt.Sprintf("%s %s; this call %s ms", name, got, plural.Digits(c.ElapsedMs, 15))
		}); err != nil {
			return err
		}
	}
	return nil
}

// order is the sort key for the name of a quantile.
func order(name string) string {
	if name == "mean" {
		return "0"
	}
	return fmt.Sprintf("%.4f", quantiles[name])
}

func (s *Rules) errorRate(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	if r.ErrorRate == nil || o.Calls == 0 {
		return nil
	}
	bad := q.with("(failed)")
	n, err := bad.count(ctx)
	if err != nil {
		return err
	}
	got := float64(n) / float64(o.Calls)
	v := stats.Share(float64(n), float64(o.Calls))
	text := plural.Sprintf("%d of %d {call|calls} failed, %s %% (95 %% interval %s to %s %%)", n, o.Calls, plural.Digits(100*got, 3), plural.Digits(100*v.Low, 3), plural.Digits(100*v.High, 3))
	if limit := float64(*r.ErrorRate); limit > 0 && limit < 1 && (got <= limit && v.High > limit || got > limit && v.Low <= limit) {
		text += plural.Sprintf("; too few calls to be sure of at most %s %%", plural.Digits(100*limit, 3))
	}
	fates, err := ask.FatesOf(ctx, q.c, bad.where, bad.args...)
	if err != nil {
		return err
	}
	if len(fates) > 0 {
		text += "; without a response: " + ask.FateWords(fates)
	}
	o.Measured = append(o.Measured, text)
	if got <= float64(*r.ErrorRate) {
		return nil
	}
	return bad.breakAll(ctx, o, fmt.Sprintf("at most %s %% failed", plural.Digits(100*float64(*r.ErrorRate), 3)), summaryOf)
}
