package redis

import (
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// plain reports whether p needs no quotes in a command line.
func plain(p []byte) bool {
	for _, c := range p {
		if c <= ' ' || c == '"' || c == '\'' || c == '\\' || c == 0x7f {
			return false
		}
	}
	return len(p) > 0 && utf8.Valid(p)
}

// appendArg appends p as redis-cli would show it.
func appendArg(dst, p []byte) []byte {
	if plain(p) {
		return append(dst, p...)
	}
	dst = append(dst, '"')
	dst = appendEscaped(dst, p, true)
	return append(dst, '"')
}

// appendEscaped appends p on one line: with escapes for line ends and tabs, and, in quotes, for quotes and
// backslashes. Bytes that are not text stay as they are, because a table escapes them (docs/format/parts.md).
func appendEscaped(dst, p []byte, quoted bool) []byte {
	for len(p) > 0 {
		n := ordinary(p, quoted)
		dst = append(dst, p[:n]...)
		if p = p[n:]; len(p) == 0 {
			break
		}
		c := p[0]
		switch c {
		case '\n':
			c = 'n'
		case '\r':
			c = 'r'
		case '\t':
			c = 't'
		}
		dst = append(dst, '\\', c)
		p = p[1:]
	}
	return dst
}

// ordinary is the length of the text at the front of p that needs no escape.
func ordinary(p []byte, quoted bool) int {
	for i, c := range p {
		if c == '\n' || c == '\r' || c == '\t' || quoted && (c == '"' || c == '\\') {
			return i
		}
	}
	return len(p)
}

// text is p on one line.
func text(p []byte) string {
	if ordinary(p, false) == len(p) {
		return string(p)
	}
	return string(appendEscaped(nil, p, false))
}

// fold reports whether p equals word, which is in upper case, ignoring case.
func fold(p []byte, word string) bool {
	if len(p) != len(word) {
		return false
	}
	for i, c := range p {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// number reads digits, optionally after a minus sign, and a line end. n is the number of bytes
// read: 0 if the line is incomplete, -1 if it is not a number.
func number(b []byte) (v int64, n int) {
	neg := len(b) > 0 && b[0] == '-'
	i := 0
	if neg {
		i = 1
	}
	start := i
	for i < len(b) {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		if i-start >= 18 {
			return 0, -1
		}
		v = v*10 + int64(d)
		i++
	}
	if neg {
		v = -v
	}
	switch {
	case i == len(b):
		return 0, 0
	case i == start || b[i] != '\r':
		return 0, -1
	case i+1 == len(b):
		return 0, 0
	case b[i+1] != '\n':
		return 0, -1
	}
	return v, i + 2
}

// note is called at the start of each value. It keeps the reply's type and separates the values
// in its text.
func (c *call) note(w *walker, kind byte, null bool) {
	if w.depth == 0 {
		c.kind, c.null = kind, null
		return
	}
	f := &w.stack[w.depth-1]
	f.seen++
	if w.attrs > 0 || c.full || f.seen == 1 {
		return
	}
	if f.kind == '%' && f.seen%2 == 0 {
		c.reply = append(c.reply, ": "...)
	} else {
		c.reply = append(c.reply, ", "...)
	}
}

// show appends to the reply's text.
func (c *call) show(w *walker, s string) {
	if w.attrs == 0 && !c.full {
		c.reply = append(c.reply, s...)
		c.full = len(c.reply) > maxText
	}
}

func (c *call) close(w *walker, kind byte) {
	if kind == '%' {
		c.show(w, "}")
	} else {
		c.show(w, "]")
	}
}

// string shows a completed value that begins with p and has size bytes.
func (c *call) string(w *walker, kind byte, p []byte, size int64) {
	if w.attrs > 0 {
		return
	}
	n := len(p)
	p = c.maskReply(w, kind, p)
	size += int64(len(p) - n)
	if kind == '-' || kind == '!' {
		if c.errors++; c.errors == 1 {
			c.errText = text(p[:min(len(p), maxText)])
		}
	}
	if c.full {
		return
	}
	if kind == '=' && len(p) >= 4 && p[3] == ':' { // verbatim: three letters and a colon
		p, size = p[4:], size-4
	}
	if len(p) > maxText {
		p = clip.Cut(p, maxText)
	}
	from := len(c.reply)
	if w.depth == 0 || kind == ':' {
		c.reply = appendEscaped(c.reply, p, false)
	} else {
		c.reply = appendArg(c.reply, p)
	}
	if w.depth == 1 {
		if i := w.stack[0].seen - 1; i >= 0 && i < int64(len(c.first)) {
			c.first[i] = span{from, len(c.reply)}
		}
	}
	c.full = len(c.reply) > maxText || int64(len(p)) < size
}
