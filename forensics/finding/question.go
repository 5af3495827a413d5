package finding

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// In is the input of list_findings.
type In struct {
	ask.Scope
	Names    []string `json:"names,omitempty" jsonschema:"only these analyzers; default all"`
	Severity string   `json:"severity,omitempty" jsonschema:"lowest severity"`
	Service  string   `json:"service,omitempty" jsonschema:"only findings with this service, workload, pod or host at one end"`
	Allow    []string `json:"allow,omitempty" jsonschema:"allowed outside addresses, prefixes and domains (*.example.org), and pairs of namespaces (shop->payments, *->monitoring, outside->shop); the analyzers egress and segmentation report all others"`
	Accept   string   `json:"accept,omitempty" jsonschema:"accept list as YAML: version: 1, accepted: [{finding: id, reason: text, by: name, until: 2026-12-31}]. These findings are marked, not hidden"`

	Whole bool `json:"-"` // an analyzer that does not finish is an error, not a note
	Every bool `json:"-"` // findings have all their calls, not only the first ones

	Thorough bool `json:"-"` // every step of the analyzers runs, whether or not its needs hold
}

// Out is the answer of list_findings.
type Out struct {
	ask.Frame
	Summary  []Summary `json:"summary" jsonschema:"each analyzer with the number of its findings"`
	Findings []Finding `json:"findings" jsonschema:"worst first"`
	Searched string    `json:"searched" jsonschema:"what was looked for, in how much traffic, and what could not be seen"`

	search *search
}

// Summary is the result of one analyzer.
type Summary struct {
	Finding string `json:"finding"`
	Title   string `json:"title"`
	Found   int    `json:"found"`
	Worst   string `json:"worst,omitempty"`
	Lacks   string `json:"nothing_to_examine,omitempty" jsonschema:"what it examines, of which there is nothing in scope: that it found nothing proves nothing"`
	Cut     bool   `json:"cut,omitempty" jsonschema:"it ran out of time or memory, so there may be more"`
}

// Run runs analyzers.
func Run(ctx context.Context, c *forensics.Case, analyzers []Analyzer, in In) (*Out, error) {
	asked, err := in.Scope.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	allow, err := ParseAllow(in.Allow)
	if err != nil {
		return nil, err
	}
	accepted, err := ParseAccept([]byte(in.Accept))
	if err != nil {
		return nil, err
	}
	worst := len(severities) - 1
	if in.Severity != "" {
		worst = Rank(in.Severity)
	}
	for _, n := range in.Names {
		if !slices.ContainsFunc(analyzers, func(a Analyzer) bool { return a.Name == n }) {
			return nil, ask.Wrong("names", "unknown analyzer %q; %s", ask.Clip(n, 60), suggestion(n, names(analyzers)))
		}
	}
	where, args := asked.Where, asked.Args
	calls := "calls_raw"
	if in.Service != "" || in.KFL != "" {
		calls = "calls"
	}
	if in.Service != "" {
		cond, more := terms.Either(c, in.Service)
		where, args = where+" AND ("+cond+")", append(args, more...)
	}
	var looks []*Look
	var wanted []Analyzer
	for _, a := range analyzers {
		if len(in.Names) == 0 || slices.Contains(in.Names, a.Name) {
			if lack := a.lacks(c); lack != "" && len(in.Names) > 0 {
				return nil, ask.Wrong("names", "%s cannot run: %s", a.Name, lack)
			} else if lack != "" {
				continue
			}
			looks = append(looks, &Look{Case: c, From: asked.From, To: asked.To, Calls: calls, Where: where, Args: args, Allow: allow, kfl: in.KFL, name: a.Name, of: a, all: in.Every, thorough: in.Thorough})
			wanted = append(wanted, a)
		}
	}
	if len(looks) > 0 {
		there := surveyOf(ctx, *looks[0], wanted)
		for _, l := range looks {
			l.there = there
		}
	}
	if err := findAll(ctx, looks, in.Whole); err != nil {
		return nil, err
	}
	out := &Out{Summary: []Summary{}, Findings: []Finding{}}
	if out.Frame, err = asked.Frame(ctx, c); err != nil {
		return nil, err
	}
	out.gather(looks, func(f Finding) bool {
		return Rank(f.Severity) <= worst && (in.Service == "" || concerns(f, in.Service))
	})
	slices.SortStableFunc(out.Findings, func(a, b Finding) int {
		return Rank(a.Severity) - Rank(b.Severity)
	})
	if len(looks) > 0 {
		if out.search, err = newSearch(ctx, &in, looks[0], analyzers); err != nil {
			return nil, err
		}
		out.setSearched()
	}
	accepted.mark(out, in.narrowed())
	if len(out.Findings) > asked.Limit {
		out.Findings, out.Truncated = out.Findings[:asked.Limit], true
	}
	out.Match(len(out.Findings))
	return out, nil
}

