// Package control judges controls of security and privacy frameworks by the traffic of a case.
//
// A framework is a data file: its controls, the findings that contradict each, and the conditions
// under which their absence means something. Evidence is for a part of a control only, and needs
// something that put this part to the test: that a recording exists is evidence for none. A
// window with losses, an unknown vantage or undecrypted traffic can contradict a control, but never
// show that something did not happen. Verdicts are material for an assessor, not a certificate.
package control

import (
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// Verdict is the judgment about a control.
type Verdict string

// The verdicts.
const (
	Evidence     Verdict = "evidence"     // for a part of the control
	Contradicted Verdict = "contradicted" // by at least one finding
	NotExamined  Verdict = "not_examined" // traffic could decide a part of it; here it does not
	Outside      Verdict = "outside_what_traffic_shows"
)

// In is the input of the question controls.
type In struct {
	ask.Scope
	Frameworks []string `json:"frameworks,omitempty" jsonschema:"only these: pci, hipaa, soc2, gdpr, iso27001, nist80053, fedramp, nis2, dora; default all"`
	Controls   []string `json:"controls,omitempty" jsonschema:"only these controls, such as pci/4.2.1"`
	Allow      []string `json:"allow,omitempty" jsonschema:"allowed outside destinations and pairs of namespaces, as in list_findings"`
	Accept     string   `json:"accept,omitempty" jsonschema:"accept list, as in list_findings; accepted exceptions are marked and still count"`
	Attest     bool     `json:"attest,omitempty" jsonschema:"you state that the capture points see all traffic in scope and lost nothing unreported; the answer repeats it"`
}

// Out is the answer of the question controls.
type Out struct {
	ask.Frame
	RuleSet    string      `json:"rule_set" jsonschema:"version of the mapping from controls to findings: its day and a hash"`
	Frameworks []Framework `json:"frameworks" jsonschema:"each framework with the number of its verdicts"`
	Basis      Basis       `json:"basis" jsonschema:"what the verdicts stand on; the window and its gaps are in coverage"`
	Controls   []Control   `json:"controls"`
	Accesses   []ask.Call  `json:"accesses" jsonschema:"accesses to the data of controls that require a list of them, by time"`
}

// Framework is a framework with the number of its verdicts.
type Framework struct {
	Framework    string `json:"framework" jsonschema:"as in the ids of its controls"`
	Name         string `json:"name"`
	Version      string `json:"version"`
	Source       string `json:"source"`
	Evidence     int    `json:"evidence"`
	Contradicted int    `json:"contradicted"`
	NotExamined  int    `json:"not_examined"`
	Outside      int    `json:"outside_what_traffic_shows"`
}

// Control is a control with its verdict.
type Control struct {
	Control    string      `json:"control" jsonschema:"framework and number, such as pci/4.2.1"`
	Title      string      `json:"title" jsonschema:"in our words, not those of the standard"`
	Baselines  []string    `json:"baselines,omitempty" jsonschema:"those that require it: low, moderate, high"`
	Verdict    Verdict     `json:"verdict" jsonschema:"evidence, contradicted, not_examined or outside_what_traffic_shows"`
	Part       string      `json:"part,omitempty" jsonschema:"the part of the control that traffic can decide"`
	Why        string      `json:"why" jsonschema:"the verdict in a sentence, with what was examined and the time"`
	Population Population  `json:"population" jsonschema:"what was examined"`
	Exceptions []Exception `json:"exceptions" jsonschema:"the worst findings that contradict it"`
	Total      int         `json:"exceptions_total" jsonschema:"number of such findings"`
	Limits     []string    `json:"limits,omitempty" jsonschema:"what the verdict does not cover"`
}

// Population is a number of things that were examined.
type Population struct {
	Count int64  `json:"count"`
	Of    string `json:"of"`
}

// Exception is a finding that contradicts a control.
type Exception struct {
	ID         string              `json:"id" jsonschema:"id of the finding in list_findings"`
	Severity   string              `json:"severity"`
	Confidence string              `json:"confidence"`
	What       string              `json:"what"`
	Count      int64               `json:"count"`
	First      string              `json:"first"`
	Last       string              `json:"last"`
	CallIDs    []string            `json:"call_ids"`
	FlowIDs    []string            `json:"flow_ids,omitempty"`
	Accepted   *finding.Acceptance `json:"accepted,omitempty"`
}

// maxExceptions is the highest number of exceptions that a control lists.
const maxExceptions = 10

// Run judges controls. Its errors are *ask.InputError, those of KFL, and those of the analyzers.
func Run(ctx context.Context, c *forensics.Case, analyzers []finding.Analyzer, in In) (*Out, error) {
	w, err := in.Scope.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(in.Frameworks, in.Controls)
	if err != nil {
		return nil, err
	}
	allow, err := finding.ParseAllow(in.Allow)
	if err != nil {
		return nil, err
	}
	out := &Out{RuleSet: rules().version, Controls: []Control{}, Accesses: []ask.Call{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	j := &judge{c: c, w: w, in: in, allow: allow, analyzers: analyzers, out: out, counts: map[string]int64{}}
	if err := j.find(ctx, chosen); err != nil {
		return nil, err
	}
	if err := j.readFacts(ctx); err != nil {
		return nil, err
	}
	for _, r := range chosen {
		one, err := j.control(ctx, r)
		if err != nil {
			return nil, err
		}
		out.Controls = append(out.Controls, *one)
	}
	out.Frameworks = tally(chosen, out.Controls)
	out.Matched = "some"
	if out.Coverage.State == string(forensics.None) {
		out.Matched = "not_recorded"
	}
	if !w.All && len(out.Controls) > w.Limit {
		out.Controls, out.Truncated = out.Controls[:w.Limit], true
	}
	return out, nil
}

// ids returns the names of all controls.
func ids() (list []string) {
	for _, r := range rules().controls {
		list = append(list, r.full)
	}
	return list
}

// choose returns the controls of frameworks, or those named.
func choose(frameworks, controls []string) ([]*requirement, error) {
	for _, f := range frameworks {
		if !slices.Contains(order, f) {
			return nil, ask.Wrong("frameworks", "unknown framework %q; %s", ask.Clip(f, 100), suggestion(f, order))
		}
	}
	for _, id := range controls {
		if known := ids(); !slices.Contains(known, id) {
			return nil, ask.Wrong("controls", "unknown control %q; %s", ask.Clip(id, 100), suggestion(id, known))
		}
	}
	var list []*requirement
	for _, r := range rules().controls {
		if (len(frameworks) == 0 || slices.Contains(frameworks, r.of.ID)) && (len(controls) == 0 || slices.Contains(controls, r.full)) {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return nil, ask.Wrong("controls", "none of these controls belongs to %s", strings.Join(frameworks, ", "))
	}
	return list, nil
}

// Check checks the names of frameworks and controls. Its error is an *ask.InputError.
func Check(frameworks, controls []string) error {
	_, err := choose(frameworks, controls)
	return err
}

// RuleSet is the version of the mapping from controls to findings: its day and a hash.
func RuleSet() string { return rules().version }

// suggestion suggests the most similar name, or where to find all, as the end of a sentence.
func suggestion(name string, among []string) string {
	if hint := nearest.Hint(name, among); hint != "" {
		return hint
	}
	if len(among) <= len(order) {
		return "use some of " + strings.Join(among, ", ")
	}
	return "an id is a framework and a number, such as pci/4.2.1; without controls the answer lists all of them"
}

// tally counts the verdicts of each framework.
func tally(chosen []*requirement, list []Control) (out []Framework) {
	for i, r := range chosen {
		if len(out) == 0 || out[len(out)-1].Framework != r.of.ID {
			out = append(out, Framework{Framework: r.of.ID, Name: r.of.Name, Version: r.of.Version, Source: r.of.Source})
		}
		f := &out[len(out)-1]
		switch list[i].Verdict {
		case Evidence:
			f.Evidence++
		case Contradicted:
			f.Contradicted++
		case NotExamined:
			f.NotExamined++
		default:
			f.Outside++
		}
	}
	return out
}

// Question is the question controls with these analyzers.
func Question(analyzers []finding.Analyzer) ask.Question {
	q := ask.New("controls", "Judge controls of PCI DSS, HIPAA, SOC 2, GDPR, ISO 27001, NIST 800-53, FedRAMP, NIS2, DORA",
		"For each control: evidence for a part, contradicted, not_examined or outside_what_traffic_shows, and why, with population, time, exceptions and limits. Also lists accesses to card data (pci/10.2.1.1).", false,
		func(ctx context.Context, c *forensics.Case, in In) (*Out, error) { return Run(ctx, c, analyzers, in) }).
		Allow("frameworks", order...).Allow("controls", ids()...)
	q.Sums = []string{"frameworks"}
	return q
}

// Sentence is the answer in one sentence.
func (o *Out) Sentence() string {
	of := map[Verdict]int{}
	for _, c := range o.Controls {
		of[c.Verdict]++
	}
	return plural.Sprintf("Of %d {control|controls}, the traffic contradicts %d and is evidence for a part of %d; %d not examined, %d outside what traffic shows.",
		len(o.Controls), of[Contradicted], of[Evidence], of[NotExamined], of[Outside])
}
