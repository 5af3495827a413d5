// Package quote writes text of a capture for programs that would act on it: a cell of a spreadsheet, a
// label of a diagram, a value of SQL. It depends on nothing, so that every writer has the same rules.
package quote

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// formulas are the first characters that make a program for spreadsheets read a cell as a formula (OWASP,
// CSV injection), with the full-width forms that some programs accept, and the quote itself.
const formulas = "=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20"

// Cell puts ' before a text that a spreadsheet would run as a formula, and before a text that begins with
// '. So removing one leading ' restores every text.
func Cell(s string) string {
	if r, _ := utf8.DecodeRuneInString(s); s != "" && strings.ContainsRune(formulas, r) {
		return "'" + s
	}
	return s
}

// Mermaid writes text as a label of a Mermaid diagram: each character that Mermaid could read is a code.
// Quotes around a label do not suffice: Mermaid looks for directives (%%{init: …}%%) and comments (%%)
// before it reads any label.
func Mermaid(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" ./_,", r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}

// SQL writes text as a literal of SQL.
func SQL(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Ident writes a name as an identifier of SQL.
func Ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
