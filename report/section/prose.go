package section

import (
	"fmt"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// text is prose of the template.
func (b *builder) text(p *templates.Section) (value.Section, string) {
	return value.Section{Title: "Remarks", Text: p.Text}, ""
}

// method states scope, method, coverage and limits in auditors' words.
func (b *builder) method(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Scope, method and limits", Text: p.Text}
	add := func(id, format string, args ...any) {
		s.Statements = append(s.Statements, value.Statement{ID: id, Text: fmt.Sprintf(format, args...)})
	}
	scope := "all traffic in"
	if b.in.Basis.KFL != "" {
		scope = "the calls that match the filter " + value.Text(b.in.Basis.KFL) + " in"
	}
	window := "no packets"
	if b.any {
		window = fmt.Sprintf("the time from %s to %s", when.Stamp(b.first), when.Stamp(b.last))
	}
	add("scope", "Scope: %s %s; %s. Systems whose traffic did not pass the recorded interfaces are out of scope.", scope, plural.Count(int64(len(b.r.Bundles)), "bundle", "bundles"), window)
	population := plural.Sprintf("%d {call is|calls are} in scope, and {it was|all were} examined", b.calls)
	if b.calls == 0 {
		population = "no call was decoded in scope"
	}
	add("population", "Population: %s. Nothing was sampled unless a section states it.", population)
	add("method", "Method: the packets were decoded into calls, and the questions listed at the end were asked of them. Each statement cites the calls and packets behind it, and each query can be repeated with the same bundles and the same result.")
	add("coverage", "Coverage: %s A window with losses can support that something happened, never that it did not.", b.cov.NotRecorded())
	add("limits-owner", "Limits: an owner of an address (pod, process, service) is exact only if the recorder saw the socket; otherwise it follows from addresses and times. Personal data and credentials are recognized by their form.")
	add("limits-forge", "A person with root on a recorded node could have forged packets before they were recorded. Hashes, seals and the custody log show changes after that time, not before it.")
	if b.in.Basis.Mask != "" {
		add("masked", "Secrets in this report are masked by the policy with SHA-256 %s.", b.in.Basis.Mask)
	} else {
		add("masked", "Secrets in excerpts are masked; other text from the traffic is shown as recorded.")
	}
	return s, ""
}

// signOff has lines to be filled in by hand.
func (b *builder) signOff(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Sign-off", Text: p.Text, Sign: p.Sign}
	if len(s.Sign) == 0 {
		s.Sign = []string{"Prepared by", "Date", "Reviewed by", "Date", "Exceptions accepted by", "Date"}
	}
	return s, ""
}
