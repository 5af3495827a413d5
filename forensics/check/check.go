// Package check checks traffic against rules.
//
// Rules are a YAML file. Each rule selects calls by KFL and states what must be true of them. The
// outcome of a rule cites the calls that break it, so that a pipeline fails with evidence. A rule
// without matching calls fails unless it allows that: an empty recording proves nothing. Rules can
// read files only in their own folder, and have no network access.
package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/kfl"
)

// maxListed is the highest number of violations that an outcome lists.
const maxListed = 50

// Status is the result of a rule.
type Status string

// The statuses of a rule.
const (
	Pass        Status = "pass"
	Fail        Status = "fail"
	NotRecorded Status = "not_recorded" // the time of the rule was not recorded
	Errored     Status = "error"        // the rule could not be evaluated
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
	Calls    int64    `json:"calls" jsonschema:"calls that the rule selects"`
	KFL      string   `json:"kfl,omitempty" jsonschema:"KFL that selects these calls"`
	Broken   []Broken `json:"broken" jsonschema:"violations, with the call"`
	More     int64    `json:"more,omitempty" jsonschema:"violations that are not listed"`
	Measured []string `json:"measured,omitempty" jsonschema:"measured values, if the rule has a bound"`
	Line     int      `json:"line,omitempty" jsonschema:"line of the rule in its file"`

	ID         string   `json:"id,omitempty"`
	Severity   string   `json:"severity,omitempty" jsonschema:"what the rule says of a match"`
	Techniques []string `json:"techniques,omitempty" jsonschema:"of MITRE ATT&CK"`
	References []string `json:"references,omitempty"`
}

// meaning is what the rule says about a match, in a line; empty if it says nothing.
func (o *Outcome) meaning() string {
	var list []string
	if o.Severity != "" {
		list = append(list, "severity "+o.Severity)
	}
	list = append(list, o.Techniques...)
	return strings.Join(list, ", ")
}

// Title is the name of the rule with its severity and techniques.
func (o *Outcome) Title() string {
	if m := o.meaning(); m != "" {
		return o.Name + " [" + m + "]"
	}
	return o.Name
}

// Broken is one violation of a rule.
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

// Run checks the case against the rules, which may name the analyzers. A rule that cannot be
// evaluated is an outcome, not an error. Run returns an error if the context ends, the case cannot
// be read, or KFL does not parse (*kfl.Error).
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

// run evaluates one rule.
func (s *Rules) run(ctx context.Context, c *forensics.Case, r *Rule, analyzers []finding.Analyzer) (*Outcome, error) {
	o := &Outcome{Name: r.Name, Level: r.Level, Status: Pass, KFL: r.Calls, Line: r.line, Broken: []Broken{},
		ID: r.ID, Severity: r.Severity, Techniques: r.Techniques, References: r.References}
	err := s.evaluate(ctx, c, r, o, analyzers)
	var damaged *bundle.DamagedError
	var syntax *kfl.Error
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &damaged), errors.Is(err, forensics.ErrDamaged): // no rule could check all calls
		return nil, err
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("rule %q in line %d: %w", r.Name, r.line, err)
	case err != nil:
		o.Status = Errored
		o.Broken = append(o.Broken[:0], Broken{Expected: "a rule that can be evaluated", Got: err.Error()})
	}
	return o, nil
}

// evaluate checks every expectation of a rule.
func (s *Rules) evaluate(ctx context.Context, c *forensics.Case, r *Rule, o *Outcome, analyzers []finding.Analyzer) error {
	q, err := newScope(ctx, c, r)
	if err != nil {
		return err
	}
	if o.Calls, err = q.count(ctx); err != nil {
		return err
	}
	cov, err := c.Coverage(q.from, q.to)
	if err != nil {
		return err
	}
	if o.Calls == 0 && cov.State == forensics.None {
		o.Status = NotRecorded
		o.Broken = append(o.Broken, Broken{Expected: "a recording of this time", Got: "none"})
		return nil
	}
	least := int64(1)
	if r.MinCalls != nil {
		least = *r.MinCalls
	} else if r.Count != nil {
		least = 0
	}
	if o.Calls < least {
		o.fail(nil, plural.Sprintf("at least %d {call|calls}", least), "%d {call|calls}, so the rule was not tested", o.Calls)
		if o.Calls == 0 && r.Calls != "" {
			if why := c.Why(ctx, r.Calls, q.from, q.to); len(why) > 0 {
				o.Broken[len(o.Broken)-1].Got += ": " + strings.Join(why, "; ")
			}
		}
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

// Sentence is the answer in one sentence.
func (r *Report) Sentence() string {
	return plural.Sprintf("%d of %d {rule|rules} passed, %d failed; %d {warning|warnings}.", r.Passed, r.Passed+r.Failed+r.Warned, r.Failed, r.Warned)
}
