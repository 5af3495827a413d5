package finding

import (
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// search is what an answer without findings proves something about: what was looked for and in what.
type search struct {
	analyzers  int            // that there are
	kinds      map[string]int // of problems, by analyzer
	lacking    []string       // what nobody can look for in this case, and why
	left       []string       // what the question left out
	calls      int64          // in scope
	read       ask.Reading    // the connections in the window
	redactions []string       // values that were removed
}

// newSearch describes the search of a question.
func newSearch(ctx context.Context, in *In, l *Look, analyzers []Analyzer) (*search, error) {
	s := &search{analyzers: len(analyzers), kinds: map[string]int{}, left: in.leftOut(), redactions: l.Case.Redactions()}
	for _, a := range analyzers {
		lack, _, _ := strings.Cut(a.lacks(l.Case), ":")
		if lack != "" && a.Name != OfOthers {
			s.lacking = append(s.lacking, a.Title+" ("+lack+")")
		}
		if a.Name == OfOthers || lack != "" {
			s.analyzers--
		}
		s.kinds[a.Name] = max(1, len(a.Kinds))
	}
	counts, _, err := ask.Rows[struct {
		Calls int64 `json:"calls"`
	}](ctx, l.Case, 1, "SELECT count(*) AS calls FROM "+l.Calls+" WHERE "+l.Where, l.Args...)
	if err != nil {
		return nil, err
	}
	for _, n := range counts {
		s.calls = n.Calls
	}
	list, _, err := ask.Rows[ask.Reading](ctx, l.Case, 1, ask.ReadingSQL(l.Case, l.Flows()))
	for _, n := range list {
		s.read = n
	}
	return s, err
}

// leftOut lists what the input leaves out, besides analyzers.
func (in *In) leftOut() (list []string) {
	if in.KFL != "" {
		list = append(list, "calls that do not match the filter")
	}
	if in.Service != "" {
		list = append(list, "calls without "+ask.Clip(in.Service, 100)+" at one end")
	}
	if in.From != "" || in.To != "" {
		list = append(list, "other times")
	}
	if in.Severity != "" && in.Severity != Info {
		list = append(list, "findings below severity "+in.Severity)
	}
	return list
}

// setSearched says what was looked for, in how much traffic, and what could not be seen or was left out. "No finding" is
// written only here, because alone it would prove nothing.
func (o *Out) setSearched() {
	o.Searched = o.search.text(o)
	if own, _ := o.Own(); len(own.Findings) == 0 && o.Searched != "" {
		o.Searched = "No finding. " + o.Searched
	}
	o.Searched = strings.TrimSpace(o.Searched + " " + o.SaidSentence())
}

// Only returns the answer for some of the analyzers.
func (o *Out) Only(names []string) *Out {
	some := *o
	some.Findings = slices.DeleteFunc(slices.Clone(o.Findings), func(f Finding) bool { return !slices.Contains(names, f.Finding) })
	some.Summary = slices.DeleteFunc(slices.Clone(o.Summary), func(s Summary) bool { return !slices.Contains(names, s.Finding) })
	some.setSearched()
	return &some
}

func (s *search) text(o *Out) string {
	if o.Coverage.State == string(forensics.None) {
		return "Nothing was recorded in this time, so nothing could be found."
	}
	kinds, cut, asked := 0, int64(0), 0
	var idle []string
	for _, a := range o.Summary {
		if a.Finding == OfOthers { // it searches nothing
			continue
		}
		asked++
		kinds += s.kinds[a.Finding]
		if a.Lacks != "" {
			idle = append(idle, a.Lacks)
		}
		if a.Cut {
			cut++
		}
	}
	if asked == 0 && len(o.Summary) > 0 {
		return "" // nothing was looked for
	}
	all := plural.Count(int64(asked), "analyzer", "analyzers")
	parts := []string{"Looked for " + plural.Count(int64(kinds), "kind of attack, exposure or misuse", "kinds of attack, exposure and misuse") + " (" + all + ") in " +
		plural.Count(s.calls, "call", "calls") + " on " + plural.Count(s.read.Connections, "connection", "connections")}
	count := func(n int64, one, many string) {
		if n > 0 {
			parts = append(parts, plural.Count(n, one, many))
		}
	}
	count(int64(s.analyzers-asked), "other analyzer was not asked", "other analyzers were not asked")
	if len(s.lacking) > 0 {
		parts = append(parts, "Not looked for: "+strings.Join(s.lacking, ", "))
	}
	if len(s.left) > 0 {
		parts = append(parts, "Left out by choice: "+strings.Join(s.left, ", "))
	}
	if n := len(idle); n > 0 {
		slices.Sort(idle)
		parts = append(parts, plural.Thousands(int64(n))+" of "+all+" had nothing to examine: no "+strings.Join(slices.Compact(idle), ", no "))
	}
	count(cut, "analyzer did not finish, so there may be more", "analyzers did not finish, so there may be more")
	count(s.read.Sealed, "connection is encrypted and no key opens it: what it carried was not examined", "connections are encrypted and no key opens them: what they carried was not examined")
	count(s.read.Unknown, "connection has payload that no dissector read", "connections have payload that no dissector read")
	count(s.read.MissingFrom, "connection lacks bytes that were not captured", "connections lack bytes that were not captured")
	count(s.read.OneSided, "connection was captured in one direction only", "connections were captured in one direction only")
	for _, text := range s.redactions {
		parts = append(parts, strings.ToUpper(text[:1])+text[1:])
	}
	gaps := int64(len(o.Coverage.Holes)) + o.Coverage.More
	count(gaps, "coverage gap is known", "coverage gaps are known")
	quiet := int64(len(o.Coverage.Quiet))
	count(quiet, "long time has no packet: nothing was sent, or nothing was recorded", "long times have no packet: nothing was sent, or nothing was recorded")
	if s.read.Sealed+s.read.Unknown+s.read.MissingFrom+s.read.OneSided+gaps+quiet == 0 && len(s.redactions) == 0 && !o.Coverage.Unread {
		parts = append(parts, "No loss is known, and all of it could be read")
	}
	return strings.Join(parts, ". ") + "."
}
