package ask

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// position is the place of a row in a list by time, where the next page begins.
type position struct{ ts, bundle, no int64 }

// String writes a position as a cursor.
func (p position) String() string { return fmt.Sprintf("%d.%d.%d", p.ts, p.bundle, p.no) }

// readCursor reads a cursor; an empty one is the beginning.
func readCursor(_ *forensics.Case, s string) (position, error) {
	if s == "" {
		return position{bundle: -1, no: -1}, nil
	}
	var p position
	if n, err := fmt.Sscanf(s, "%d.%d.%d", &p.ts, &p.bundle, &p.no); n != 3 || err != nil || p.String() != s || p.no < 0 || p.bundle < 0 {
		return p, wrong("cursor", "%q is no cursor of an earlier answer", clip(s, 60))
	}
	return p, nil
}

// sql is the condition for the rows after it, behind what, which ends in the table's
// alias and a dot where there is one; empty at the beginning.
func (p position) sql(what string) string {
	if p.no < 0 {
		return ""
	}
	word, alias := what, ""
	if i := strings.LastIndexByte(what, ' '); i >= 0 {
		word, alias = what[:i+1], what[i+1:]
	}
	return fmt.Sprintf("%s(%[2]sts_ns, %[2]sbundle, %[2]scall_no) > (%d, %d, %d)", word, alias, p.ts, p.bundle, p.no)
}

// unread notes how many connections of a window could not be read.
func unread(ctx context.Context, c *forensics.Case, f *Frame, w *window) error {
	type counts struct {
		Sealed int64 `json:"sealed"`
		Plain  int64 `json:"plain"`
	}
	n, err := readOne[counts](ctx, c, `SELECT count(*) FILTER (key_state IN ('none', 'unverified')) AS sealed,
		count(*) FILTER (key_state IS NULL AND protocol IS NULL AND calls > 0) AS plain FROM connections_raw WHERE last_ns >= ? AND first_ns <= ?`, w.from, w.to)
	if err != nil {
		return err
	}
	if n.Sealed > 0 {
		f.note("%d connections of the time are encrypted and no key opened them: what they carry is not searched", n.Sealed)
	}
	if n.Plain > 0 {
		f.note("%d connections of the time speak a protocol that is not read: of those only the first bytes are known", n.Plain)
	}
	return nil
}
