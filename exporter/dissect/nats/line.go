package nats

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// frame is the line with which a message begins.
type frame struct {
	op      string // in upper case
	subject []byte
	sid     []byte
	reply   []byte
	queue   []byte
	rest    []byte // JSON of INFO and CONNECT, text of -ERR
	payload bool   // bytes follow the line
	headers int64
	total   int64 // bytes that follow, with the headers
	line    int   // bytes of the line with its end
}

// operations are the commands that each side may send.
var operations = map[string]struct{ client, server bool }{
	"INFO": {false, true}, "CONNECT": {true, false}, "PUB": {true, false}, "HPUB": {true, false}, "SUB": {true, false}, "UNSUB": {true, false},
	"MSG": {false, true}, "HMSG": {false, true}, "PING": {true, true}, "PONG": {true, true}, "+OK": {false, true}, "-ERR": {false, true},
}

// parse reads the line at the beginning of b. size is 0 if it is not complete.
func parse(dir dissect.Dir, b []byte) (f frame, err error) {
	op := b[:min(len(b), 8)]
	end := bytes.IndexAny(op, " \t\r\n")
	if end >= 0 {
		op = op[:end]
	}
	f.op = strings.ToUpper(string(op))
	if end < 0 && len(b) < 8 {
		return f, begins(dir, f.op)
	}
	if who, ok := operations[f.op]; !ok || dir == dissect.ToServer && !who.client || dir == dissect.ToClient && !who.server {
		return f, fmt.Errorf("reading a line: the %s does not send %.20q", dir.Sender(), b)
	}
	eol := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	if eol < 0 {
		if len(b) >= maxLine {
			return f, fmt.Errorf("reading %s: the line has more than %d bytes", f.op, maxLine)
		}
		return f, nil
	}
	args := bytes.Trim(b[len(f.op):eol], " \t\r")
	if err := f.arguments(args); err != nil {
		return f, err
	}
	f.line = eol + 1
	return f, nil
}

// begins reports an error unless an operation of that side begins with op.
func begins(dir dissect.Dir, op string) error {
	for name, who := range operations {
		if strings.HasPrefix(name, op) && (dir == dissect.ToServer && who.client || dir == dissect.ToClient && who.server) {
			return nil
		}
	}
	return fmt.Errorf("reading a line: the %s does not send %.20q", dir.Sender(), op)
}

// arguments reads the words after the operation.
func (f *frame) arguments(args []byte) error {
	switch f.op {
	case "INFO", "CONNECT":
		if f.rest = args; len(args) < 2 || args[0] != '{' || args[len(args)-1] != '}' {
			return fmt.Errorf("reading %s: expected an object of JSON in %d bytes", f.op, len(args)) // which may hold a password
		}
		return nil
	case "-ERR":
		f.rest = bytes.Trim(args, "'")
		return nil
	case "PING", "PONG", "+OK":
		if len(args) > 0 {
			return fmt.Errorf("reading %s: expected the end of the line, got %.40q", f.op, args)
		}
		return nil
	}
	w := bytes.FieldsFunc(args, func(c rune) bool { return c == ' ' || c == '\t' })
	bad := fmt.Errorf("reading %s: unexpected arguments %.60q", f.op, args)
	for _, x := range w {
		if !isWord(x) {
			return bad
		}
	}
	// counts are the lengths at the end of the line, fixed the words before that are always there.
	counts, fixed := 0, 1
	switch f.op {
	case "PUB":
		counts = 1
	case "HPUB":
		counts = 2
	case "MSG":
		counts, fixed = 1, 2
	case "HMSG":
		counts, fixed = 2, 2
	case "SUB":
		if len(w) == 3 {
			f.queue = w[1]
			w = [][]byte{w[0], w[2]}
		}
		if len(w) != 2 {
			return bad
		}
		f.subject, f.sid = w[0], w[1]
		return nil
	case "UNSUB":
		if len(w) < 1 || len(w) > 2 {
			return bad
		}
		f.sid = w[0]
		if len(w) == 2 {
			f.rest = w[1]
		}
		return nil
	}
	if len(w) != fixed+counts && len(w) != fixed+counts+1 {
		return bad
	}
	f.subject = w[0]
	if fixed == 2 {
		f.sid = w[1]
	}
	if len(w) > fixed+counts {
		f.reply = w[fixed]
	}
	ok := true
	if f.total, ok = number(w[len(w)-1]); !ok || f.total > maxPayload {
		return bad
	}
	if counts == 2 {
		if f.headers, ok = number(w[len(w)-2]); !ok || f.headers > f.total {
			return bad
		}
	}
	f.payload = true
	return nil
}

// isWord reports whether b may be a subject or a number.
func isWord(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(b) > 0
}

// number reads a length.
func number(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// line reads the line of a message and its headers.
func (k *conn) line(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if in.Dir == dissect.ToServer && at == 0 && !k.connected && len(b) > 1 && b[0] == 0x16 && b[1] == 3 && k.server != "" {
		k.c.Upgrade("tls", nil) // INFO offered it
		return 0, nil
	}
	f, err := parse(in.Dir, b)
	if err != nil || f.line == 0 {
		return 0, err
	}
	head := int64(f.line) + min(f.headers, maxHeaders)
	if int64(len(b)) < head {
		k.c.Need(in.Dir, int(head))
		return 0, nil
	}
	if !f.payload {
		k.command(in, at, &f)
		return f.line, nil
	}
	headers := b[f.line:head]
	if f.headers > 0 && !bytes.HasPrefix(headers, []byte("NATS/1.0")) {
		return 0, fmt.Errorf("reading %s: expected headers, got %.20q", f.op, headers)
	}
	if in.Dir == dissect.ToServer {
		k.publishing(s, in, at, &f)
	} else {
		k.delivering(s, in, at, &f)
	}
	s.frame = frame{op: f.op}
	s.left, s.tail = f.total-int64(len(headers)), 2
	s.body = k.c.NewBody("", "")
	s.body.Expect(s.left)
	s.headers(headers)
	s.call.x.AddTo(s.answer, in, at, at+int(head))
	return int(head), nil
}

// headers reads the headers of a message, ADR-4 of NATS: a line with an optional status, and lines
// of a name and a value.
func (s *side) headers(b []byte) {
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	kind := "request"
	if s.answer {
		kind = "response"
	}
	row := s.call.row
	if status := bytes.TrimSpace(bytes.TrimPrefix(first, []byte("NATS/1.0"))); len(status) >= 3 {
		if n, ok := number(status[:3]); ok {
			row.Status = table.Some(int32(n))
			row.StatusText = table.NonEmpty(message.Text(bytes.TrimSpace(status[3:])))
		}
	}
	for len(rest) > 0 && len(row.Headers) < maxList {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		name, value, ok := bytes.Cut(bytes.TrimRight(line, "\r"), []byte(":"))
		if !ok {
			continue
		}
		h := table.Header{Name: message.Text(name), Value: message.Text(bytes.TrimSpace(value)), Kind: kind}
		row.Headers = append(row.Headers, h)
		s.call.texts += len(h.Name) + len(h.Value) + 48
	}
}
