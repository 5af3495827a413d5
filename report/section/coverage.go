package section

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

const mostQuiet = 3 // times without a packet that are named

// Coverage is how much of the window was recorded and could be read. It decides the words about
// presence and absence in every section.
type Coverage struct {
	State    forensics.CoverageState
	Gaps     int64    // coverage gaps
	Reasons  []string // of the gaps
	Packets  int64    // known to be lost in them
	Missing  int64    // flows whose streams lack bytes
	OneSided int64    // TCP flows of which one direction was captured
	Sealed   int64    // encrypted connections that no key opens
	Unknown  int64    // connections with payload that no dissector read
	All      int64    // connections
	Redacted []string // how values were removed
	Quiet    []string // long times without a packet, as clauses
}

// readCoverage reads the coverage of the window.
func (b *builder) readCoverage() {
	if b.err != nil {
		return
	}
	cov, err := b.c.Coverage(b.first, b.last)
	if err != nil {
		b.err = err
		return
	}
	b.cov = Coverage{State: cov.State, Gaps: int64(len(cov.Holes)) + cov.More}
	for _, text := range b.c.Redactions() {
		b.cov.Redacted = append(b.cov.Redacted, value.Clean(text, value.MaxText))
	}
	for i, q := range cov.Quiet {
		if i == mostQuiet {
			b.cov.Quiet = append(b.cov.Quiet, plural.Count(int64(len(cov.Quiet)-i), "more long time has no packet", "more long times have no packet"))
			break
		}
		span := time.Duration(b.last - b.first)
		b.cov.Quiet = append(b.cov.Quiet, fmt.Sprintf("from %s to %s (%s) there is no packet: nothing was sent, or nothing was recorded", value.Stamp(q.From, span), value.Stamp(q.To, span), value.Duration(time.Duration(q.To-q.From))))
	}
	seen := map[string]bool{}
	for _, h := range cov.Holes {
		b.cov.Packets += h.Packets
		if !seen[h.Reason] {
			seen[h.Reason] = true
			b.cov.Reasons = append(b.cov.Reasons, strings.ReplaceAll(value.Clean(h.Reason, 40), "_", " "))
		}
	}
	if !b.has("connections") {
		return
	}
	for _, r := range tallied(b, tally.Readings).Rows {
		b.cov.All, b.cov.Sealed, b.cov.Unknown, b.cov.OneSided, b.cov.Missing = r.Connections, r.Sealed, r.Unknown, r.OneSided, r.MissingFrom
	}
}

// losses lists the unrecorded traffic, as clauses.
func (c Coverage) losses() (out []string) {
	if c.Gaps > 0 {
		s := "the recording has " + plural.Count(c.Gaps, "coverage gap", "coverage gaps") + " (" + value.And(c.Reasons) + ")"
		if c.Packets > 0 {
			s += " with " + plural.Count(c.Packets, "packet", "packets") + " known to be lost"
		}
		out = append(out, s)
	}
	if c.Missing > 0 {
		out = append(out, "bytes are missing in "+plural.Count(c.Missing, "flow", "flows"))
	}
	if c.OneSided > 0 {
		out = append(out, "only one direction of "+plural.Count(c.OneSided, "TCP flow was", "TCP flows was")+" captured")
	}
	return out
}

// unread lists the recorded traffic that could not be read, as clauses.
func (c Coverage) unread() (out []string) {
	if c.Sealed > 0 {
		out = append(out, fmt.Sprintf("%s of %s could not be decrypted", plural.Thousands(c.Sealed), plural.Count(c.All, "connection", "connections")))
	}
	if c.Unknown > 0 {
		out = append(out, plural.Count(c.Unknown, "connection has", "connections have")+" payload that no dissector read")
	}
	return out
}

// Absent is the sentence for something that only the content of messages shows and that was not seen,
// such as "failed call". A window with losses supports no absence, and neither does traffic that could
// not be read.
func (c Coverage) Absent(what string) string {
	for _, no := range []string{"No ", "no "} { // the sentence says it
		what = strings.TrimPrefix(what, no)
	}
	if c.State == forensics.None {
		return "Nothing was recorded in this window, so it is unknown whether there was any " + what + "."
	}
	why := slices.Concat(c.losses(), c.Quiet, c.unread(), c.Redacted)
	if len(why) == 0 {
		return "No " + what + " was seen in what was recorded, and no loss is known."
	}
	return "No " + what + " was seen in what was recorded. It is unknown whether there was any: " + value.And(why) + "."
}

// More is the sentence that follows a claim about observed traffic: losses can support a violation,
// but not its extent.
func (c Coverage) More() string {
	if why := slices.Concat(c.losses(), c.Quiet); len(why) > 0 {
		return " There may be more than was recorded: " + value.And(why) + "."
	}
	return ""
}