// gather adds what the analyzers found and what they had nothing to examine of.
func (o *Out) gather(looks []*Look, keep func(Finding) bool) {
	for _, l := range looks {
		kept := slices.DeleteFunc(l.found, func(f Finding) bool { return !keep(f) })
		s := Summary{Finding: l.name, Title: l.of.Title, Found: len(kept), Cut: l.cut}
		if len(kept) == 0 && !l.there.any(l.of.Basis.Is) {
			s.Lacks = l.of.Basis.What
		}
		for _, f := range kept {
			if s.Worst == "" || Rank(f.Severity) < Rank(s.Worst) {
				s.Worst = f.Severity
			}
		}
		o.Summary = append(o.Summary, s)
		o.Findings = append(o.Findings, kept...)
		o.Notes = append(o.Notes, l.notes...)
		o.Truncated = o.Truncated || l.more || l.cut
	}
}

// concerns reports whether a finding has a service at one end or between them. The scope of calls does not limit
// findings about flows.
func concerns(f Finding, service string) bool {
	_, name, ok := strings.Cut(service, "/")
	if !ok {
		name = service
	}
	name = strings.Trim(name, "*?")
	return len(f.CallIDs) > 0 || strings.Contains(f.Src, name) || strings.Contains(f.Dst, name) || strings.Contains(f.Via, name)
}

// narrowed reports whether the input leaves out findings of the window.
func (in *In) narrowed() bool {
	return len(in.Names) > 0 || in.Severity != "" || in.Service != "" || in.KFL != ""
}

func names(list []Analyzer) (out []string) {
	for _, a := range list {
		out = append(out, a.Name)
	}
	return out
}

// suggestion suggests the most similar name, or all of them, as the end of a sentence.
func suggestion(name string, all []string) string {
	return cmp.Or(nearest.Hint(name, all), "use some of "+strings.Join(all, ", "))
}

// Question is the question list_findings with these analyzers.
func Question(analyzers []Analyzer) ask.Question {
	q := ask.New("list_findings", "Findings: security, secrets, certificates, egress, beacons",
		"Run the analyzers: missing authentication, forwarded tokens, weak TLS, certificates, plaintext credentials, personal data and secrets with masked evidence, deprecated protocols, administrative access, connections that network policies refuse, egress and segmentation against an allow-list, beacons, DNS tunnels and failures, unusual destinations and volumes, coverage gaps.", true,
		func(ctx context.Context, c *forensics.Case, in In) (*Out, error) { return Run(ctx, c, analyzers, in) }).
		Allow("severity", severities...).Allow("names", names(analyzers)...)
	q.Sums, q.Long = []string{"summary"}, true
	return q
}

// Sentence is the answer in one sentence.
func (o *Out) Sentence() string {
	total := 0
	for _, s := range o.Summary {
		if s.Finding != OfOthers {
			total += s.Found
		}
	}
	s := plural.Sprintf("%d {finding|findings}", total)
	if said := o.SaidSentence(); said != "" && len(o.Summary) == 1 {
		return said // nothing else was asked for
	}
	if own, _ := o.Own(); len(own.Findings) > 0 {
		s += fmt.Sprintf("; the worst is %s: %s", own.Findings[0].Severity, own.Findings[0].What)
	}
	return strings.TrimSpace(strings.TrimSuffix(s, ".") + ". " + o.SaidSentence())
}
