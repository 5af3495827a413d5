// Package check holds traffic to what somebody expects of it.
//
// Rules are a YAML file: each names calls by KFL and says what must be true of them. The
// outcome of a rule names the calls that break it, so that a pipeline can fail with its
// evidence. A rule that no call met is not met, unless it says that none is needed: an
// empty recording proves nothing. Rules read no file but those beside them, and no network.
package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/kfl"
)

// maxListed is how many calls that break a rule an outcome lists.
const maxListed = 50

// Status is how a rule came out.
type Status string

// The statuses of a rule.
const (
	Pass        Status = "pass"
	Fail        Status = "fail"
	NotRecorded Status = "not_recorded" // the time of the rule was not recorded, so nothing is known
	Errored     Status = "error"        // the rule could not be asked
)

// Report is the outcome of all rules.
type Report struct {
	ask.Frame
	Passed  int       `json:"passed"`
	Failed  int       `json:"failed" jsonschema:"rules of level error that did not pass"`
	Warned  int       `json:"warned" jsonschema:"rules of level warning that did not pass"`
	Results []Outcome `json:"rules"`

	last int64 // time of the last packet
}

// Outcome is the outcome of one rule.
type Outcome struct {
	Name     string   `json:"name"`
	Level    string   `json:"level" jsonschema:"error or warning"`
	Status   Status   `json:"status" jsonschema:"pass, fail, not_recorded or error"`
	Calls    int64    `json:"calls" jsonschema:"calls that the rule is about"`
	KFL      string   `json:"kfl,omitempty" jsonschema:"KFL that gives these calls"`
	Broken   []Broken `json:"broken" jsonschema:"what was not as expected, with the call"`
	More     int64    `json:"more,omitempty" jsonschema:"others that are not listed"`
	Measured []string `json:"measured,omitempty" jsonschema:"what was measured where the rule has a bound"`
	Line     int      `json:"line,omitempty" jsonschema:"of the rule in its file"`
}

// Broken is one place where a rule does not hold.
type Broken struct {
	Expected string    `json:"expected"`
	Got      string    `json:"got"`
	Call     *ask.Call `json:"call,omitempty"`
}

func (o *Outcome) fail(call *ask.Call, expected, format string, args ...any) {
	o.Status = Fail
	if len(o.Broken) >= maxListed {
		o.More++
		return
	}
	o.Broken = append(o.Broken, Broken{expected, plural.Sprintf(format, args...), call})
}

// Run holds the case to the rules, which may name the analyzers. A rule that cannot be asked is an outcome, not an error;
// errors are a context that ended, a case
// that cannot be read, and KFL that does not parse (*kfl.Error).
func Run(ctx context.Context, c *forensics.Case, rules *Rules, analyzers []finding.Analyzer) (*Report, error) {
	out := &Report{Results: []Outcome{}}
	var err error
	if out.Frame, err = ask.NewFrame(ctx, c); err != nil {
		return nil, err
	}
	_, out.last, _ = c.Window()
	for i := range rules.Rules {
		o, err := rules.run(ctx, c, &rules.Rules[i], analyzers)
		if err != nil {
			return nil, err
		}
		switch {
		case o.Status == Pass:
			out.Passed++
		case o.Level == levelWarning:
			out.Warned++
		default:
			out.Failed++
		}
		out.Results = append(out.Results, *o)
	}
	out.Matched = "some"
	return out, nil
}

// run asks one rule.
func (s *Rules) run(ctx context.Context, c *forensics.Case, r *Rule, analyzers []finding.Analyzer) (*Outcome, error) {
	o := &Outcome{Name: r.Name, Level: r.Level, Status: Pass, KFL: r.Calls, Line: r.line, Broken: []Broken{}}
	err := s.hold(ctx, c, r, o, analyzers)
	var damaged *bundle.DamagedError
	var syntax *kfl.Error
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &damaged), errors.Is(err, forensics.ErrDamaged): // no rule would be held to all there is
		return nil, err
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("rule %q in line %d: %w", r.Name, r.line, err)
	case err != nil:
		o.Status = Errored
		o.Broken = append(o.Broken[:0], Broken{Expected: "a rule that can be asked", Got: err.Error()})
	}
	return o, nil
}

// hold runs every expectation of a rule.
func (s *Rules) hold(ctx context.Context, c *forensics.Case, r *Rule, o *Outcome, analyzers []finding.Analyzer) error {
	q, err := newScope(ctx, c, r)
	if err != nil {
		return err
	}
	if o.Calls, err = q.count(ctx, ""); err != nil {
		return err
	}
	cov, err := c.Coverage(q.from, q.to)
	if err != nil {
		return err
	}
	if o.Calls == 0 && cov.State == forensics.None {
		o.Status = NotRecorded
		o.Broken = append(o.Broken, Broken{Expected: "a recording of that time", Got: "none"})
		return nil
	}
	least := int64(1)
	if r.MinCalls != nil {
		least = *r.MinCalls
	} else if r.Count != nil {
		least = 0
	}
	if o.Calls < least {
		o.fail(nil, plural.Sprintf("at least %d {call|calls}", least), "%d {call|calls}: the rule was not put to the test", o.Calls)
	}
	for _, e := range []func(context.Context, *scope, *Rule, *Outcome) error{
		s.counts, s.every, s.never, s.latency, s.errorRate, s.headers, s.bodies, s.openAPI, s.relations,
	} {
		if err := e(ctx, q, r, o); err != nil {
			return err
		}
	}
	return findings(ctx, q, r, o, analyzers)
}