// Listed is the sentence that follows a list of everything that was read: neither losses nor content that
// could not be read are in it.
func (c Coverage) Listed() string {
	if why := slices.Concat(c.losses(), c.Quiet, c.unread()); len(why) > 0 {
		return " There may be more that could not be read: " + value.And(why) + "."
	}
	return ""
}

// NotRecorded lists the traffic that was not recorded or could not be read.
func (c Coverage) NotRecorded() string {
	if c.State == forensics.None {
		return strings.TrimSpace("Nothing was recorded in this window. " + sentence(value.And(c.losses())))
	}
	var parts []string
	if why := c.losses(); len(why) > 0 {
		parts = append(parts, sentence(value.And(why)))
	} else {
		parts = append(parts, "No coverage gap, no missing byte and no one-sided connection is known.")
	}
	for _, text := range c.Quiet {
		parts = append(parts, sentence(text))
	}
	if why := c.unread(); len(why) > 0 {
		parts = append(parts, sentence(value.And(why))+" Such content was recorded but not examined.")
	}
	for _, text := range c.Redacted {
		parts = append(parts, sentence(text))
	}
	if len(c.Redacted) > 0 {
		parts = append(parts, sentence(forensics.NotProved))
	}
	return strings.Join(parts, " ")
}

// sentence begins a clause with a capital letter and ends it with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	if word, _, _ := strings.Cut(s, " "); strings.ContainsAny(word, "/.-_0123456789") { // a name, which stays as it is
		return s + "."
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// twoStops is the end of a sentence after words from a packet that end with a full stop.
var twoStops = regexp.MustCompile(`([\p{L}\p{N})"'])\.\.( [\p{Lu}\p{N}]|$)`)

// oneStop ends each sentence of text with one full stop.
func oneStop(text string) string { return twoStops.ReplaceAllString(text, "$1.$2") }

// coverage lists the unrecorded traffic.
func (b *builder) coverage(*templates.Section) (value.Section, string) {
	s := value.Section{Title: "What was not recorded", Statements: []value.Statement{{ID: "coverage-words", Text: b.cov.NotRecorded()}}}
	t := &value.Table{ID: "coverage-table", Title: "What the recording can and cannot show", Queries: b.number(value.Query{Command: "pcapsule info " + b.paths + " --json"}),
		Columns: []value.Column{value.TextColumn("What"), value.NumberColumn("Amount", ""), value.WideColumn("Meaning")}}
	line := func(what string, c value.Cell, meaning string) {
		t.Add(nil, value.WordCell(what), c, value.WordCell(meaning))
	}
	line("Connections", value.CountCell(b.cov.All), "in this window")
	line("Not decrypted", value.FailedCell(b.cov.Sealed), "their content cannot support or contradict anything; their ends, times and sizes can")
	line("Unknown protocol", value.FailedCell(b.cov.Unknown), "only their first bytes are known")
	line("One direction only", value.FailedCell(b.cov.OneSided), "the vantage saw one side; requests or responses are missing")
	line("Flows with missing bytes", value.FailedCell(b.cov.Missing), "calls on them may be missing or incomplete")
	if b.r.Blank {
		line("Coverage gaps", value.Cell{Text: "everything", Bad: true}, "nothing was recorded in this window")
	} else {
		line("Coverage gaps", value.FailedCell(b.cov.Gaps), "times that were not recorded, or only in part")
	}
	s.Blocks = []value.Block{value.TableBlock(t)}
	cov, err := b.c.Coverage(b.first, b.last)
	if err != nil {
		b.err = err
		return s, ""
	}
	if listed := b.holes("coverage-gaps", cov); listed != nil {
		s.Blocks = append(s.Blocks, value.TableBlock(listed))
	}
	return s, ""
}

// holes lists the coverage gaps, or returns nil.
func (b *builder) holes(id string, cov forensics.Coverage) *value.Table {
	if len(cov.Holes) == 0 {
		return nil
	}
	t := &value.Table{ID: id, Title: "Coverage gaps", Queries: b.query(tally.Gaps),
		Columns: []value.Column{value.TextColumn("Source"), value.TextColumn("Reason"), value.MomentColumn("From (UTC)"), value.NumberColumn("Length", ""), value.NumberColumn("Packets lost", "as far as is known"), value.WideColumn("Detail")}}
	span := time.Duration(b.last - b.first)
	for i, h := range cov.Holes {
		if i == mostListed {
			break
		}
		t.Add(nil, value.TextCell(h.Source), value.WordCell(strings.ReplaceAll(value.Text(h.Reason), "_", " ")), value.WordCell(value.Stamp(h.From, span)), value.WordCell(value.Duration(time.Duration(h.To-h.From))), value.CountCell(h.Packets), value.TextCell(h.Detail))
	}
	if more := b.cov.Gaps - int64(len(t.Rows)); more > 0 {
		t.Note = plural.Count(more, "more gap is", "more gaps are") + " in table coverage."
	}
	return t
}
