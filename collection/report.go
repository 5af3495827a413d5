package collection

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// Kinds of reports about collections, by the name of their basis.
const (
	FullReport  = "collection"
	BoardReport = "collection-board"
	SampleBook  = "collection-sample"
)

const (
	mostHead  = 8   // bundles in the head of a report
	mostDays  = 92  // of the heat map
	mostBoard = 4   // exceptions, and sub-periods, on the page for the board
	mostWhy   = 600 // characters of the reason of a verdict
	mostCell  = 110 // characters of a text on the page for the board
)

// writer makes a report.
type writer struct {
	s *State
	r *value.Report
	q []int // the query behind everything

	board bool // one page
}

// Report makes the report of a collection: of all that is known, or for a board. release is that of the program.
func (s *State) Report(name, release string) *value.Report {
	w := &writer{s: s, q: []int{1}, board: name == BoardReport}
	if w.board {
		w.q = nil
	}
	at := fmt.Sprintf("pcapsule collection status %s --at %s --json", value.ShellQuote(value.Text(s.fileName())), s.At)
	w.r = &value.Report{Schema: value.Schema, Title: value.Text(s.Title), Kind: "Evidence over a period", Statements: []value.Statement{}, Findings: []value.Finding{}, Sections: []value.Section{}, Queries: []value.Query{{Command: at}},
		From: bundle.Time(s.file.From.UnixNano()).String(), To: bundle.Time(s.file.To.UnixNano() - 1).String(),
		Basis: value.Basis{Name: name, Template: string(s.file.Text), Title: s.fileName(), Release: value.Text(release), Attest: s.file.Attest,
			Collection: &value.Collection{At: s.At, Entries: s.Entries, LogHead: s.LogHead}}}
	w.bundles()
	w.facts()
	w.front()
	for _, e := range s.Exceptions {
		f := value.Finding{ID: value.Text(e.ID), Severity: value.Text(e.Severity), What: value.Clean(e.What, 2*value.MaxText)}
		if e.Accepted != nil && e.Accepted.State == InForce {
			f.Accepted = value.Clean(e.Accepted.Reason, 2*value.MaxText)
		}
		w.r.Findings = append(w.r.Findings, f)
	}
	if w.board {
		w.r.Kind = "Evidence over a period, for the board"
		w.section("parts", "Controls and exceptions", w.verdictCounts(), w.exceptions())
		w.signs()
		w.r.Facts, w.r.Queries = slices.DeleteFunc(w.r.Facts, func(n value.Number) bool { return n.Label == "exceptions" }), []value.Query{}
		return w.r
	}
	w.section("calendar", "Coverage", w.heat(), w.calendar(), w.gaps())
	w.section("population", "Population", w.population())
	w.section("bundles", "Bundles", w.bundleTable())
	w.section("controls", "Controls", w.verdictCounts(), w.changes(), w.verdicts())
	w.section("exceptions", "Exceptions", w.exceptions(), w.acceptances())
	w.section("samples", "Samples", w.draws())
	w.method()
	w.signs()
	return w.r
}

