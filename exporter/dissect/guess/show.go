package guess

import (
	"bytes"
	"encoding/hex"
)

// Limits of the output of First.
const (
	maxText  = 40 // characters of a line
	maxWord  = 16 // characters of a client's first word
	maxBytes = 8  // of other content
	minText  = 4  // characters that make a text
)

// First shows the first bytes of a conversation in a summary: the first line if it is text, quoted,
// else hexadecimal digits. Of a client's text it shows only the first word, because passwords
// follow it in many protocols.
func First(b []byte, fromClient bool) string {
	line, whole := firstLine(b)
	if len(line) < minText {
		return hex.EncodeToString(b[:min(len(b), maxBytes)])
	}
	shown := line[:min(len(line), maxText)]
	if fromClient {
		word, _, _ := bytes.Cut(line, []byte(" "))
		shown = word[:min(len(word), maxWord)]
	}
	if len(shown) < len(line) || !whole {
		return `"` + string(shown) + `…"`
	}
	return `"` + string(shown) + `"`
}

// firstLine is the printable ASCII at the start of b without quotes and backslashes, and whether a
// line or b ends there.
func firstLine(b []byte) (line []byte, whole bool) {
	for i, x := range b {
		if x == '\r' || x == '\n' {
			return b[:i], true
		}
		if x < ' ' || x >= 0x7f || x == '"' || x == '\\' {
			return b[:i], false
		}
	}
	return b, true
}

// isText reports whether b is one or more lines of printable ASCII.
func isText(b []byte) bool {
	for _, x := range b {
		if (x < ' ' || x >= 0x7f) && x != '\n' && x != '\r' && x != '\t' {
			return false
		}
	}
	return len(b) > 0
}
