package control

import (
	"context"
	"slices"
	"strings"
	"time"

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

// Analyzers whose findings are populations of controls.
const (
	sensitive   = "sensitive-data" // accesses to data
	adminAccess = "admin-access"   // administrative accesses
)

// find runs the analyzers that the controls name.
func (j *judge) find(ctx context.Context, chosen []*requirement) error {
	var names []string
	every := false
	for _, r := range chosen {
		if r.Population == administrative && !slices.Contains(names, adminAccess) {
			names = append(names, adminAccess)
		}
		for _, s := range r.Exceptions {
			if s.Finding != sensitive && !slices.Contains(names, s.Finding) {
				names = append(names, s.Finding)
			}
		}
		every = every || r.Shows == access || r.Population == data
	}
	reads := every || slices.ContainsFunc(chosen, func(r *requirement) bool {
		return r.Population == data || slices.ContainsFunc(r.Exceptions, func(s selector) bool { return s.Finding == sensitive })
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
	one := &Control{Control: r.full, Title: r.Title, Baselines: r.Baselines, Part: r.Part, Verdict: NotExamined, Exceptions: []Exception{}, Limits: slices.Clone(r.Limits)}
	var err error
	switch {
	case r.Shows == access:
		one.Population, err = j.accesses(ctx, r)
	case r.Population == data:
		one.Population = j.carriers(r)
	case r.Population == administrative:
		one.Population = j.administrative()
	default:
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
	examined := plural.Thousands(one.Population.Count) + " " + one.Population.Of + " " + j.span()
	switch {
	case r.Shows == outside:
		one.Verdict, one.Why = Outside, "traffic does not show whether the control is met; limits say what helps to judge it (recorded: "+examined+")"
	case certain > 0:
		one.Verdict, one.Why = Contradicted, contradiction(one)+"; examined: "+examined
	case j.out.Coverage.State == string(forensics.None):
		one.Why = "nothing was recorded " + j.span()
	case one.Total > 0:
		one.Why = plural.Sprintf("%d {finding is a guess|findings are guesses} that would contradict it, first: %s; examined: %s", one.Total, one.Exceptions[0].What, examined)
	case one.Population.Count == 0:
		one.Why = "no " + populations[r.Population].one + " was recorded " + j.span() + ", so the control was not put to the test"
	case len(open) > 0:
		one.Why = j.negative(r, one) + " " + j.span() + ", but " + strings.Join(open, "; ")
	default:
		one.Verdict, one.Why = Evidence, j.positive(r, examined)+"; evidence for: "+r.Part
	}
	return one, nil
}

// span is the time that was examined, for the middle of a sentence.
func (j *judge) span() string {
	from, to := time.Unix(0, j.w.From).UTC(), time.Unix(0, j.w.To).UTC()
	return "from " + from.Format(time.RFC3339) + " to " + to.Format(time.RFC3339) + " (" + plural.Digits(float64(j.w.To-j.w.From)/1e9, 3) + " s)"
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
				First: f.First, Last: f.Last, CallIDs: f.CallIDs[:min(3, len(f.CallIDs))], FlowIDs: f.FlowIDs, Accepted: f.Accepted})
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
	case r.Population == "clocks":
		return "no clock is known to be wrong"
	case r.Shows == access:
		return plural.Sprintf("%d {access was|accesses were} seen", one.Population.Count)
	}
	return "no exception was seen among " + plural.Thousands(one.Population.Count) + " " + one.Population.Of
}

// positive says what was examined and found as required.
func (j *judge) positive(r *requirement, examined string) string {
	switch {
	case r.Population == "clocks":
		return "the clocks of all " + examined + " were synchronized whenever they were read"
	case r.Shows == recording:
		return "none of " + examined + " carries such data (" + j.sought(r) + "), and everything in the recording could be read. " + strings.TrimSuffix(strings.Join(j.facts.policies, " "), ".")
	case r.Shows == access:
		return "all " + examined + " are listed, with client, time and packets; the whole window was recorded and read"
	}
	return "none of " + examined + " is an exception (" + j.sought(r) + "); the whole window was recorded at every place in scope, and all that decides this could be read"
}

// sought names what would have been an exception.
func (j *judge) sought(r *requirement) string {
	var list []string
	for _, s := range r.Exceptions {
		i := slices.IndexFunc(j.analyzers, func(a finding.Analyzer) bool { return a.Name == s.Finding })
		text := j.analyzers[i].Title
		if len(s.Kinds) > 0 {
			text += " of the kinds " + strings.Join(s.Kinds, ", ")
		}
		if s.Least != "" {
			text += ", " + s.Least + " or worse"
		}
		list = append(list, text)
	}
	return "sought: " + strings.Join(list, "; ")
}

// open lists what prevents a statement that nothing else happened.
func (j *judge) open(r *requirement) (out []string) {
	if len(j.cut) > 0 {
		out = append(out, "these analyzers ran out of time: "+strings.Join(j.cut, ", "))
	}
	if len(r.Exceptions) > 0 || r.Shows == access { // findings and accesses are found by values
		out = append(out, j.c.Redactions()...)
	}
	if (r.Shows == access || r.Population == data) && j.more {
		out = append(out, "there are more places with such data than can be listed")
	}
	want := r.Needs
	if r.Shows != recording && r.Population != "clocks" { // those do not depend on what was lost
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
