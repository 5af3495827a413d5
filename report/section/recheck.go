package section

import (
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// recheck adds a second tool's statements about the calls that the report cites: a statement about
// the certainty of the report, and a section.
func (b *builder) recheck() {
	if b.err != nil {
		return
	}
	ids := b.cited()
	if b.in.Basis.Recheck == nil && b.in.Recheck != nil {
		b.r.Basis.Recheck, b.err = b.in.Recheck(b.ctx, ids)
	}
	o := b.r.Basis.Recheck
	if o == nil || b.err != nil {
		return
	}
	query := b.number(value.Query{Command: "pcapsule report verify FILE " + b.paths + " --recheck " + value.ShellQuote(o.Tool)})
	k := &compared{b: b, of: map[string]*value.Rechecked{}}
	for i := range o.Calls {
		k.of[o.Calls[i].Call] = &o.Calls[i]
	}
	k.stated, b.err = tally.StatedBy(b.ctx, b.c, ids)
	for _, id := range ids {
		k.add(id)
	}
	tool := value.Text(o.Tool + " " + o.Version)
	st := value.Statement{ID: "recheck", Head: headSure, Bad: k.differ > 0, Text: k.text(tool, len(ids)), Queries: query,
		Figures: []value.Number{value.Count("facts confirmed", k.confirmed), value.Count("facts that differ", k.differ), value.Count("calls that could not be checked", k.unchecked)}}
	b.state(st)
	b.sortStatements()
	st.ID, st.Head = "recheck-result", ""
	s := value.Section{ID: "recheck", Title: "Repeated with a second tool", Statements: []value.Statement{st},
		Text: []string{"The packets of each cited call, and the packets of its connection before them, were read with " + tool + ". A fact is confirmed if that program states the same value in the packets of the call. This is an observation made when the report was written; pcapsule report verify with --recheck repeats it."}}
	for _, t := range []*value.Table{k.summary(), k.differences(), k.reasons()} {
		if t.Queries = query; len(t.Rows) > 0 {
			s.Blocks = append(s.Blocks, value.TableBlock(t))
		}
	}
	b.beforeSignature(s)
}

// cited returns the ids of the calls that the report cites, each once, in the order of the report.
func (b *builder) cited() (ids []string) {
	seen := map[string]bool{}
	for _, c := range b.cites {
		if c.Call != "" && !seen[c.Call] {
			seen[c.Call] = true
			ids = append(ids, c.Call)
		}
	}
	return ids
}

// beforeSignature adds a section, but before the lines to sign.
func (b *builder) beforeSignature(s value.Section) {
	at := len(b.r.Sections)
	if at > 0 && len(b.r.Sections[at-1].Sign) > 0 {
		at--
	}
	b.r.Sections = slices.Insert(b.r.Sections, at, s)
}

// compared is the sums of a recheck.
type compared struct {
	b      *builder
	of     map[string]*value.Rechecked
	stated map[string]tally.Stated

	confirmed, differ, unchecked int64
	protocols                    []agreement
	different                    []difference
	why                          []reason
}

// agreement is the sums of one protocol.
type agreement struct {
	protocol                               string
	calls, confirmed, differ, notCheckable int64
}

// difference is a fact about which the tools differ.
type difference struct {
	id   string
	fact value.Fact
}

// reason is why calls could not be checked.
type reason struct {
	text, first string
	calls       int64
}

// add counts one cited call.
func (k *compared) add(id string) {
	r := k.of[id]
	switch {
	case r == nil:
		k.because("it is above the limit of a recheck", id)
		return
	case r.Why != "":
		k.because(r.Why, id)
		return
	}
	protocol := k.stated[id].Protocol
	i := slices.IndexFunc(k.protocols, func(a agreement) bool { return a.protocol == protocol })
	if i < 0 {
		i = len(k.protocols)
		k.protocols = append(k.protocols, agreement{protocol: protocol})
	}
	a := &k.protocols[i]
	a.calls++
	for _, f := range r.Facts {
		switch f.State {
		case value.Confirmed:
			a.confirmed++
			k.confirmed++
		case value.Differs:
			a.differ++
			k.differ++
			k.different = append(k.different, difference{id, f})
		default:
			a.notCheckable++
		}
	}
}

// because counts a call that could not be checked.
func (k *compared) because(why, id string) {
	k.unchecked++
	i := slices.IndexFunc(k.why, func(r reason) bool { return r.text == why })
	if i < 0 {
		i = len(k.why)
		k.why = append(k.why, reason{text: why, first: id})
	}
	k.why[i].calls++
}

// text is the result in one sentence.
func (k *compared) text(tool string, calls int) string {
	if calls == 0 {
		return "The report cites no call, so nothing was repeated with " + tool + "."
	}
	text := fmt.Sprintf("%s was asked about %s: it confirms %s and contradicts %s.", tool, plural.Count(int64(calls), "cited call", "cited calls"),
		plural.Count(k.confirmed, "fact", "facts"), plural.Thousands(k.differ))
	if k.unchecked > 0 {
		text += " " + plural.Count(k.unchecked, "call", "calls") + " could not be checked; the reasons are listed."
	}
	return text
}

// summary has one row per protocol.
func (k *compared) summary() *value.Table {
	t := &value.Table{ID: "recheck-protocols", Title: "What was repeated",
		Columns: []value.Column{value.TextColumn("Protocol"), value.NumberColumn("Calls", ""), value.NumberColumn("Confirmed", "facts"), value.NumberColumn("Differ", "facts"), value.NumberColumn("Not stated", "facts that the second tool does not state")}}
	for _, a := range k.protocols {
		t.Add(nil, value.TextCell(a.protocol), value.CountCell(a.calls), value.CountCell(a.confirmed), value.FailedCell(a.differ), value.CountCell(a.notCheckable))
	}
	return t
}

// differences has one row per fact about which the tools differ.
func (k *compared) differences() *value.Table {
	t := &value.Table{ID: "recheck-differences", Title: "Facts that differ",
		Columns: []value.Column{value.TextColumn("Protocol"), value.TextColumn("Fact"), value.CodeColumn("This program"), value.CodeColumn("Second tool")}}
	for i, d := range k.different {
		if i == mostListed {
			t.Note = plural.Count(int64(len(k.different)-i), "more fact differs", "more facts differ") + "."
			break
		}
		s := k.stated[d.id]
		other := value.TextCell(d.fact.Other)
		if d.fact.Other == "" {
			other = value.WordCell("not shown in a masked report")
		}
		t.Add(k.b.cite(d.id), value.TextCell(s.Protocol), value.WordCell(value.Text(d.fact.Name)), value.TextCell(s.Fact(d.fact.Name)), other).Bad = true
	}
	return t
}

// reasons has one row per reason why calls could not be checked.
func (k *compared) reasons() *value.Table {
	t := &value.Table{ID: "recheck-reasons", Title: "Calls that could not be checked", Columns: []value.Column{value.WideColumn("Reason"), value.NumberColumn("Calls", "")}}
	for i, r := range k.why {
		if i == mostListed {
			break
		}
		t.Add(k.b.cite(r.first), value.TextCell(r.text), value.CountCell(r.calls))
	}
	return t
}
