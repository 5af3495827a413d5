// Package section makes the sections of a report from the answers of questions.
//
// Every figure comes from an answer of forensics/ask, in the window and with the filter of the
// report. A section never runs SQL of its own. A kind of section is a method in its own file and
// one line in kinds.
package section

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// Input is the input of a report.
type Input struct {
	Case      *forensics.Case
	Questions []ask.Question
	Template  *templates.Template
	Basis     value.Basis
	Checks    []*bundle.Report // results of verifications, one per bundle; nil: use the state in the case

	// Recheck asks a second tool about calls, if the basis has no observation yet; nil for none.
	Recheck func(ctx context.Context, ids []string) (*value.Recheck, error)
}

// kind is one kind of section. If a section is empty, make returns a text about the unsuccessful
// search; if another section has that text, it returns neither.
type kind struct {
	name   string
	params []string
	make   func(b *builder, p *templates.Section) (s value.Section, absent string)
}

// kinds lists the kinds of sections.
func kinds() []kind {
	return []kind{
		{"accounts", nil, (*builder).accounts},
		{"blast-radius", []string{"limit"}, (*builder).blast},
		{"causes", []string{"limit"}, (*builder).causes},
		{"chain", nil, (*builder).chain},
		{"changes", []string{"limit"}, (*builder).changes},
		{"controls", []string{"frameworks"}, (*builder).controls},
		{"coverage", nil, (*builder).coverage},
		{"dns", nil, (*builder).dns},
		{"failures", []string{"limit"}, (*builder).failing},
		{"findings", []string{"analyzers", "limit"}, (*builder).findings},
		{"heat", nil, (*builder).heat},
		{"kubernetes", nil, (*builder).kubernetes},
		{"latency", nil, (*builder).latencies},
		{"losses", nil, (*builder).losses},
		{"made", nil, (*builder).made},
		{"method", []string{"text"}, (*builder).method},
		{"protocols", nil, (*builder).protocols},
		{"question", []string{"ask", "in", "list", "columns", "empty", "limit", "every", "kfl", "text", "bars"}, (*builder).question},
		{"services", nil, (*builder).services},
		{"sign-off", []string{"text", "sign"}, (*builder).signOff},
		{"slow", []string{"limit"}, (*builder).slow},
		{"sources", nil, (*builder).sources},
		{"talkers", nil, (*builder).talkers},
		{"tcp", nil, (*builder).tcp},
		{"text", []string{"text"}, (*builder).text},
		{"timeline", []string{"limit"}, (*builder).timeline},
		{"tls", nil, (*builder).tls},
		{"traffic", nil, (*builder).traffic},
		{"validation", nil, (*builder).validation},
	}
}

// Known lists the names that a template may use, from the questions, analyzers and frameworks.
func Known(questions []ask.Question, analyzers, frameworks []string) templates.Known {
	k := templates.Known{Kinds: templates.Kinds{}, Questions: map[string]templates.Question{}, Analyzers: analyzers, Frameworks: frameworks}
	for _, x := range kinds() {
		k.Kinds[x.name] = x.params
	}
	for _, q := range questions {
		k.Questions[q.Name] = fieldsOf(q)
	}
	return k
}

// builder makes a report. After an error it runs no more questions.
type builder struct {
	ctx   context.Context
	c     *forensics.Case
	in    Input
	r     *value.Report
	err   error
	paths string   // the bundles as arguments of a command
	words []string // the same, one by one
	flags string   // the window and the filter as flags of a command

	w           *ask.Window
	cov         Coverage
	several     bool // the case has several bundles
	first, last int64
	any         bool   // the window has packets
	authored    bool   // the template is not one of the program
	whole       bool   // neither window nor filter
	namespace   string // namespace of most endpoints, which names omit

	calls, failed int64
	accts         bundle.Accounts
	cites         []*value.Citation // citations that resolve completes
	fails         *failures         // cached answer
	failsQuery    []int
	found         *finding.Out // cached answer
	foundQuery    []int
	incident      *happened        // that the first page is about
	worst         *finding.Finding // of the first page
	numbers       map[value.Query]int
	answers       map[string]*asked // by question and input
}

