package smtp

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// line reads a line of the client, or a piece of content.
func (k *conn) line(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	switch k.mode {
	case modeChunk:
		n := int(min(k.left, int64(len(b))))
		k.write(in, at, at+n, b[:n])
		if k.left -= int64(n); k.left == 0 {
			k.mode = modeCommand
		}
		return n, nil
	case modeContent:
		return k.contentLine(in, at), nil
	}
	if n := k.restOfContent(in, at); n > 0 {
		return n, nil
	}
	line, n, err := lines.Bounded(b, maxLine, "command")
	switch {
	case n == 0:
		return 0, err
	case k.mode == modeSecret:
		k.secret(in, at, n, line)
		return n, nil
	}
	verb, rest := lines.Verb(line)
	if s := k.waiting("AUTH"); s != nil && !commands[verb] { // the challenge was not captured
		k.auth = s
		k.secret(in, at, n, line)
		return n, nil
	}
	if k.mode == modeAsked && k.content != nil && !commands[verb] { // the reply that permits the content was not captured
		k.begin(k.content)
		return k.contentLine(in, at), nil
	}
	k.mode = modeCommand
	if !lines.Plain(line) || verb == "" && k.Conn.Unproved() {
		return 0, lines.NotOne("command", line)
	}
	k.command(in, at, n, verb, rest)
	return n, nil
}

// commands are those of RFC 5321 and its extensions.
var commands = map[string]bool{"EHLO": true, "HELO": true, "LHLO": true, "MAIL": true, "RCPT": true, "DATA": true, "BDAT": true, "RSET": true, "NOOP": true, "QUIT": true,
	"VRFY": true, "EXPN": true, "HELP": true, "AUTH": true, "STARTTLS": true, "ETRN": true, "TURN": true, "SEND": true, "SOML": true, "SAML": true, "XCLIENT": true, "XFORWARD": true}

// command reads one command, in.Data[at:at+n].
func (k *conn) command(in *dissect.Input, at, n int, verb string, rest []byte) {
	s := &step{verb: verb}
	switch verb {
	case "MAIL":
		k.endMail()
		k.mail = &call{row: &Row{Command: verb}}
	case "RCPT", "DATA", "BDAT":
		if k.mail != nil && k.mail.body { // MAIL was lost
			k.endMail()
		}
	case "EHLO", "HELO", "LHLO", "RSET", "QUIT", "STARTTLS":
		k.endMail()
	}
	inMail := verb == "MAIL" || verb == "RCPT" || verb == "DATA" || verb == "BDAT"
	if s.call = k.mail; !inMail || k.mail == nil {
		s.call = &call{row: &Row{Command: verb}, over: !inMail}
		if inMail {
			s.call.row.Command, s.call.gap = "MAIL", k.lossy
			k.mail = s.call
		}
	}
	c := s.call
	k.lossy = false
	c.steps++
	c.x.Request(in, at, at+n)
	if isAlone(verb) {
		k.alone[verb] = append(k.alone[verb], s)
	}
	ahead := k.Push(s, in.Packet(at).Ack, stepCost+callCost+2*n)
	if !c.row.Client.OK {
		c.row.Client, c.row.User, c.row.Ahead = table.NonEmpty(k.client), table.NonEmpty(k.user), int32(ahead)
	}
	c.size += n
	k.arguments(in, at+n, s, rest)
}

// arguments reads the arguments of a command, which end with its line at end.
func (k *conn) arguments(in *dissect.Input, end int, s *step, rest []byte) {
	c := s.call
	row := c.row
	switch s.verb {
	case "EHLO", "HELO", "LHLO":
		k.client = clip.Line(rest, maxText)
		row.Client = table.NonEmpty(k.client)
	case "MAIL":
		addr, params := path(rest)
		row.From = table.Some(addr)
		for word := range strings.FieldsSeq(params) {
			if v, ok := strings.CutPrefix(strings.ToUpper(word), "SIZE="); ok {
				if size, err := strconv.ParseInt(v, 10, 64); err == nil && size >= 0 {
					row.Declared = table.Some(size)
				}
			}
		}
	case "RCPT":
		s.to, _ = path(rest)
		row.Recipients = table.Some(row.Recipients.V + 1)
	case "DATA":
		k.mode, k.content = modeAsked, c
	case "BDAT":
		word, last, _ := strings.Cut(strings.TrimSpace(string(rest)), " ")
		size, err := strconv.ParseInt(word, 10, 64)
		if s.last = strings.EqualFold(strings.TrimSpace(last), "LAST"); err != nil || size < 0 || size > maxChunk {
			return // the server rejects it
		}
		row.Chunks = table.Some(row.Chunks.V + 1)
		k.begin(c)
		if k.mode, k.left = modeCommand, size; size > 0 {
			k.mode = modeChunk
		}
	case "AUTH":
		k.answers.Begin()
		mechanism, initial, _ := bytes.Cut(rest, []byte(" "))
		if sasl.Valid(mechanism) {
			row.Auth = table.Some(strings.ToUpper(string(mechanism)))
			row.AuthKind = table.Some(sasl.Kind(string(mechanism)))
		}
		if initial = bytes.TrimSpace(initial); len(initial) > 1 {
			from := bytes.LastIndex(in.Data[:end], initial)
			c.x.Hide(in, from, from+len(initial))
			k.named(c, initial)
		}
	case "STARTTLS", "QUIT", "RSET", "NOOP", "DATA ":
	default:
		row.Path = table.NonEmpty(clip.Line(rest, maxText))
	}
}

// path is an address in angle brackets, after FROM: or TO:, and the rest of the line.
func path(b []byte) (addr, params string) {
	_, after, ok := bytes.Cut(b, []byte(":"))
	if !ok {
		return clip.Line(b, maxText), ""
	}
	after = bytes.TrimSpace(after)
	if i := bytes.IndexByte(after, '>'); i > 0 && after[0] == '<' {
		return clip.Line(after[1:i], maxText), string(after[i+1:])
	}
	one, rest, _ := bytes.Cut(after, []byte(" "))
	return clip.Line(one, maxText), string(rest)
}

// secret reads an answer to a challenge.
func (k *conn) secret(in *dissect.Input, at, n int, line []byte) {
	k.mode = modeCommand
	s := k.auth
	if s == nil {
		return
	}
	s.call.x.Request(in, at, at+n)
	s.call.x.Hide(in, at, at+len(line))
	k.named(s.call, line)
}

// named reads the user from an answer.
func (k *conn) named(c *call, answer []byte) {
	if user := k.answers.User(k.Conn, c.row.Auth.V, answer); len(user) > 0 {
		c.row.User = table.NonEmpty(clip.Line(user, maxText))
	}
}

// endMail ends a message that gets no further content.
func (k *conn) endMail() {
	c := k.mail
	if k.mail = nil; c == nil {
		return
	}
	if c.over = true; c.steps == 0 {
		k.emit(c, c.why)
	}
}
