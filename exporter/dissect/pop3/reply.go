package pop3

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/mailhead"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	ok  = "+OK"
	bad = "-ERR"
)

// first reads the first line of a reply.
func first(line []byte) (status string, text []byte) {
	for _, s := range [...]string{ok, bad} {
		if rest, found := bytes.CutPrefix(line, []byte(s)); found && (len(rest) == 0 || rest[0] == ' ') {
			return s, bytes.TrimLeft(rest, " ")
		}
	}
	return "", nil
}

// reply reads a line of the server.
func (k *conn) reply(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	line, n := lines.Next(b)
	if c := k.answering; c != nil {
		if status, _ := first(line); c.gap && status != "" && k.follows(in.Seq(at)) {
			k.emit(c, "") // the end of the content was lost
		} else {
			return k.next(in, at, line, n), nil
		}
	}
	if n == 0 && len(b) < maxLine {
		return 0, nil
	}
	status, text := first(line)
	challenge := k.auth != nil && status == "" && bytes.HasPrefix(line, []byte("+"))
	if n == 0 || n > maxLine || status == "" && !challenge || !lines.Plain(line) {
		return 0, fmt.Errorf("reading a reply: %.40q is not one", b[:min(len(b), maxLine)])
	}
	if challenge {
		k.auth.x.Response(in, at, at+n)
		return n, nil
	}
	c := k.find(in, at)
	c.x.Response(in, at, at+n)
	c.state(status, text)
	k.learn(c)
	if status == ok && long(c.row) {
		k.answering, k.midLine = c, false
		if c.row.Command == "RETR" || c.row.Command == "TOP" {
			c.x.RespBody = k.Conn.NewBody("message/rfc822", "")
			c.row.Size = table.Some(int64(0))
		}
		return n, nil
	}
	k.emit(c, "")
	return n, nil
}

// follows reports whether the client sent a command when it had received the bytes up to seq: what
// begins there answers it.
func (k *conn) follows(seq uint32) bool {
	for _, c := range k.All() {
		if c != k.answering {
			return c.asked.Ack == seq
		}
	}
	return false
}

// find finds the command that a reply answers: none for the greeting.
func (k *conn) find(in *dissect.Input, at int) *call {
	if in.First(at) && !k.inside {
		return &call{row: &Row{Command: "GREETING"}}
	}
	if c := k.Answer(in.Seq(at)); c != nil {
		k.missed = false
		return c
	}
	return &call{row: &Row{Command: "NOTICE", User: table.NonEmpty(k.user)}}
}

// state records the status of a reply and its text.
func (c *call) state(status string, text []byte) {
	row := c.row
	row.Status = table.Some(status)
	if len(text) > 0 && text[0] == '[' {
		if i := bytes.IndexByte(text, ']'); i > 0 && i < 64 {
			row.Code = table.NonEmpty(strings.ToUpper(clip.Line(text[1:i], maxText)))
			text = bytes.TrimLeft(text[i+1:], " ")
		}
	}
	row.Reply = table.NonEmpty(clip.Line(text, maxText))
	if status != ok {
		return
	}
	var a, b int64
	switch n, _ := fmt.Sscanf(row.Reply.V, "%d %d", &a, &b); {
	case n < 2 || a < 0 || b < 0:
	case row.Command == "STAT":
		row.Messages, row.Size = table.Some(a), table.Some(b)
	case row.Command == "LIST" && row.Message.OK:
		row.Size = table.Some(b)
	}
}

// learn records the effects of a reply on later commands.
func (k *conn) learn(c *call) {
	row := c.row
	switch row.Command {
	case "STLS":
		if row.Status.V == ok {
			k.StartTLS()
		}
	case "AUTH":
		c.gap = c.gap || row.Status.V == ok && row.Auth.OK && k.auth == c && k.answers.None()
		k.auth = nil
		row.User = table.NonEmpty(k.user)
	}
}