func (s *State) fileName() string {
	at := strings.LastIndexAny(s.file.Path, `/\`)
	return s.file.Path[at+1:]
}

// section adds a section with those blocks that have something.
func (w *writer) section(id, title string, blocks ...value.Block) {
	s := value.Section{ID: id, Title: title}
	for _, b := range blocks {
		if b.Figure != nil || b.Table != nil && len(b.Table.Rows) > 0 {
			s.Blocks = append(s.Blocks, b)
		}
	}
	if id == "controls" {
		s.Text = []string{"Verdicts are those of pcapsule ask controls, for each sub-period: material for an assessor, not a certificate. Evidence is for a part of a control, and only if nothing of the sub-period is missing. Outside: no recording can decide the control."}
	}
	if len(s.Blocks) == 0 {
		return
	}
	w.r.Sections = append(w.r.Sections, s)
}

func (w *writer) table(id, title, note string, columns ...value.Column) *value.Table {
	return &value.Table{ID: id, Title: title, Note: note, Queries: w.q, Columns: columns, Rows: []value.Row{}}
}

// bundles identifies the bundles.
func (w *writer) bundles() {
	var broken int64
	for _, b := range w.s.Bundles {
		if b.Fingerprint != "" {
			w.r.Basis.Bundles = append(w.r.Basis.Bundles, value.Source{Name: value.Text(b.Name), TagManifest: b.Fingerprint, Checked: b.Summary != nil})
		}
		x := value.Bundle{Name: value.Text(b.Name), Verified: "verified", Detail: value.Clean(b.Words(), 2*value.MaxText)}
		if b.Problem != "" {
			x.Verified = "broken"
			broken++
		}
		w.r.Bundles = append(w.r.Bundles, x)
	}
	if n := int64(len(w.r.Bundles)); n > mostHead || w.board {
		x := value.Bundle{Name: plural.Count(n, "bundle", "bundles"), Verified: "verified", Detail: "all could be read and match their hashes; the full report lists them"}
		if broken > 0 {
			x.Verified, x.Detail = "broken", plural.Sprintf("%d could not be read or {does|do} not match {its|their} hashes; the full report says why", broken)
		}
		w.r.Bundles = []value.Bundle{x}
	}
}

// covered counts node-days that are over, and those that were recorded.
func (s *State) covered() (whole, over, missing int64) {
	for _, d := range s.Days {
		if d.State == NotOver {
			continue
		}
		over++
		missing += d.Missing
		if d.State == Whole {
			whole++
		}
	}
	return whole, over, missing
}

// tally counts the verdicts of a sub-period.
func (p *Part) tally() map[control.Verdict]int64 {
	out := map[control.Verdict]int64{}
	for _, c := range p.Controls {
		out[c.Verdict]++
	}
	return out
}

func (s *State) open() (open, expired int64) {
	for _, e := range s.Exceptions {
		switch {
		case e.Accepted == nil:
			open++
		case e.Accepted.State == Expired:
			open++
			expired++
		}
	}
	return open, expired
}

func (w *writer) facts() {
	s := w.s
	whole, over, _ := s.covered()
	open, _ := s.open()
	add := func(n value.Number, bad bool) {
		n.Bad = bad
		w.r.Facts = append(w.r.Facts, n)
	}
	add(value.Count("bundles read", s.Population.Bundles), false)
	add(value.Count("not read", s.Population.Unread), s.Population.Unread > 0)
	add(value.Number{Label: "days of nodes recorded", Text: fmt.Sprintf("%s of %s", plural.Thousands(whole), plural.Thousands(over))}, whole < over)
	add(value.Count("packets", s.Population.Packets), false)
	add(value.Count("calls", s.Population.Calls), false)
	add(value.Count("exceptions", int64(len(s.Exceptions))), len(s.Exceptions) > 0)
	add(value.Count("open exceptions", open), open > 0)
}

// front answers what a reader asks first.
func (w *writer) front() {
	s := w.s
	most := 8 * value.MaxText
	if w.board {
		most = 2 * value.MaxText
	}
	say := func(id, head, text string, bad bool) {
		w.r.Statements = append(w.r.Statements, value.Statement{ID: id, Head: head, Text: value.Clean(text, most), Bad: bad, Queries: w.q})
	}
	whole, over, missing := s.covered()
	text := plural.Sprintf("On %d of %d {day|days} of nodes ", whole, over) + fmt.Sprintf("from %s to %s, the recordings cover the whole day and state no loss.", s.From, s.To)
	if missing > 0 {
		text += " " + Length(missing) + " are missing: " + strings.Join(s.worstCoverage(), "; ") + ". What happened then cannot be known."
	}
	if n := s.Population.Unread; n > 0 {
		text += plural.Sprintf(" %d {bundle|bundles} could not be read.", n)
	}
	say("coverage", "What was recorded?", text, whole < over || s.Population.Unread > 0)

	last := map[string]control.Verdict{}
	contradicted := map[string]bool{}
	for _, p := range s.Parts {
		for _, c := range p.Controls {
			last[c.Control] = c.Verdict
			if c.Verdict == control.Contradicted {
				contradicted[c.Control] = true
			}
		}
	}
	var now int64
	for id := range contradicted {
		if last[id] == control.Contradicted {
			now++
		}
	}
	text = plural.Sprintf("%d of %d {control was|controls were} contradicted in some %s of the period, ", int64(len(contradicted)), int64(len(last)), s.Every) + plural.Sprintf("%d in the last.", now)
	if n := s.wholeEvidence(); n > 0 {
		text += plural.Sprintf(" For a part of %d {control there is|controls there is} evidence in every %s.", n, s.Every)
	} else {
		text += fmt.Sprintf(" No control has evidence in every %s.", s.Every)
	}
	say("controls", "Were the controls met?", text, len(contradicted) > 0)
	if n := int64(len(s.Changes)); n > 0 {
		text = plural.Sprintf("%d {verdict|verdicts} changed", n) + ", the first on " + s.Changes[0].From + ": " + s.Changes[0].Control + " from " + verdictWords(s.Changes[0].Before) + " to " + verdictWords(s.Changes[0].After) + "."
	} else {
		text = fmt.Sprintf("No verdict changed from one %s to the next.", s.Every)
	}
	say("changes", "What changed?", text, false)
	open, expired := s.open()
	text = plural.Sprintf("%d {exception was|exceptions were} seen; %d {is|are} open", int64(len(s.Exceptions)), open)
	if expired > 0 {
		text += plural.Sprintf(", of which %d {has|have} an acceptance that has expired", expired)
	}
	if len(s.Exceptions) > 0 {
		text += ". The worst: " + s.Exceptions[0].What + " (" + s.Exceptions[0].Words() + ")"
	}
	say("exceptions", "What is open?", text+".", open > 0)
}

// worstCoverage are the sentences of nodes that lack something.
func (s *State) worstCoverage() (out []string) {
	for i, text := range s.Coverage() {
		if i < len(s.Nodes) && strings.Contains(text, "missing ") {
			out = append(out, text)
		}
	}
	if len(out) > 5 {
		out = append(out[:5], plural.Count(int64(len(out)-5), "more node", "more nodes"))
	}
	return out
}

// wholeEvidence counts the controls with evidence in every sub-period.
func (s *State) wholeEvidence() (n int64) {
	count := map[string]int{}
	for _, p := range s.Parts {
		for _, c := range p.Controls {
			if c.Verdict == control.Evidence {
				count[c.Control]++
			}
		}
	}
	for _, k := range count {
		if k == len(s.Parts) {
			n++
		}
	}
	return n
}

func verdictWords(v control.Verdict) string { return strings.ReplaceAll(string(v), "_", " ") }

func verdictCell(v control.Verdict) value.Cell {
	return value.Cell{Text: value.Text(verdictWords(v)), Bad: v == control.Contradicted}
}

// verdictCounts has one row for each sub-period.
func (w *writer) verdictCounts() value.Block {
	t := w.table("verdict-counts", "Verdicts by "+w.s.Every, "", value.TextColumn("From"), value.TextColumn("To"), value.NumberColumn("Contradicted", ""), value.NumberColumn("Evidence", ""), value.NumberColumn("Not examined", ""), value.NumberColumn("Outside", ""), value.NumberColumn("Calls", ""), value.WideColumn("What is missing"))
	list, most := w.s.Parts, mostWhy
	if w.board {
		most = mostCell / 2
		if n := len(list) - mostBoard; n > 0 {
			list, t.Note = list[n:], "Earlier sub-periods are in the full report: "+plural.Thousands(int64(n))+"."
		}
	}
	for _, p := range list {
		n := p.tally()
		t.Add(nil, value.WordCell(p.From), value.WordCell(p.To), value.FailedCell(n[control.Contradicted]), value.CountCell(n[control.Evidence]), value.CountCell(n[control.NotExamined]), value.CountCell(n[control.Outside]), value.CountCell(p.Calls), value.WordCell(value.Clean(strings.Join(p.Lacks, "; "), most)))
	}
	return value.TableBlock(t)
}

func (w *writer) changes() value.Block {
	t := w.table("changes", "What changed", "", value.TextColumn("From"), value.TextColumn("Control"), value.WideColumn("Requires"), value.TextColumn("Before"), value.TextColumn("After"), value.WideColumn("Why"))
	for _, c := range w.s.Changes {
		t.Add(nil, value.WordCell(c.From), value.TextCell(c.Control), value.WordCell(value.Clean(c.Title, 2*value.MaxText)), verdictCell(c.Before), verdictCell(c.After), value.WordCell(value.Clean(c.Why, mostWhy)))
	}
	return value.TableBlock(t)
}

// verdicts has one row for each control and each run of sub-periods with one verdict.
func (w *writer) verdicts() value.Block {
	t := w.table("verdicts", "Every verdict", "Sub-periods in a row with the same verdict are one row, with the reason in the last of them.", value.TextColumn("Control"), value.WideColumn("Requires"), value.TextColumn("From"), value.TextColumn("To"), value.TextColumn("Verdict"), value.NumberColumn("Examined", ""), value.TextColumn("Of what"), value.NumberColumn("Exceptions", "in the last"), value.WideColumn("Why"))
	var order []string
	at := map[string][]int{} // sub-periods by control
	for i, p := range w.s.Parts {
		for _, c := range p.Controls {
			if at[c.Control] == nil {
				order = append(order, c.Control)
			}
			at[c.Control] = append(at[c.Control], i)
		}
	}
	for _, id := range order {
		list := at[id]
		for i := 0; i < len(list); {
			first := w.s.Parts[list[i]]
			c, examined := find(first, id), int64(0)
			last := first
			for ; i < len(list) && find(w.s.Parts[list[i]], id).Verdict == c.Verdict; i++ {
				last = w.s.Parts[list[i]]
				examined += find(last, id).Population.Count
			}
			c = find(last, id)
			t.Add(nil, value.TextCell(c.Control), value.WordCell(value.Clean(c.Title, 2*value.MaxText)), value.WordCell(first.From), value.WordCell(last.To), verdictCell(c.Verdict), value.CountCell(examined), value.TextCell(c.Population.Of), value.FailedCell(int64(c.Total)), value.WordCell(value.Clean(c.Why, mostWhy)))
		}
	}
	return value.TableBlock(t)
}

func find(p *Part, id string) *control.Control {
	i := slices.IndexFunc(p.Controls, func(c control.Control) bool { return c.Control == id })
	return &p.Controls[i]
}

func (w *writer) exceptions() value.Block {
	if w.board {
		return w.boardExceptions()
	}
	t := w.table("exceptions-table", "Exceptions by their id", "An accepted exception still contradicts its controls.", value.CodeColumn("Id"), value.TextColumn("Severity"), value.WideColumn("What"), value.TextColumn("Controls"), value.NumberColumn("Times", ""), value.MomentColumn("First (UTC)"), value.MomentColumn("Last (UTC)"), value.WideColumn("Accepted"))
	for _, e := range w.s.Exceptions {
		words := e.Words()
		open := e.Accepted == nil || e.Accepted.State == Expired
		t.Add(nil, value.TextCell(e.ID), value.TextCell(e.Severity), value.WordCell(value.Clean(e.What, 2*value.MaxText)), value.WordCell(value.Some(e.Controls)), value.CountCell(e.Count), value.WordCell(minute(e.First)), value.WordCell(minute(e.Last)), value.Cell{Text: value.Clean(words, 2*value.MaxText), Bad: open})
	}
	return value.TableBlock(t)
}

// boardExceptions has the worst exceptions in few columns.
func (w *writer) boardExceptions() value.Block {
	t := w.table("exceptions-table", "The worst exceptions", "", value.TextColumn("Severity"), value.WideColumn("What"), value.NumberColumn("Times", ""), value.WideColumn("Accepted"))
	for _, e := range w.s.Exceptions[:min(mostBoard, len(w.s.Exceptions))] {
		t.Add(nil, value.TextCell(e.Severity), value.WordCell(value.Clean(e.What, mostCell)), value.CountCell(e.Count), value.Cell{Text: value.Clean(e.Words(), mostCell), Bad: e.Accepted == nil || e.Accepted.State == Expired})
	}
	if n := len(w.s.Exceptions) - mostBoard; n > 0 {
		t.Note = plural.Count(int64(n), "more exception is", "more exceptions are") + " in the full report."
	}
	return value.TableBlock(t)
}

// minute writes a time of an answer in minutes.
func minute(stamp string) string {
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return value.Text(stamp)
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func (w *writer) acceptances() value.Block {
	t := w.table("acceptances", "Acceptances", "From the log of the collection, judged on "+w.s.At+".", value.NumberColumn("Entry", ""), value.MomentColumn("Added (UTC)"), value.CodeColumn("Id"), value.TextColumn("Owner"), value.TextColumn("Added by"), value.TextColumn("Due"), value.TextColumn("Until"), value.TextColumn("State"), value.WideColumn("Reason"))
	for _, a := range w.s.Accepted {
		state := strings.ReplaceAll(a.State, "_", " ")
		if a.Overdue {
			state += ", overdue"
		}
		t.Add(nil, value.IDCell(a.Seq), value.WordCell(minute(a.Time)), value.TextCell(a.ID), value.TextCell(a.Owner), value.TextCell(a.By), value.TextCell(a.Due), value.TextCell(a.Until), value.Cell{Text: state, Bad: a.State == Expired || a.State == Invalid || a.Overdue}, value.WordCell(value.Clean(strings.TrimSpace(a.Reason+" "+parenthesis(a.Detail)), 2*value.MaxText)))
	}
	return value.TableBlock(t)
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func (w *writer) draws() value.Block {
	t := w.table("draws", "Samples drawn", "", value.NumberColumn("Entry", ""), value.MomentColumn("Drawn (UTC)"), value.TextColumn("By"), value.CodeColumn("Seed"), value.TextColumn("Size"), value.TextColumn("Population"), value.CodeColumn("SHA-256 of the population"), value.CodeColumn("Filter"))
	for _, d := range w.s.Draws {
		t.Add(nil, value.IDCell(d.Seq), value.WordCell(minute(d.Time)), value.TextCell(d.By), value.TextCell(d.Seed), value.TextCell(d.Size), value.TextCell(d.Population), value.TextCell(d.SHA256), value.TextCell(d.KFL))
	}
	return value.TableBlock(t)
}

// heat shows calls by day and hour.
func (w *writer) heat() value.Block {
	s := w.s
	if s.Population.Calls == 0 {
		return value.Block{}
	}
	counts := map[int64]int64{}
	most := Count{}
	for _, h := range s.Population.Hours {
		if counts[h.At] += h.N; counts[h.At] > most.N {
			most = Count{h.At, counts[h.At]}
		}
	}
	from := s.file.From
	if late := s.file.To.Add(-mostDays * day); late.After(from) {
		from = late
	}
	chart := &value.HeatChart{Unit: "calls"}
	for t := from; t.Before(s.file.To) && t.Format(time.DateOnly) < s.At; t = t.Add(day) {
		row := value.HeatDay{Day: t.Format(time.DateOnly)}
		for h := range 24 {
			row.Hours = append(row.Hours, counts[t.Add(time.Duration(h)*time.Hour).UnixNano()])
		}
		chart.Days = append(chart.Days, row)
	}
	if len(chart.Days) == 0 {
		return value.Block{}
	}
	f := &value.Figure{ID: "hours", Title: "Calls by day and hour (UTC)", Heat: chart, Queries: w.q, Note: "Darker: more calls."}
	if from != s.file.From {
		f.Note += fmt.Sprintf(" Only the last %d days are shown.", mostDays)
	}
	f.Alt = fmt.Sprintf("Heat map of calls over %s; the busiest hour begins at %s with %s.", plural.Count(int64(len(chart.Days)), "day", "days"), time.Unix(0, most.At).UTC().Format("2006-01-02 15:04"), plural.Count(most.N, "call", "calls"))
	return value.FigureBlock(f)
}

// calendar has one row for each node and each run of days with the same state and reasons.
func (w *writer) calendar() value.Block {
	t := w.table("calendar-table", "Days of nodes", "", value.NameColumn("Node"), value.TextColumn("From"), value.TextColumn("To"), value.NumberColumn("Days", ""), value.TextColumn("Recorded"), value.TextColumn("Missing"), value.NumberColumn("Packets lost", "as stated"), value.TextColumn("Why"))
	for _, n := range w.s.Nodes {
		var run []NodeDay
		add := func() {
			if len(run) == 0 {
				return
			}
			d, missing, lost := run[0], int64(0), int64(0)
			for _, x := range run {
				missing, lost = missing+x.Missing, lost+x.Lost
			}
			text := ""
			if missing > 0 {
				text = Length(missing)
			}
			t.Add(nil, value.TextCell(nodeName(n)), value.WordCell(d.Day), value.WordCell(run[len(run)-1].Day), value.CountCell(int64(len(run))), value.Cell{Text: strings.ReplaceAll(string(d.State), "_", " "), Bad: d.State == Missing || d.State == Partly}, value.WordCell(text), value.FailedCell(lost), value.WordCell(value.Text(strings.ReplaceAll(strings.Join(d.Reasons, ", "), "_", " "))))
		}
		for _, d := range w.s.Days {
			if d.Node != n {
				continue
			}
			if len(run) > 0 && (run[0].State != d.State || !slices.Equal(run[0].Reasons, d.Reasons)) {
				add()
				run = nil
			}
			run = append(run, d)
		}
		add()
	}
	return value.TableBlock(t)
}

func (w *writer) gaps() value.Block {
	t := w.table("gaps", "Gaps, and what recorders state", "", value.MomentColumn("From (UTC)"), value.MomentColumn("To (UTC)"), value.NameColumn("Node"), value.TextColumn("Length"), value.TextColumn("Reason"), value.NumberColumn("Packets lost", ""), value.WideColumn("Detail"))
	if w.s.GapsMore > 0 {
		t.Note = "At least " + plural.Count(w.s.GapsMore, "more gap is", "more gaps are") + " not listed."
	}
	at := func(ns int64) value.Cell { return value.WordCell(time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05")) }
	for _, g := range w.s.Gaps {
		t.Add(nil, at(g.From), at(g.To), value.TextCell(nodeName(g.Node)), value.WordCell(Length(g.To-g.From+1)), value.TextCell(strings.ReplaceAll(g.Reason, "_", " ")), value.FailedCell(g.Packets), value.TextCell(g.Detail))
	}
	return value.TableBlock(t)
}

func (w *writer) population() value.Block {
	t := w.table("population-table", "Numbers by day", "A call that several bundles have counts once, a packet in each of them.", value.TextColumn("Day"), value.NumberColumn("Bundles", ""), value.NumberColumn("Packets", ""), value.NumberColumn("Calls", ""))
	for _, d := range w.s.Population.Days {
		if d.Day < w.s.At {
			t.Add(nil, value.WordCell(d.Day), value.CountCell(d.Bundles), value.CountCell(d.Packets), value.CountCell(d.Calls))
		}
	}
	t.Shares(3)
	return value.TableBlock(t)
}

func (w *writer) bundleTable() value.Block {
	t := w.table("bundles-table", "Every bundle", "", value.NameColumn("Bundle"), value.TextColumn("State"), value.TextColumn("Nodes"), value.MomentColumn("First (UTC)"), value.MomentColumn("Last (UTC)"), value.NumberColumn("Packets", ""), value.NumberColumn("Calls", ""), value.WideColumn("Seal, or why it was not read"), value.CodeColumn("Fingerprint"))
	at := func(ns int64) value.Cell {
		if ns == 0 {
			return value.WordCell("")
		}
		return value.WordCell(time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05"))
	}
	for _, b := range w.s.Bundles {
		if b.Problem != "" || b.Summary == nil {
			t.Add(nil, value.TextCell(b.Name), value.Cell{Text: "not read", Bad: !b.none}, value.WordCell(""), at(0), at(0), value.WordCell(""), value.WordCell(""), value.WordCell(value.Clean(b.Problem, 2*value.MaxText)), value.TextCell(b.Fingerprint))
			continue
		}
		var calls int64
		for _, n := range b.Summary.Calls {
			calls += n
		}
		state := "verified"
		if b.Outside {
			state = "outside the period"
		}
		t.Add(nil, value.TextCell(b.Name), value.WordCell(state), value.WordCell(value.Some(b.Summary.Nodes)), at(b.Summary.First), at(b.Summary.Last), value.CountCell(b.Summary.Packets), value.CountCell(calls), value.WordCell(value.Clean(b.SealDetail, 2*value.MaxText)), value.TextCell(b.Fingerprint))
	}
	return value.TableBlock(t)
}

func (w *writer) method() {
	s := w.s
	nodes := "The collection lists the nodes that had to be recorded."
	if len(s.file.Nodes) == 0 {
		nodes = "The collection lists no nodes; those that some bundle names had to be recorded."
	}
	text := []string{
		fmt.Sprintf("Collection file %s, SHA-256 %s. Its text is a part of the data of this file. Rules of the controls: %s.", value.Text(s.fileName()), s.SHA256, value.Text(s.RuleSet)),
		fmt.Sprintf("Log: %s, head %s.", plural.Count(s.Entries, "entry", "entries"), orNone(s.LogHead)),
		"A bundle is verified once, when it is read first; later changes of its files are found with --fresh and by pcapsule report verify. " + nodes,
	}
	if s.file.Attest {
		text = append(text, "The author of the collection states (attest) that the capture points see all traffic in scope, and lost nothing that the files do not report. The recordings do not show this. Verdicts of \"evidence\" rely on it.")
	}
	w.r.Sections = append(w.r.Sections, value.Section{ID: "method", Title: "Method", Text: text})
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// signs adds lines for the roles that sign.
func (w *writer) signs() {
	var lines []string
	roles := w.s.file.Roles
	if w.board {
		roles = roles[:min(len(roles), mostBoard)]
	}
	for _, r := range roles {
		if lines = append(lines, "As "+r); !w.board {
			lines = append(lines, "Date")
		}
	}
	if len(lines) > 0 {
		w.r.Sections = append(w.r.Sections, value.Section{ID: "sign-off", Title: "Sign-off", Sign: lines})
	}
}

// Book is a sample as a report, for spreadsheets and paper.
func (s *State) Book(d *Sample, release string) *value.Report {
	r := s.Report(SampleBook, release)
	w := &writer{s: s, r: r, q: []int{1}}
	command := fmt.Sprintf("pcapsule collection sample %s --at %s --size %d --seed %s", value.ShellQuote(value.Text(s.fileName())), s.At, d.Size, value.ShellQuote(d.Seed))
	if d.KFL != "" {
		command += " --kfl " + value.ShellQuote(value.Text(d.KFL))
	}
	r.Basis.Collection.Seed, r.Basis.Collection.Size, r.Basis.KFL = d.Seed, d.Size, d.KFL
	r.Kind, r.Queries, r.Findings = "Sample of a period", []value.Query{{Command: command + " -o sample.csv"}}, []value.Finding{}
	text := plural.Sprintf("%d of %d {call was|calls were} drawn with the seed %s: those with the lowest SHA-256 of seed, line feed, call_id.", int64(len(d.Items)), d.Population, d.Seed) + " The population has the SHA-256 " + d.SHA256 + "."
	if d.Unread > 0 {
		text += plural.Sprintf(" %d {bundle|bundles} could not be read and {is|are} not in it.", d.Unread)
	}
	r.Statements = []value.Statement{{ID: "sample", Head: "What was drawn?", Text: value.Clean(text, 4*value.MaxText), Queries: w.q, Bad: d.Unread > 0}}
	t := w.table("sample-table", "The sample", "", value.NumberColumn("Rank", ""), value.MomentColumn("Time (UTC)"), value.TextColumn("Protocol"), value.NameColumn("Client"), value.NameColumn("Server"), value.CodeColumn("Call"), value.TextColumn("Status"), value.CodeColumn("Packets"), value.CodeColumn("call_id"), value.CodeColumn("Key"), value.TextColumn("Checked by"), value.TextColumn("Result"))
	for _, x := range d.Items {
		t.Add(nil, value.IDCell(int64(x.Rank)), value.WordCell(value.Text(x.Time)), value.TextCell(x.Protocol), value.TextCell(x.Src), value.TextCell(x.Dst), value.TextCell(x.Summary), value.TextCell(x.Status), value.TextCell(x.Packets), value.TextCell(x.CallID), value.TextCell(x.Key), value.WordCell(""), value.WordCell(""))
	}
	r.Sections = nil
	w.section("sample-section", "Sample", value.TableBlock(t))
	w.section("population", "Population", w.population())
	w.signs()
	return r
}
