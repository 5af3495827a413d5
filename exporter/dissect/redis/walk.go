package redis

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// frame is an unfinished aggregate.
type frame struct {
	left int64 // values to come; -1 until a line with a point
	seen int64
	kind byte
}

// walker is a position in a value. It holds counts, never the value.
type walker struct {
	stack    [maxDepth]frame
	depth    int
	body     int64 // bytes of a string still to come
	kind     byte  // its type
	crlf     bool  // its line end follows
	streamed bool  // a string in chunks: more chunks follow
	attrs    int   // open attributes
	keep     []byte
}

// walk reads a value, or the part of it that b holds. Strings are read in pieces, everything
// else in whole lines.
func (w *walker) walk(k *dissect.Conn, c *call, b []byte) (n int, done bool, err error) {
	for {
		if w.crlf {
			m, whole, err := w.rest(c, b[n:])
			n += m
			if err != nil || !whole {
				return n, false, err
			}
			if !w.streamed && w.end(c) {
				return n, true, nil
			}
		}
		if w.depth > 0 && !w.streamed {
			n += w.run(c, b[n:])
		}
		if n == len(b) {
			return n, false, nil
		}
		m, ended, err := w.token(k, c, b[n:])
		n += m
		if err != nil || m == 0 {
			return n, false, err
		}
		if ended && w.end(c) {
			return n, true, nil
		}
	}
}

// run reads consecutive short strings of a list, except its last: they are most of a long reply.
func (w *walker) run(c *call, b []byte) (n int) {
	f := &w.stack[w.depth-1]
	if w.attrs > 0 || f.kind == '%' || f.seen < int64(len(c.first)) || c.mayHoldSecret() {
		return 0
	}
	for f.left > 1 && n+6 <= len(b) && b[n] == '$' {
		size, at := int(b[n+1]-'0'), n+2
		if size > 9 {
			break
		}
		if d := b[at] - '0'; d <= 9 {
			size, at = size*10+int(d), at+1
		}
		from := at + 2
		end := from + size
		if end+2 > len(b) || b[at] != '\r' || b[at+1] != '\n' || b[end] != '\r' || b[end+1] != '\n' {
			break
		}
		if !c.full {
			c.reply = appendArg(append(c.reply, ',', ' '), b[from:end])
			c.full = len(c.reply) > maxText
		}
		f.left--
		f.seen++
		n = end + 2
	}
	return n
}

// token reads one line: a scalar, or the head of a string or aggregate. ended means that it
// completed a value.
func (w *walker) token(k *dissect.Conn, c *call, b []byte) (n int, ended bool, err error) {
	kind := b[0]
	if w.streamed && kind != ';' {
		return 0, false, fmt.Errorf("reading a streamed string: expected a chunk, got %.40q", b)
	}
	switch kind {
	case '$', '*', '=', '!', '%', '~', '>', '|', ';':
	case '+', '-', ':', '_', '#', ',', '(', '.':
		return w.scalar(c, b)
	default:
		return 0, false, fmt.Errorf("reading a reply: expected a RESP type, got %.40q", b)
	}
	size, m := number(b[1:])
	if m < 0 && len(b) > 1 && b[1] == '?' {
		return w.open(c, b)
	}
	if m == 0 && len(b) < 24 {
		return 0, false, nil
	}
	if m <= 0 || size < -1 {
		return 0, false, fmt.Errorf("reading a reply: expected a length, got %.40q", b)
	}
	n = m + 1
	if size < 0 {
		if kind != '$' && kind != '*' {
			return 0, false, fmt.Errorf("reading a reply: type %c has the invalid length %d", kind, size)
		}
		c.note(w, kind, true)
		c.show(w, "(nil)")
		return n, true, nil
	}
	switch kind {
	case '$', '=', '!', ';':
		if size > maxBulk {
			return 0, false, fmt.Errorf("reading a reply: a string of %d bytes exceeds the limit of %d", size, maxBulk)
		}
		return w.str(k, c, b, n, size)
	case '%', '|':
		size *= 2
	}
	if size > maxCount {
		return 0, false, fmt.Errorf("reading a reply: %d elements exceed the limit of %d", size, maxCount)
	}
	return w.aggregate(c, kind, size, n)
}

// str begins a string; a short string that is complete is read at once.
func (w *walker) str(k *dissect.Conn, c *call, b []byte, n int, size int64) (int, bool, error) {
	kind := b[0]
	if kind == ';' {
		if !w.streamed {
			return 0, false, fmt.Errorf("reading a reply: found a chunk outside a streamed string")
		}
		if size == 0 {
			w.streamed = false
			c.string(w, '$', w.keep, int64(len(w.keep)))
			return n, true, nil
		}
		w.body, w.crlf, w.kind = size, true, kind
		return n, false, nil
	}
	if c.mayHoldSecret() && size <= maxText && n+int(size)+2 > len(b) {
		return 0, false, nil // a password that comes in two packets must be hidden in both
	}
	c.note(w, kind, false)
	if end := n + int(size); size <= maxText && end+2 <= len(b) {
		if b[end] != '\r' || b[end+1] != '\n' {
			return n, false, fmt.Errorf("reading a reply: expected a line end after %d bytes, got %.8q", size, b[end:])
		}
		c.string(w, kind, b[n:end], size)
		return end + 2, true, nil
	}
	w.body, w.crlf, w.kind, w.keep = size, true, kind, w.keep[:0]
	if w.depth == 0 && size > maxText && kind != '!' && c.x.RespBody == nil {
		c.x.RespBody = k.NewBody("", "")
	}
	return n, false, nil
}

