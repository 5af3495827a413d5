package syslog

import (
	"bytes"
	"regexp"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// message has the parts of a message.
type message struct {
	priority                                 int
	format                                   string
	time, host, app, process, id, data, text []byte
}

// Heads of messages. They are compiled on first use, because counted repeats make them large.
var (
	head5424 = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) (?:-|\[)`)
	})
	head3164 = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d{1,6})?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d)) `)
	})
	tag = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([!-Z\\^-~]{1,64}?)(?:\[([!-\\^-~]{1,64})\])?:(?: |$)`)
	})
	hostname = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([0-9A-Za-z.:_-]{1,255}) `)
	})
)

// parse reads a message.
func parse(b []byte) (m message, ok bool) {
	var rest []byte
	if m.priority, rest, ok = priority(b); !ok {
		return m, false
	}
	if p := head5424().FindSubmatchIndex(rest); p != nil {
		m.format = "rfc5424"
		m.time, m.host, m.app, m.process, m.id = value(rest[p[2]:p[3]]), value(rest[p[4]:p[5]]), value(rest[p[6]:p[7]]), value(rest[p[8]:p[9]]), value(rest[p[10]:p[11]])
		rest = rest[p[1]-1:]
		n := structured(rest)
		m.data = value(rest[:n])
		m.text = bytes.TrimPrefix(bytes.TrimPrefix(rest[n:], []byte(" ")), []byte("\ufeff"))
		return m, true
	}
	m.format, m.text = "text", rest
	p := head3164().FindSubmatch(rest)
	if p == nil {
		return m, true
	}
	m.format, m.time = "rfc3164", p[1]
	rest = rest[len(p[0]):]
	if tag().FindSubmatch(rest) == nil { // else there is no host
		if p := hostname().FindSubmatch(rest); p != nil {
			m.host = p[1]
			rest = rest[len(p[0]):]
		}
	}
	if p := tag().FindSubmatch(rest); p != nil {
		m.app, m.process = p[1], p[2]
		rest = rest[len(p[0]):]
	}
	m.text = rest
	return m, true
}

// value is nil for a part that is absent.
func value(b []byte) []byte {
	if string(b) == "-" {
		return nil
	}
	return b
}

// structured is the length of structured data, RFC 5424 section 6.3.
func structured(b []byte) int {
	if len(b) > 0 && b[0] == '-' {
		return 1
	}
	quoted, inside := false, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && inside:
			quoted = !quoted
		case quoted:
		case c == '[' && !inside:
			inside = true
		case c == ']' && inside:
			inside = false
		case !inside:
			return i
		}
	}
	return len(b)
}

// detect recognizes a priority with a time stamp or the head of RFC 5424, in a connection also after a
// length. Only a client sends messages.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	b, verdict := inFrame(dir, b)
	if verdict != dissect.Yes {
		return verdict
	}
	m, ok := parse(b)
	if ok && m.format != "text" {
		return dissect.Yes
	}
	if (ok || bytes.IndexByte(b, '>') < 0) && len(b) < maxBegin && begins.Match(b) {
		return dissect.More
	}
	return dissect.No
}

// begins matches the beginning of a message that is not complete, up to its time stamp.
var begins = regexp.MustCompile(`^(<(\d{1,3}(>([12JFMASOND][ -Z\\^-~]*)?)?)?)?$`)

const maxBegin = 600 // bytes of a head

// minText is the shortest text that is a message on a port of Syslog.
const minText = 4

// detectOnPort also accepts a priority with a text.
func detectOnPort(dir dissect.Dir, b []byte) dissect.Verdict {
	b, verdict := inFrame(dir, b)
	if verdict != dissect.Yes {
		return dissect.No
	}
	if m, ok := parse(b); ok && (m.format != "text" || len(m.text) >= minText && printable(m.text[:minText])) {
		return dissect.Yes
	}
	return dissect.No
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// inFrame is the message after its length, if it has one.
func inFrame(dir dissect.Dir, b []byte) ([]byte, dissect.Verdict) {
	if dir == dissect.ToClient {
		return nil, dissect.No
	}
	if len(b) > 0 && b[0] != '<' {
		size, head, ok := count(b)
		if !ok || size > maxFrame {
			return nil, dissect.No
		}
		if head == 0 {
			return nil, dissect.More
		}
		b = b[head:min(len(b), head+size)]
	}
	return b, dissect.Yes
}
