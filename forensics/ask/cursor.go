package ask

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Cursor is the last row of a page in a list sorted by time. The next page begins after it.
type Cursor struct{ TS, Bundle, No int64 }

// String writes the cursor as answers show it.
func (p Cursor) String() string { return fmt.Sprintf("%d.%d.%d", p.TS, p.Bundle, p.No) }

// ReadCursor parses a cursor. An empty text is the beginning of the list.
func ReadCursor(_ *forensics.Case, s string) (Cursor, error) {
	if s == "" {
		return Cursor{Bundle: -1, No: -1}, nil
	}
	var p Cursor
	if n, err := fmt.Sscanf(s, "%d.%d.%d", &p.TS, &p.Bundle, &p.No); n != 3 || err != nil || p.String() != s || p.No < 0 || p.Bundle < 0 {
		return p, Wrong("cursor", "%q is not the next_cursor of an earlier answer", Clip(s, 60))
	}
	return p, nil
}

// After returns the SQL condition for the rows after the cursor. It starts with what, which ends
// with the table's alias and a dot if there is an alias. It is empty at the beginning of the list.
func (p Cursor) After(what string) string {
	return p.condition(what, ">")
}

// Before is After for a list with the latest rows first.
func (p Cursor) Before(what string) string { return p.condition(what, "<") }

func (p Cursor) condition(what, sign string) string {
	if p.No < 0 {
		return ""
	}
	word, alias := what, ""
	if i := strings.LastIndexByte(what, ' '); i >= 0 {
		word, alias = what[:i+1], what[i+1:]
	}
	return fmt.Sprintf("%s(%[2]sts_ns, %[2]sbundle, %[2]scall_no) %[3]s (%[4]d, %[5]d, %[6]d)", word, alias, sign, p.TS, p.Bundle, p.No)
}
