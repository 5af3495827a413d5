package control

import (
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// judge judges the controls of one question.
type judge struct {
	c         *forensics.Case
	w         *ask.Window
	in        In
	allow     finding.Allow
	analyzers []finding.Analyzer
	out       *Out

	found  []finding.Finding
	cut    []string // analyzers that ran out of time or memory
	more   bool     // there are more places with sensitive data than an analyzer lists
	facts  facts
	counts map[string]int64 // populations that were counted
}

// sensitive is the analyzer whose findings are accesses to data.
const sensitive = "sensitive-data"

// find runs the analyzers that the controls name.
func (j *judge) find(ctx context.Context, chosen []*requirement) error {
	var names []string
	every := false
	for _, r := range chosen {
		for _, s := range r.Exceptions {
			if s.Finding != sensitive && !slices.Contains(names, s.Finding) {
				names = append(names, s.Finding)
			}
		}
		every = every || r.Shows == access
	}
	reads := every || slices.ContainsFunc(chosen, func(r *requirement) bool {
		return slices.ContainsFunc(r.Exceptions, func(s selector) bool { return s.Finding == sensitive })
	})
	if len(names) > 0 {
		if err := j.run(ctx, names, false); err != nil {
			return err
		}
	}
	if reads {
		if err := j.run(ctx, []string{sensitive}, every); err != nil {
			return err
		}
	}
	slices.SortStableFunc(j.found, func(a, b finding.Finding) int { return finding.Rank(a.Severity) - finding.Rank(b.Severity) })
	return nil
}

// run runs analyzers. If every is true, their findings have all their calls.
func (j *judge) run(ctx context.Context, names []string, every bool) error {
	all := ask.Scope{From: j.in.From, To: j.in.To, KFL: j.in.KFL, All: true}
	out, err := finding.Run(ctx, j.c, j.analyzers, finding.In{Scope: all, Names: names, Allow: j.in.Allow, Accept: j.in.Accept, Every: every})
	if err != nil {
		return err
	}
	j.found = append(j.found, out.Findings...)
	j.more = j.more || every && out.Truncated
	for _, s := range out.Summary {
		if s.Cut {
			j.cut = append(j.cut, s.Finding)
		}
	}
	for _, n := range out.Notes {
		if !slices.Contains(j.out.Notes, n) {
			j.out.Notes = append(j.out.Notes, n)
		}
	}
	j.out.Truncated = j.out.Truncated || out.Truncated
	return nil
}

// control judges one control.
func (j *judge) control(ctx context.Context, r *requirement) (*Control, error) {
	one := &Control{Control: r.full, Title: r.Title, Verdict: CannotTell, Exceptions: []Exception{}, Limits: slices.Clone(r.Limits)}
	var err error
	if r.Shows == access {
		one.Population, err = j.accesses(ctx, r)
	} else {
		one.Population, err = j.population(ctx, r.Population)
	}
	if err != nil {
		return nil, err
	}
	certain := j.exceptions(r, one)
	if r.Shows == recording {
		one.Limits = append(one.Limits, j.facts.policies...)
	}
	if j.in.KFL != "" {
		one.Limits = append(one.Limits, "Only calls that match the KFL filter were examined.")
	}
	open := j.open(r)
	switch {
	case certain > 0:
		one.Verdict, one.Why = Contradicted, contradiction(one)
	case j.out.Coverage.State == string(forensics.None):
		one.Why = "nothing of this time was recorded"
	case r.Shows == material:
		one.Why = "traffic is only material for this control; see limits"
	case one.Total > 0:
		one.Why = plural.Sprintf("%d {finding is a guess|findings are guesses} that would contradict it, first: %s", one.Total, one.Exceptions[0].What)
	case one.Population.Count == 0:
		one.Why = "no " + populations[r.Population].one + " was recorded, so the control was not put to the test"
	case len(open) > 0:
		one.Why = j.negative(r, one) + ", but " + strings.Join(open, "; ")
	default:
		one.Verdict, one.Why = Supported, j.positive(r, one)
	}
	return one, nil
}

// exceptions adds the findings that contradict a control, and returns how many are not guesses.
func (j *judge) exceptions(r *requirement, one *Control) (certain int) {
	for i := range j.found {
		f := &j.found[i]
		if !slices.Contains(f.Controls, r.full) {
			continue
		}
		one.Total++
		if f.Confidence != finding.Guess {
			certain++
		}
		if len(one.Exceptions) < maxExceptions {
			one.Exceptions = append(one.Exceptions, Exception{ID: f.ID, Severity: f.Severity, Confidence: f.Confidence, What: f.What, Count: f.Count,
				First: f.First, Last: f.Last, CallIDs: f.CallIDs[:min(3, len(f.CallIDs))], FlowIDs: f.FlowIDs, FlowIn: f.FlowIn, Accepted: f.Accepted})
		}
	}
	return certain
}

// contradiction is the sentence of a contradicted control.
func contradiction(one *Control) string {
	text := plural.Sprintf("%d {finding contradicts|findings contradict} it, first: %s", one.Total, one.Exceptions[0].What)
	accepted := int64(0)
	for _, e := range one.Exceptions {
		if e.Accepted.Valid() {
			accepted++
		}
	}
	if accepted > 0 {
		text += plural.Sprintf(" (%d of the listed {is|are} accepted)", accepted)
	}
	return text
}

// negative says that no exception was seen.
func (j *judge) negative(r *requirement, one *Control) string {
	switch {
	case slices.Contains(r.Needs, "clocks"):
		return "no clock is known to be wrong"
	case r.Shows == record:
		return "no loss is reported"
	case r.Shows == access:
		return plural.Sprintf("%d {access was|accesses were} seen", one.Population.Count)
	}
	return "no exception was seen among " + plural.Thousands(one.Population.Count) + " " + one.Population.Of
}

// positive is the sentence of a supported control.
func (j *judge) positive(r *requirement, one *Control) string {
	n := plural.Thousands(one.Population.Count) + " " + one.Population.Of
	switch {
	case slices.Contains(r.Needs, "clocks"):
		return "the clocks of all " + n + " were synchronized whenever they were read"
	case r.Shows == record:
		return "the whole window was recorded at every place in scope, and no loss is reported (" + n + ")"
	case r.Shows == recording:
		return "none of " + n + " carries such data, and everything in the recording could be read. " + strings.TrimSuffix(strings.Join(j.facts.policies, " "), ".")
	case r.Shows == access:
		return "all " + n + " in the window are listed, with client, time and packets; the whole window was recorded and read"
	}
	return "none of " + n + " is an exception; the whole window was recorded at every place in scope, and all that decides this control could be read"
}

// open lists what prevents a statement that nothing else happened.
func (j *judge) open(r *requirement) (out []string) {
	if len(j.cut) > 0 {
		out = append(out, "these analyzers ran out of time: "+strings.Join(j.cut, ", "))
	}
	if len(r.Exceptions) > 0 || r.Shows == access { // findings and accesses are found by values
		out = append(out, j.c.Redactions()...)
	}
	if r.Shows == access && j.more {
		out = append(out, "there are more places with such data than can be listed")
	}
	want := r.Needs
	if r.Shows != recording && !slices.Contains(want, "clocks") { // those do not depend on what was lost
		want = append([]string{"whole", "vantage"}, want...)
	}
	for _, n := range want {
		for _, why := range j.reasons(n) {
			if !slices.Contains(out, why) {
				out = append(out, why)
			}
		}
	}
	return out
}
