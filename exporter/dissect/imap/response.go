package imap

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// serverLine reads a line of the server, or a piece of a literal.
func (k *conn) serverLine(in *dissect.Input, at int) (int, error) {
	if k.deflated {
		return 0, errDeflated
	}
	b := in.Data[at:]
	r := &k.reply
	if r.left > 0 {
		n := int(min(r.left, int64(len(b))))
		k.content(in, at, at+n)
		return n, nil
	}
	line, n := lines.Next(b)
	if n == 0 && len(b) < maxLine {
		return 0, nil
	}
	if n == 0 || n > maxLine {
		return 0, fmt.Errorf("reading a response: a line of more than %d bytes", maxLine)
	}
	if r.open {
		k.answering().x.Response(in, at, at+n)
		k.more(line)
		return n, nil
	}
	switch {
	case bytes.HasPrefix(line, []byte("* ")):
		r.call = k.waiting()
		if r.call == nil {
			r.call = k.unasked()
		}
		r.call.x.Response(in, at, at+n)
		if in.First(at) && r.call == k.orphan && k.greeting(line[2:]) {
			return n, nil
		}
		k.untagged(r.call.row, line[2:])
		k.more(line)
	case bytes.Equal(line, []byte("+")) || bytes.HasPrefix(line, []byte("+ ")):
		c := k.continues()
		c.x.Response(in, at, at+n)
		k.asked = false
	default:
		tag, status, text, ok := tagged(line)
		if !ok {
			return 0, fmt.Errorf("reading a response: %.40q is not one", line)
		}
		k.answer(in, at, n, tag, status, text)
	}
	return n, nil
}

// tagged reads the end of a command: its tag, the status and the text.
func tagged(line []byte) (tag, status string, text []byte, ok bool) {
	word, rest, ok := bytes.Cut(line, []byte(" "))
	verb, text := lines.Verb(rest)
	if !ok || !isTag(word) || !lines.Plain(line) {
		return "", "", nil, false
	}
	return string(word), verb, text, verb == "OK" || verb == "NO" || verb == "BAD"
}

// maxSearched is how many of the oldest commands are examined for untagged responses after a loss.
const maxSearched = 64

// waiting is the command to which untagged responses belong: the oldest one, but after a loss the
// oldest one that was sent since, because the others may have been answered.
func (k *conn) waiting() (oldest *call) {
	for c := range k.Oldest(maxSearched) {
		if !c.lossy {
			return c
		}
		if oldest == nil {
			oldest = c
		}
	}
	return oldest
}

// pass ends the commands whose response was lost: the server answered a later one.
func (k *conn) pass(answered *call) {
	var lost []*call
	for c := range k.Oldest(k.Len()) {
		if !c.lossy || c.no >= answered.no { // those sent before a loss come first, so each is looked at once
			break
		}
		lost = append(lost, c)
	}
	for _, c := range lost {
		k.Take(c.tag)
		k.emit(c, string(dissect.LossGap))
	}
}

// unasked has the untagged responses while no command waits.
func (k *conn) unasked() *call {
	if k.orphan == nil {
		k.orphan = &call{row: &Row{Command: "NOTICE", User: table.NonEmpty(k.user), Mailbox: table.NonEmpty(k.mailbox)}}
	}
	return k.orphan
}

// answering is the call of the response that has more lines. It may have been given up.
func (k *conn) answering() *call {
	if k.reply.call == nil {
		k.reply.call = k.unasked()
		k.reply.call.gap = true
		k.reply.body = false
	}
	return k.reply.call
}

// continues is the command that the server asks to continue.
func (k *conn) continues() *call {
	for _, c := range [...]*call{k.cmd, k.auth, k.idle, k.waiting()} {
		if c != nil {
			return c
		}
	}
	return k.unasked()
}

// greeting reads the first response of a connection (RFC 9051 section 7.1).
func (k *conn) greeting(text []byte) bool {
	verb, rest := lines.Verb(text)
	if verb != "OK" && verb != "PREAUTH" && verb != "BYE" {
		return false
	}
	c := k.orphan
	c.row.Command = "GREETING"
	c.state(verb, rest)
	k.emit(c, "")
	return true
}

// state records the status of a command, or of the connection, and its text.
func (c *call) state(status string, text []byte) {
	row := c.row
	row.Status = table.Some(status)
	if code, rest, ok := responseCode(text); ok {
		word, arguments, _ := strings.Cut(code, " ")
		row.Code = table.NonEmpty(strings.ToUpper(word))
		row.capabilities(row.Code.V, arguments)
		text = rest
	}
	row.Reply = table.NonEmpty(clip.Line(text, maxText))
}