// Build makes a report.
func Build(ctx context.Context, in Input) (*value.Report, error) {
	t, own := authored(in.Template)
	if in.Case.Indicators() != nil {
		if t = withAnalyzer(t, listed); t == nil {
			return nil, ask.Wrong("indicators", "the template %s has no section findings, which shows what matches", in.Basis.Name)
		}
	}
	if in.Case.Alerts() > 0 {
		t = cmp.Or(withAnalyzer(t, finding.OfOthers), t)
	}
	in.Template = t
	b := &builder{ctx: ask.Remember(ctx, in.Case), c: in.Case, in: in, authored: own, numbers: map[value.Query]int{}, answers: map[string]*asked{}}
	b.r = &value.Report{Schema: value.Schema, Kind: t.Title, About: t.About, Basis: in.Basis, Facts: []value.Number{}, Findings: []value.Finding{}, Sections: []value.Section{}, Queries: []value.Query{}}
	b.bundles()
	if b.err = b.window(); b.err != nil {
		return nil, b.err
	}
	b.namespaces()
	b.totals()
	b.front()
	b.glance()
	for i := range t.Sections {
		if b.err != nil {
			break
		}
		b.section(&t.Sections[i])
	}
	b.places()
	b.recheck()
	b.appendix()
	b.resolve()
	b.tolerate("packets of citations")
	if b.err != nil {
		return nil, fmt.Errorf("building report: %w", b.err)
	}
	return b.r, nil
}

// section adds one section.
func (b *builder) section(p *templates.Section) {
	list := kinds()
	k := list[slices.IndexFunc(list, func(k kind) bool { return k.name == p.Kind })] // the template was checked
	s, absent := k.make(b, p)
	title := cmp.Or(p.Title, s.Title)
	switch {
	case b.tolerate(cmp.Or(title, p.ID)):
	case absent != "":
		if !slices.Contains(b.r.Absent, absent) {
			b.r.Absent = append(b.r.Absent, absent)
		}
	case s.Title != "" || title != "":
		s.ID, s.Title = p.ID, title
		for i := range s.Statements {
			s.Statements[i].Text = oneStop(s.Statements[i].Text)
		}
		b.r.Sections = append(b.r.Sections, s)
	}
}

// tolerate records that a part needs more memory than the case may use: it must not prevent the rest of
// the report.
func (b *builder) tolerate(name string) bool {
	if !errors.Is(b.err, forensics.ErrMemory) {
		return false
	}
	b.r.Unmade, b.err = append(b.r.Unmade, name), nil
	return true
}

// bundles lists the open bundles.
func (b *builder) bundles() {
	list := b.c.Bundles()
	b.several = len(list) > 1
	var names []string
	for i, info := range list {
		name := b.in.Basis.Bundles[i].Name
		b.words = append(b.words, value.ShellQuote(value.Clean(name, value.MaxText)))
		names = append(names, value.Clean(strings.TrimSuffix(strings.TrimSuffix(name, ".zip"), ".pcapsule"), value.MaxText))
		out := value.Bundle{Name: value.Clean(name, value.MaxText)}
		out.Verified, out.Detail = b.verified(i, info)
		b.r.Bundles = append(b.r.Bundles, out)
	}
	b.paths = strings.Join(b.words, " ")
	b.r.Title = value.Clean(b.in.Basis.Title, value.MaxText)
	if b.r.Title == "" {
		if len(names) > 4 {
			names = append(names[:3], plural.Count(int64(len(names)-3), "more bundle", "more bundles"))
		}
		b.r.Title = value.And(names)
	}
}

