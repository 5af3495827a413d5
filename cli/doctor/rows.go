package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/cli/console"
)

// row is one check for people: a mark, a name, the finding, and the remedy.
type row struct{ mark, name, detail, change string }

// Limits of the layout.
const (
	markColumn = 10  // longest mark and two spaces
	maxName    = 22  // a longer name is on a separate line
	noTerminal = 80  // columns if the output is a file or a pipe
	minColumns = 40  // columns on a narrow terminal
	maxColumns = 100 // longer lines are hard to read
)

// printRows writes rows with aligned and wrapped details.
func printRows(out io.Writer, list []row) {
	columns := noTerminal
	if n := console.Screen(out); n > 0 {
		columns = min(max(n, minColumns), maxColumns)
	}
	indent := 0
	for i := range list {
		r := &list[i]
		r.name = console.Printable(r.name, columns-markColumn)
		if n := utf8.RuneCountInString(r.name); n > 0 && n <= maxName {
			indent = max(indent, markColumn+n+2)
		}
		if r.name != "" {
			indent = max(indent, markColumn+2)
		}
	}
	if indent > columns/2 {
		indent = markColumn + 2 // texts are below the names
	}
	for _, r := range list {
		r.write(out, indent, columns)
	}
}

func (r *row) write(out io.Writer, indent, columns int) {
	head := ""
	if r.mark != "" || r.name != "" {
		head = fmt.Sprintf("%-*s%s", markColumn, r.mark, r.name)
	}
	var body []string
	for line := range strings.SplitSeq(console.Lines(r.detail), "\n") {
		body = append(body, console.Wrap(line, columns-indent)...)
	}
	if r.change != "" {
		for i, line := range console.Wrap(console.Lines(r.change), columns-indent-2) {
			body = append(body, map[bool]string{true: "→ ", false: "  "}[i == 0]+line)
		}
	}
	if n := utf8.RuneCountInString(head); n+2 > indent && head != "" && len(body) > 0 {
		fmt.Fprintln(out, head)
		head = ""
	}
	for _, line := range body {
		fmt.Fprintf(out, "%s%s\n", head+strings.Repeat(" ", indent-utf8.RuneCountInString(head)), line)
		head = ""
	}
	if len(body) == 0 {
		fmt.Fprintln(out, head)
	}
}
