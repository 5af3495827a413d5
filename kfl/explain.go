package kfl

import (
	"fmt"
	"strings"
	"time"
)

// Explain describes for the user how a query was understood and compiled.
func (q *Query) Explain() string {
	var b strings.Builder
	text := q.expr.String()
	if text == "" {
		text = "(empty: every call)"
	}
	fmt.Fprintf(&b, "query   %s\n", strings.ReplaceAll(text, "\n", "\n        "))
	if len(q.columns) > 0 {
		fmt.Fprintf(&b, "reads   %s\n", strings.Join(q.columns, ", "))
	}
	if q.usesNow {
		fmt.Fprintf(&b, "now     %s\n", time.Unix(0, q.now).UTC().Format("2006-01-02T15:04:05.000000000Z"))
	}
	if q.root.op == opConst && q.root.num == 0 {
		b.WriteString("note    no call can match: the query needs fields or protocols that are not supported yet\n")
	}
	for _, n := range q.notes {
		fmt.Fprintf(&b, "note    %s\n", n)
	}
	where, args := q.SQL()
	fmt.Fprintf(&b, "sql     %s\n", where)
	for i, a := range args {
		fmt.Fprintf(&b, "  ?%-4d %s\n", i+1, quoteText(fmt.Sprint(a)))
	}
	return b.String()
}