// responseCode is the code in brackets before a text (RFC 9051 section 7.1).
func responseCode(text []byte) (code string, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '[' {
		return "", text, false
	}
	i := bytes.IndexByte(text, ']')
	if i < 0 {
		return "", text, false
	}
	return clip.Line(text[1:i], 4*maxText), bytes.TrimLeft(text[i+1:], " "), true
}

func (row *Row) capabilities(name, list string) {
	if name != "CAPABILITY" {
		return
	}
	row.Capabilities = nil
	for word := range strings.FieldsSeq(list) {
		if len(row.Capabilities) < maxCapabilities {
			row.Capabilities = append(row.Capabilities, clip.Line([]byte(word), maxTag))
		}
	}
}

// untagged reads the first line of an untagged response.
func (k *conn) untagged(row *Row, text []byte) {
	row.Untagged++
	first, rest, _ := bytes.Cut(text, []byte(" "))
	if n, err := strconv.ParseInt(string(first), 10, 64); err == nil && n >= 0 {
		switch verb, _ := lines.Verb(rest); verb {
		case "EXISTS":
			row.Exists = table.Some(n)
		case "FETCH":
			row.Messages = table.Some(row.Messages.V + 1)
		}
		return
	}
	switch word := strings.ToUpper(string(first[:min(len(first), maxTag)])); word {
	case "CAPABILITY":
		row.capabilities(word, string(rest))
	case "OK":
		if code, _, ok := responseCode(rest); ok {
			word, arguments, _ := strings.Cut(code, " ")
			row.capabilities(strings.ToUpper(word), arguments)
		}
	case "BYE":
		if row.Command == "NOTICE" {
			row.Status, row.Reply = table.Some(word), table.NonEmpty(clip.Line(rest, maxText))
		}
	}
}

// The kind of a literal, by the text before it. The patterns are compiled with the first literal,
// because every start of every program would wait 2 ms for them.
var (
	wholeMessage = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)(^|[ (])(BODY\[\]|RFC822|BINARY\[\]) $`)
	})
	headers = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)(^|[ (])(BODY\[HEADER[^]]{0,999}\]|RFC822\.HEADER) $`)
	})
)

// more reads the end of a line of a response, which may announce a literal.
func (k *conn) more(line []byte) {
	r := &k.reply
	text, size, _, more := literalAt(line)
	if r.open = more; !more {
		*r = reply{}
		return
	}
	c := r.call
	c.row.Size = table.Some(c.row.Size.V + size)
	r.left, r.body = size, false
	text = text[max(0, len(text)-maxText):]
	whole := wholeMessage().Match(text)
	r.head = whole || headers().Match(text)
	if whole && c.x.RespBody == nil {
		r.body = true
		c.x.RespBody = k.Conn.NewBody("message/rfc822", "")
		c.x.RespBody.Complete = size == 0
	}
}

// content reads in.Data[from:to], a piece of a literal.
func (k *conn) content(in *dissect.Input, from, to int) {
	r, c, b := &k.reply, k.answering(), in.Data[from:to]
	c.x.Response(in, from, to)
	r.left -= int64(len(b))
	if r.head {
		c.head.Write(b)
	}
	if r.body {
		c.x.RespBody.Write(b)
	}
	if r.left > 0 {
		return
	}
	if r.head {
		c.head.End()
	}
	if r.body {
		c.x.RespBody.Complete = c.x.RespBody.Lost() == 0
	}
}

// answer ends a command.
func (k *conn) answer(in *dissect.Input, at, n int, tag, status string, text []byte) {
	c, ok := k.Take(tag)
	if ok {
		k.pass(c)
		k.missed = false
	} else {
		if w := k.waiting(); w != nil && w.x.HasResponse() { // untagged responses may be to the command with this tag
			w.gap = true
		}
		c = k.unasked()
		c.row.Command, c.row.Tag = "UNKNOWN", table.Some(clip.Line([]byte(tag), maxTag))
	}
	c.x.Response(in, at, at+n)
	c.state(status, text)
	if status == "OK" {
		// The server had all of the command.
		c.gap = c.gap || k.cmd == c || k.auth == c && k.answers.None()
		k.learn(c.row)
	}
	switch {
	case k.cmd != c || status == "OK":
		k.emit(c, "")
	case k.asked: // the literal was not permitted
		k.args = bytes.TrimSuffix(k.args, []byte{'"'})
		c.done = true
		k.arguments(c)
		k.endCommand()
	default: // the client may not know yet
		c.done = true
	}
}

// learn records the effects of a command on later ones.
func (k *conn) learn(row *Row) {
	switch row.Command {
	case "LOGIN", "AUTHENTICATE":
		k.user = row.User.V
	case "SELECT", "EXAMINE":
		k.mailbox = row.Mailbox.V
	case "CLOSE", "UNSELECT":
		k.mailbox = ""
	case "STARTTLS":
		k.StartTLS()
	case "COMPRESS":
		k.deflated = true
	}
}