// Name is the name of a bundle without its folders.
func Name(info forensics.BundleInfo) string {
	name := filepath.Base(filepath.Clean(info.Path))
	if name == "." || name == string(filepath.Separator) {
		name = filepath.Base(info.Dir)
	}
	return name
}

func (b *builder) verified(i int, info forensics.BundleInfo) (state, detail string) {
	if i < len(b.in.Checks) && b.in.Checks[i] != nil {
		check := b.in.Checks[i]
		if check.OK() {
			return "verified", fmt.Sprintf("all %s (%s) were hashed for this report and match the manifest; tagmanifest SHA-256 %s",
				plural.Count(check.Files, "file", "files"), value.Bytes(check.Bytes), check.TagManifest)
		}
		return "broken", fmt.Sprintf("its files do not match its manifest: %s", value.Clean(check.Err().Error(), value.MaxText))
	}
	switch info.State {
	case bundle.Verified:
		return "verified", "its files match the manifest"
	case bundle.Broken:
		return "broken", "its files do not match its manifest"
	}
	return "not verified", "its files were not hashed for this report; run pcapsule verify"
}

// window reads the window and the filter of the report.
func (b *builder) window() error {
	basis := b.in.Basis
	w, err := ask.Scope{From: basis.From, To: basis.To, KFL: basis.KFL}.Read(b.ctx, b.c)
	if err != nil {
		return err
	}
	b.w, b.first, b.last, b.whole = w, w.From, w.To, !w.Asked && !w.Narrowed
	_, _, b.any = b.c.Window()
	if b.any {
		b.r.From, b.r.To = when.Stamp(b.first), when.Stamp(b.last)
	}
	for _, f := range [][2]string{{"from", basis.From}, {"to", basis.To}, {"kfl", basis.KFL}} {
		if f[1] != "" {
			b.flags += " --" + f[0] + " " + value.ShellQuote(f[1])
		}
	}
	return nil
}

// namespaces finds the namespace of most endpoints, which names omit.
func (b *builder) namespaces() {
	if t := tallied(b, tally.Namespaces); len(t.Rows) == 1 {
		b.namespace = t.Rows[0].Name
	}
}

// nodeName is the display name of a node.
func (b *builder) nodeName(s string) string {
	if b.namespace != "" {
		s = strings.TrimPrefix(s, b.namespace+"/")
	}
	return value.Clean(s, 60)
}

// nodeNames are the display names of nodes, without repetitions.
func (b *builder) nodeNames(list []string) []string {
	var out []string
	for _, s := range list {
		if n := b.nodeName(s); n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// totals counts the totals for shares in the report.
func (b *builder) totals() {
	for _, info := range b.c.Bundles() {
		a := info.Manifest.Accounts
		t := &b.accts
		t.Packets += a.Packets
		t.Bytes += a.Bytes
		t.PayloadBytes += a.PayloadBytes
		t.CutBytes += a.CutBytes
		t.RowBytes += a.RowBytes
		t.GapBytes += a.GapBytes
		t.AnomalyBytes += a.AnomalyBytes
		t.DuplicateBytes += a.DuplicateBytes
	}
	if b.has("calls") {
		for _, n := range tallied(b, tally.Calls).Rows {
			b.calls, b.failed = n.Calls, n.Failed
		}
	}
	b.readCoverage()
	b.r.Blank = b.cov.State == forensics.None && b.any
}

// has reports whether the manifests list rows of a table.
func (b *builder) has(name string) bool {
	for _, info := range b.c.Bundles() {
		for _, t := range info.Manifest.Tables {
			if t.Name == name && t.Rows > 0 {
				return true
			}
		}
	}
	return false
}

// moment writes a time of an answer.
func (b *builder) moment(s string) string {
	if s == "" {
		return ""
	}
	return value.Clock(nanos(s), b.first, b.last)
}

// nanos parses a time of an answer.
func nanos(s string) int64 {
	t, _ := time.Parse(time.RFC3339Nano, s) // answers use no other format
	return t.UnixNano()
}