// next reads a line of a long reply, or as much of it as there is.
func (k *conn) next(in *dissect.Input, at int, line []byte, n int) int {
	c, b := k.answering, in.Data[at:]
	content := c.x.RespBody != nil
	switch {
	case n == 0 && !k.midLine && len(b) < 3 && !in.End: // it may be the end
		return 0
	case n == 0 && !content && len(b) < maxLine && !in.End:
		return 0
	case n == 0:
		n = len(b)
		if b[n-1] == '\r' && n > 1 && !in.End {
			n--
		}
		k.write(in, at, at+n, b[:n])
		k.midLine = true
	case !k.midLine && string(line) == ".":
		c.x.Response(in, at, at+n)
		if content {
			c.x.RespBody.Complete = c.x.RespBody.Lost() == 0 && c.row.Command == "RETR"
		}
		k.emit(c, "")
	default:
		k.write(in, at, at+n, b[:n])
		k.midLine = false
		if !content {
			c.item(line)
		}
	}
	return n
}

// write adds in.Data[from:to] to the reply, without a dot that protects its line (RFC 1939 section 3).
func (k *conn) write(in *dissect.Input, from, to int, b []byte) {
	c := k.answering
	c.x.Response(in, from, to)
	if c.x.RespBody == nil {
		return
	}
	if !k.midLine && b[0] == '.' {
		b = b[1:]
	}
	c.row.Size.V += int64(len(b))
	c.x.RespBody.Write(b)
	c.head.Write(b)
}

// item reads a line of a list.
func (c *call) item(line []byte) {
	row := c.row
	switch row.Command {
	case "CAPA":
		if len(row.Capabilities) < maxCapabilities {
			row.Capabilities = append(row.Capabilities, clip.Line(line, 128))
		}
	case "LIST":
		if _, size, found := bytes.Cut(line, []byte(" ")); found {
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(size)), 10, 40); err == nil && n >= 0 {
				row.Size = table.Some(row.Size.V + n)
			}
		}
		fallthrough
	case "UIDL":
		row.Messages = table.Some(row.Messages.V + 1)
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.Remove(c)
	if k.answering == c {
		k.answering = nil
	}
	if k.auth == c {
		k.auth = nil
	}
	row := c.row
	c.head.End()
	row.MessageID, row.Subject, row.From = c.head.MessageID, c.head.Subject, c.head.From
	switch {
	case c.gap:
		why = string(dissect.LossGap)
	case why == "" && k.missed && !c.x.HasRequest():
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method = table.Some(row.Command)
	if row.Status.OK {
		row.StatusText = row.Status
		if row.Code.OK {
			row.StatusText.V += " " + row.Code.V
		}
		row.Outcome = outcome(row)
	}
	row.Summary = summary(row, why)
	mailhead.Files(&c.x, row.Subject, row.Command == "TOP")
	k.Conn.Emit(&c.x, row)
}

// outcome returns the outcome of a reply (RFC 2449 section 8, RFC 3206).
func outcome(row *Row) string {
	switch {
	case row.Status.V == ok:
		return ""
	case row.Command == "GREETING":
		return table.Refused
	case row.Code.V == "IN-USE" || row.Code.V == "LOGIN-DELAY" || strings.HasPrefix(row.Code.V, "SYS/"):
		return table.ServerError
	}
	return table.ClientError
}

func summary(row *Row, why string) string {
	s := row.Command
	switch row.Command {
	case "PASS", "APOP":
		if s += " " + row.User.V; !row.User.OK {
			s += "?" // USER was not captured
		}
	case "AUTH":
		s += " " + row.Auth.V + " " + row.User.V
	default:
		s += " " + clip.Text([]byte(row.Argument.V), 200)
	}
	s = strings.Join(strings.Fields(s), " ") + " → "
	if row.Size.OK && (row.Command == "RETR" || row.Command == "TOP") {
		if row.Subject.OK {
			s += strconv.Quote(row.Subject.V) + " "
		}
		s += "(" + clip.Count(row.Size.V, "byte", "bytes") + "), "
	}
	if row.Messages.OK {
		s += clip.Count(row.Messages.V, "message", "messages") + ", "
	}
	if row.Status.OK {
		s += strings.TrimSpace(row.StatusText.V + " " + clip.Text([]byte(row.Reply.V), 200))
		if why != "" {
			s += ", "
		}
	}
	return s + why
}
