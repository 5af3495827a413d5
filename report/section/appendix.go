package section

import (
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// mostCited is the highest number of calls in the appendix.
const mostCited = 300

// appendix describes the calls that the report cites, so that a citation leads to what it stands for without the bundle.
// Lists of every call have none: they are that list.
func (b *builder) appendix() {
	ids := b.cited()
	if b.err != nil || len(ids) == 0 || slices.ContainsFunc(b.in.Template.Sections, func(s templates.Section) bool { return s.Every }) {
		return
	}
	shown := ids[:min(len(ids), mostCited)]
	list, err := tally.CitedCalls(b.ctx, b.c, shown)
	if b.err = err; err != nil {
		b.tolerate("cited calls")
		return
	}
	calls := map[string]tally.CitedCall{}
	for _, c := range list.Rows {
		calls[c.CallID] = c
	}
	t := &value.Table{ID: value.Cited + "-table", Title: "Calls that this report cites", Queries: b.query(list.SQL), Columns: []value.Column{value.MomentColumn("Time (UTC)"), value.NameColumn("Client"), value.NameColumn("Server"), value.TextColumn("Protocol"), {Name: "Call", Kind: "wide"}, value.TextColumn("Outcome"), value.NumberColumn("Took", "")}}
	for _, id := range shown {
		c, ok := calls[id]
		if !ok { // only in a bundle whose copy of the call is not the one that counts
			continue
		}
		took := value.Cell{}
		if c.Took != nil {
			took = value.MicrosCell(*c.Took)
		}
		status := value.WordCell(outcome(c.Status))
		status.Bad = c.Failed
		t.Add(b.cite(id), value.WordCell(value.Stamp(c.Ns, 0)), value.WordCell(b.nodeName(c.Src)), value.WordCell(b.nodeName(c.Dst)), value.TextCell(c.Protocol), value.WordCell(value.Clean(c.Summary, 2*value.MaxText)), status, took)
	}
	if n := len(ids) - len(shown); n > 0 {
		t.Note = "The report cites " + plural.Count(int64(n), "more call", "more calls") + "."
	}
	s := value.Section{ID: value.Cited, Title: "Cited calls", Text: []string{"Each call in the order in which the report cites it first. pcapsule show BUNDLE ID prints it with its messages."}, Blocks: []value.Block{value.TableBlock(t)}}
	b.beforeSignature(s)
}
