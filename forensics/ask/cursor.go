package ask

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Cursor is the place of a row in a list by time, where the next page begins.
type Cursor struct{ TS, Bundle, No int64 }

// String writes a position as a cursor.
func (p Cursor) String() string { return fmt.Sprintf("%d.%d.%d", p.TS, p.Bundle, p.No) }

// ReadCursor reads a cursor; an empty one is the beginning.
func ReadCursor(_ *forensics.Case, s string) (Cursor, error) {
	if s == "" {
		return Cursor{Bundle: -1, No: -1}, nil
	}
	var p Cursor
	if n, err := fmt.Sscanf(s, "%d.%d.%d", &p.TS, &p.Bundle, &p.No); n != 3 || err != nil || p.String() != s || p.No < 0 || p.Bundle < 0 {
		return p, Wrong("cursor", "%q is no cursor of an earlier answer", Clip(s, 60))
	}
	return p, nil
}

// After is the condition for the rows after it, behind what, which ends in the table's
// alias and a dot where there is one; empty at the beginning.
func (p Cursor) After(what string) string {
	return p.beside(what, ">")
}

// Before is After for a list that ends with the earliest.
func (p Cursor) Before(what string) string { return p.beside(what, "<") }

func (p Cursor) beside(what, sign string) string {
	if p.No < 0 {
		return ""
	}
	word, alias := what, ""
	if i := strings.LastIndexByte(what, ' '); i >= 0 {
		word, alias = what[:i+1], what[i+1:]
	}
	return fmt.Sprintf("%s(%[2]sts_ns, %[2]sbundle, %[2]scall_no) %[3]s (%[4]d, %[5]d, %[6]d)", word, alias, sign, p.TS, p.Bundle, p.No)
}
