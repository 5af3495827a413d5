package jsonrpc

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
)

const (
	maxHeader  = 1 << 10  // bytes of the header before a message
	maxMessage = 1 << 31  // bytes of a message with a header
	maxDetect  = 16 << 10 // bytes that detection waits for
)

// scanner finds the end of a JSON object or array whose bytes arrive in pieces.
type scanner struct {
	line            bool // each text is a line
	lines           bool // texts have several lines
	depth           int
	quoted, escaped bool
	broken          bool // it ends with its line, not with its value
}

// read returns how many bytes belong to the value, and whether it ends with them.
func (s *scanner) read(b []byte) (n int, done bool) {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n' && (s.line || s.quoted): // which a string cannot have
			s.broken = true
			return i + 1, true
		case c == '\n':
			s.lines = true
		case s.escaped:
			s.escaped = false
		case s.quoted:
			j := bytes.IndexAny(b[i:], "\"\\\n")
			if j < 0 {
				return len(b), false
			}
			if i += j; b[i] == '\n' {
				i--
				continue
			}
			s.quoted, s.escaped = b[i] == '\\', b[i] == '\\'
		case c == '"':
			s.quoted = true
		case c == '{' || c == '[':
			s.depth++
		case c == '}' || c == ']':
			if s.depth--; s.depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(b), false
}

// blank is the length of the white space at the front.
func blank(b []byte) int { return len(b) - len(bytes.TrimLeft(b, " \t\r\n")) }

// header reads what is before a message: nothing, or lines that state its length (Language Server Protocol 3.17, Base
// Protocol). The length is -1 if more bytes are needed.
func header(b []byte) (length int, size int64, err error) {
	if b[0] == '{' || b[0] == '[' {
		return 0, 0, nil
	}
	lines, _, whole := bytes.Cut(b[:min(len(b), maxHeader)], []byte("\r\n\r\n"))
	first := []byte("Content-")
	if n := min(len(b), len(first)); !bytes.EqualFold(b[:n], first[:n]) || !whole && len(b) >= maxHeader {
		return 0, 0, fmt.Errorf("reading a message: %.40q is neither JSON nor a header", b)
	}
	if !whole {
		return -1, 0, nil
	}
	for line := range strings.SplitSeq(string(lines), "\r\n") {
		switch name, value, _ := strings.Cut(line, ":"); strings.ToLower(name) {
		case "content-length":
			size, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		case "content-type":
		default:
			err = fmt.Errorf("the name %.40q is not known", name)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("reading a header: %w", err)
		}
	}
	if size <= 0 || size > maxMessage {
		return 0, 0, fmt.Errorf("reading a header: length %d is outside 1 to %d", size, maxMessage)
	}
	return len(lines) + 4, size, nil
}

// detect accepts a request with an id, or several messages: a body of HTTP whose head was not captured is one message.
// It is never certain, because that may be a request, too. A request with its response, or the first message of a
// connection, proves the claim.
func detect(_ dissect.Dir, head []byte) dissect.Verdict { return judge(head, 2) }

// resume accepts any message.
func resume(_ dissect.Dir, head []byte) dissect.Verdict { return judge(head, 1) }

// sender is the side that probably sends what detect accepts. Either may send requests, but most of them are the client's.
func sender(head []byte) dissect.Dir {
	if judge(head, math.MaxInt) == dissect.Likely {
		return dissect.ToServer
	}
	return dissect.ToClient
}

// judge accepts a request with an id, or this number of messages. All before it must be messages too.
func judge(b []byte, enough int) dissect.Verdict {
	short := len(b) < maxDetect
	for n := 1; ; n++ {
		text, rest, whole, err := next(b)
		if err != nil {
			return dissect.No
		}
		list := content.AnyMessages(text)
		switch {
		case len(text) == 0:
			return dissect.More.If(short)
		case len(list) > 0 && (whole || !list[0].Old) && (n >= enough || requests(list, !whole && !short)):
			return dissect.Likely
		case !whole:
			return dissect.More.If(short && begins(text))
		case len(list) == 0:
			return dissect.No
		}
		b = rest
	}
}

// requests reports whether a message is a request. cut: its id may follow.
func requests(list []content.Message, cut bool) bool {
	return slices.ContainsFunc(list, func(m content.Message) bool { return m.Method != "" && (m.HasID || cut) })
}

// next is the text at the front, without its header, as far as there are bytes of it, and what follows.
func next(b []byte) (text, rest []byte, whole bool, err error) {
	if b = b[blank(b):]; len(b) == 0 {
		return nil, nil, false, nil
	}
	n, size, err := header(b)
	if err != nil || n < 0 {
		return nil, nil, false, err
	}
	if b = b[n:]; n > 0 {
		whole, n = int64(len(b)) >= size, int(min(int64(len(b)), size))
	} else {
		n, whole = (&scanner{}).read(b)
	}
	return b[:n], b[n:], whole, nil
}

// names are the members of a message.
var names = []string{`"jsonrpc"`, `"id"`, `"method"`, `"params"`, `"result"`, `"error"`}

// begins reports whether a text may be the beginning of a message, by the name of its first member.
func begins(text []byte) bool {
	text = bytes.TrimLeft(text, "[{ \t\r\n")
	for _, name := range names {
		if n := min(len(text), len(name)); string(text[:n]) == name[:n] {
			return true
		}
	}
	return false
}
