package kfl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// Explain describes for the user how a query was understood and compiled, in lines of at most width columns where
// that is possible; with a width of 0 each text has one line.
func (q *Query) Explain(width int) string {
	var b strings.Builder
	text := q.expr.String()
	if text == "" {
		text = "(empty: every call)"
	}
	fmt.Fprintf(&b, "query   %s\n", strings.ReplaceAll(text, "\n", "\n        "))
	b.WriteString(ExplainLine("from", q.From(), width))
	if len(q.columns) > 0 {
		b.WriteString(ExplainLine("reads", strings.Join(q.columns, ", "), width))
	}
	if q.usesNow {
		fmt.Fprintf(&b, "now     %s\n", when.Stamp(q.now))
	}
	if q.root.op == opConst && q.root.num == 0 {
		b.WriteString("note    no call can match: the query needs fields or protocols that are not supported yet\n")
	}
	for _, n := range q.notes {
		fmt.Fprintf(&b, "note    %s\n", n)
	}
	where, args := q.SQL()
	b.WriteString(ExplainLine("sql", where, width))
	for i, a := range args {
		fmt.Fprintf(&b, "  ?%-4d %s\n", i+1, parse.Quote(fmt.Sprint(a)))
	}
	return b.String()
}

// From is the narrowest relation with all calls that can match, as far as this release knows the protocols' columns.
func (q *Query) From() string {
	list := q.Protocols(protocolsWith)
	switch len(list) {
	case 0:
		return "calls"
	case 1:
		return list[0]
	}
	return "calls (" + strings.Join(list, ", ") + ")"
}

// protocolsWith lists the protocols whose calls have a column, nil if all calls have it.
func protocolsWith(column string) []string {
	list := table.ProtocolColumns()
	if i := slices.IndexFunc(list, func(c table.Column) bool { return c.Name == column }); i >= 0 {
		return strings.Fields(list[i].Protocol)
	}
	return nil
}

// ExplainLine returns a line of an explanation: SQL, or a list, with its label.
func ExplainLine(label, sql string, width int) string {
	const head = 8
	if width > 0 {
		width = max(width-head, head)
	}
	lines := strings.ReplaceAll(Layout(sql, width), "\n", "\n"+strings.Repeat(" ", head))
	return fmt.Sprintf("%-*s%s\n", head, label, lines)
}