// rest continues a string that arrives in pieces.
func (w *walker) rest(c *call, b []byte) (n int, whole bool, err error) {
	n = int(min(w.body, int64(len(b))))
	w.body -= int64(n)
	if room := maxText - len(w.keep); room > 0 {
		w.keep = append(w.keep, b[:min(room, n)]...)
	}
	body := c.x.RespBody
	if w.depth > 0 {
		body = nil
	}
	if body != nil {
		body.Write(b[:n])
	}
	if w.body > 0 || len(b) < n+2 {
		return n, false, nil
	}
	if b[n] != '\r' || b[n+1] != '\n' {
		return n, false, fmt.Errorf("reading a reply: expected a line end after a string, got %.8q", b[n:n+2])
	}
	w.crlf = false
	if w.streamed {
		return n + 2, true, nil
	}
	if body != nil {
		body.Complete = body.Lost() == 0
	}
	size := int64(len(w.keep))
	if size == maxText || c.gap {
		size++ // more than is kept
	}
	c.string(w, w.kind, w.keep, size)
	return n + 2, true, nil
}

// open begins a string or aggregate of unknown length.
func (w *walker) open(c *call, b []byte) (int, bool, error) {
	if len(b) < 4 {
		return 0, false, nil
	}
	if b[2] != '\r' || b[3] != '\n' || strings.IndexByte("$*%~>|", b[0]) < 0 {
		return 0, false, fmt.Errorf("reading a reply: expected a length, got %.40q", b)
	}
	if b[0] == '$' {
		c.note(w, '$', false)
		w.streamed, w.keep = true, w.keep[:0]
		return 4, false, nil
	}
	return w.aggregate(c, b[0], -1, 4)
}

func (w *walker) aggregate(c *call, kind byte, size int64, n int) (int, bool, error) {
	if w.depth == maxDepth {
		return 0, false, fmt.Errorf("reading a reply: aggregates are nested more than %d deep", maxDepth)
	}
	if kind == '|' {
		w.attrs++
	} else {
		c.note(w, kind, false)
		if w.depth == 0 && size > 0 {
			c.elements = size
			if kind == '%' {
				c.elements = size / 2
			}
		}
		c.show(w, opener(kind))
	}
	if size == 0 {
		if kind == '|' {
			w.attrs--
			return n, false, nil
		}
		c.close(w, kind)
		return n, true, nil
	}
	w.stack[w.depth] = frame{left: size, kind: kind}
	w.depth++
	return n, false, nil
}

// scalar reads a one-line value.
func (w *walker) scalar(c *call, b []byte) (int, bool, error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > maxLine {
			return 0, false, fmt.Errorf("reading a reply: the line exceeds the limit of %d bytes", maxLine)
		}
		return 0, false, nil
	}
	if i < 2 && b[0] != '+' || b[i-1] != '\r' {
		return 0, false, fmt.Errorf("reading a reply: expected a 2-byte line end, got %.40q", b[:i+1])
	}
	line := b[1 : i-1]
	switch b[0] {
	case '.':
		return w.point(c, i+1)
	case ':', ',', '(', '#':
		if len(line) == 0 || b[0] == ':' && !integer(line) {
			return 0, false, fmt.Errorf("reading a reply: expected a number, got %.40q", b[:i])
		}
	case '_':
		c.note(w, '_', true)
		c.show(w, "(nil)")
		return i + 1, true, nil
	}
	c.note(w, b[0], false)
	c.string(w, b[0], line, int64(len(line)))
	return i + 1, true, nil
}

// point ends an aggregate of unknown length.
func (w *walker) point(c *call, n int) (int, bool, error) {
	if w.depth == 0 || w.stack[w.depth-1].left >= 0 {
		return 0, false, fmt.Errorf("reading a reply: found the end of a streamed aggregate outside one")
	}
	w.depth--
	f := w.stack[w.depth]
	if f.kind == '|' {
		w.attrs--
		return n, false, nil
	}
	if w.depth == 0 {
		c.elements = f.seen
		if f.kind == '%' {
			c.elements /= 2
		}
	}
	c.close(w, f.kind)
	return n, true, nil
}

// end counts a completed value and reports whether it completed the reply.
func (w *walker) end(c *call) bool {
	for w.depth > 0 {
		f := &w.stack[w.depth-1]
		if f.left < 0 {
			return false
		}
		if f.left--; f.left > 0 {
			return false
		}
		w.depth--
		if f.kind == '|' { // the value that it describes follows
			w.attrs--
			return false
		}
		c.close(w, f.kind)
	}
	return true
}

func integer(b []byte) bool {
	if b[0] == '-' || b[0] == '+' {
		b = b[1:]
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func opener(kind byte) string {
	if kind == '%' {
		return "{"
	}
	return "["
}
