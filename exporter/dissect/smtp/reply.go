package smtp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/mailhead"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Codes with a meaning of their own.
const (
	codeReady    = 220
	codeBye      = 221
	codeClosing  = 421
	codeContinue = 354
	codeAuth     = 334
)

// reply reads a line of a reply.
func (k *conn) reply(in *dissect.Input, at int) (int, error) {
	line, err := k.replies.Read(in.Data[at:])
	if line.N == 0 {
		return 0, err
	}
	code := k.replies.Code
	if line.First {
		if k.answering = k.find(in, at, code); k.answering == nil {
			k.orphan = &call{row: &Row{Command: "NOTICE"}, over: true}
			switch {
			case k.answersStray(code):
				k.orphan = k.stray
			case !in.First(at) && code != codeClosing:
				k.orphan.why = "no_request" // only 421 comes unasked, RFC 5321 section 3.8
			case in.First(at) && code == codeReady:
				k.orphan.row.Command = "GREETING"
			}
		}
	}
	c := k.orphan
	if s := k.answering; s != nil {
		if c = s.call; s.verb == "EHLO" && c.x.HasResponse() && len(c.row.Extensions) < maxExtensions {
			c.row.Extensions = append(c.row.Extensions, clip.Line(line.Text, 128))
			k.Grow(s, 144)
		}
	}
	c.x.Response(in, at, at+line.N)
	if line.Last {
		k.answered(code)
	}
	return line.N, nil
}

// find finds the command that a reply answers: none for the greeting, and for what the server sends on its own. A code
// of one command alone ends those before it: their replies are missing, or part of another line.
func (k *conn) find(in *dissect.Input, at, code int) *step {
	if in.First(at) && (code == codeReady || len(k.All()) == 0) || k.answersStray(code) {
		return nil
	}
	if s := k.waiting(only[code]); s != nil {
		for k.All()[0] != s {
			k.lose(k.All()[0], string(dissect.LossMalformed))
		}
		return s
	}
	return k.Answer(in.Seq(at))
}

// answersStray reports whether a reply is the one to content whose DATA is not known. What the client sent after it is
// answered later.
func (k *conn) answersStray(code int) bool {
	return k.stray != nil && k.content == nil && code != codeContinue
}

// only has the command that alone is answered with a code.
var only = map[int]string{codeContinue: "DATA", codeAuth: "AUTH", codeBye: "QUIT"}

// isAlone reports whether a code is of this command alone.
func isAlone(verb string) bool {
	for _, v := range only {
		if v == verb {
			return true
		}
	}
	return false
}

// waiting is the oldest command with a verb of only that waits for its reply.
func (k *conn) waiting(verb string) *step {
	list := k.alone[verb]
	for len(list) > 0 && list[0].gone {
		list = list[1:]
	}
	if k.alone[verb] = list; len(list) == 0 {
		delete(k.alone, verb)
		return nil
	}
	return list[0]
}

// remove ends the waiting of a command.
func (k *conn) remove(s *step) {
	k.Remove(s)
	s.gone = true
	k.waiting(s.verb)
}

// answered handles the end of a reply.
func (k *conn) answered(code int) {
	s, c := k.answering, k.orphan
	k.answering, k.orphan = nil, nil
	if s == nil {
		c.note(k, code)
		if k.strays(c, code) {
			return
		}
		if c.row.Command == "NOTICE" {
			c.row.Client, c.row.User = table.NonEmpty(k.client), table.NonEmpty(k.user)
		} else {
			c.why = ""
		}
		k.emit(c, c.why)
		return
	}
	c = s.call
	c.note(k, code)
	switch {
	case s.verb == "DATA" && code == codeContinue:
		if k.mode == modeAsked {
			k.begin(c)
		}
		return
	case s.verb == "AUTH" && code == codeAuth:
		k.auth, k.mode = s, modeSecret
		return
	case s.verb == "RCPT" && len(c.row.To)+len(c.row.Rejected) < maxRecipients:
		if code < 300 {
			c.row.To = append(c.row.To, s.to)
		} else {
			c.row.Rejected = append(c.row.Rejected, strconv.Itoa(code)+" "+s.to)
		}
		c.size += 40 + len(s.to)
	}
	k.remove(s)
	c.steps--
	k.concluded(s, code)
}

// strays handles replies to content whose DATA is not known: 354 before it, and the one after it.
func (k *conn) strays(c *call, code int) bool {
	if code == codeContinue && k.content == nil && k.stray == nil {
		if c.row.Command, c.gap = "MAIL", true; k.mail != nil {
			k.mail.gap = true
		}
		k.stray = c
		k.begin(c)
		return true
	}
	was := k.stray
	if was == nil {
		return false
	}
	if k.stray = nil; k.content == was {
		k.mode, k.content = modeCommand, nil
	}
	k.emit(was, string(dissect.LossGap))
	if c != was {
		c.row.Command = "NOTICE"
		k.emit(c, c.why)
	}
	return true
}

// concluded handles the last reply to a command.
func (k *conn) concluded(s *step, code int) {
	c := s.call
	switch s.verb {
	case "DATA":
		if k.content == c { // rejected, or the end of the content was lost
			if k.mode == modeContent { // it may have another command
				c.gap, k.lossy = true, true
			}
			k.mode, k.content = modeCommand, nil
		}
		c.over = true
	case "BDAT":
		if c.over = c.over || s.last || code >= 400; s.last && code < 400 {
			c.complete()
		}
		if k.content == c && k.mode == modeCommand {
			k.content = nil
		}
	case "MAIL":
		c.over = c.over || code >= 400
	case "AUTH":
		if k.auth = nil; k.mode == modeSecret {
			k.mode = modeCommand
		}
		if code < 300 {
			k.user = c.row.User.V
		}
	case "STARTTLS":
		if code == codeReady {
			k.StartTLS()
		}
	}
	if c.over && c.steps == 0 {
		k.emit(c, c.why)
	}
}

// note records a reply.
func (c *call) note(k *conn, code int) {
	row := c.row
	row.StatusCode = table.Some(int32(code))
	row.Reply = table.NonEmpty(clip.Line(k.replies.Text, maxText))
	if len(row.Codes) < maxCodes {
		row.Codes = append(row.Codes, strconv.Itoa(code))
		c.size += 20
	}
}

// lose ends a command whose reply will not be known.
func (k *conn) lose(s *step, why string) {
	k.remove(s)
	c := s.call
	c.steps--
	if k.answering == s {
		k.answering = nil
	}
	if k.auth == s {
		k.auth = nil
		if k.mode == modeSecret {
			k.mode = modeCommand
		}
	}
	c.why = why
	if c.over = c.over || s.verb == "DATA" || s.last; c.over && c.steps == 0 {
		k.emit(c, why)
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	if k.mail == c {
		k.mail = nil
	}
	if k.content == c {
		k.mode, k.content = modeCommand, nil
	}
	c.headers()
	row := c.row
	if c.gap {
		why = string(dissect.LossGap)
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	if row.Command == "" {
		row.Command = "UNKNOWN"
	}
	row.Method = table.Some(row.Command)
	if row.StatusCode.OK {
		row.StatusText = table.NonEmpty(row.Reply.V)
		row.Outcome = outcome(int(row.StatusCode.V))
	}
	if why != "" && c.steps >= 0 && c.why != "" { // hides the code of the last reply
		row.Outcome = ""
	}
	if why == string(dissect.LossGap) && row.StatusCode.V/100 == 3 { // RFC 5321 section 4.2.1: the last reply is another one
		row.Outcome = table.Unread
	}
	row.Summary = c.summary(why)
	mailhead.Files(&c.x, row.Subject, false)
	k.Conn.Emit(&c.x, row)
}

// outcome returns the outcome of a code, RFC 5321 section 4.2.1.
func outcome(code int) string {
	switch {
	case code < 400:
		return ""
	case code < 500:
		return table.ServerError
	case code == 554 || code == 521:
		return table.Refused
	}
	return table.ClientError
}

func (c *call) summary(why string) string {
	row := c.row
	parts := []string{row.Command}
	switch row.Command {
	case "MAIL":
		from := "?"
		if row.From.OK {
			from = "<" + row.From.V + ">"
		}
		parts = append(parts, from, "to")
		switch {
		case len(row.To) > 0:
			parts = append(parts, "<"+row.To[0]+">")
		default:
			parts = append(parts, "nobody")
		}
		if n := len(row.To) - 1; n > 0 {
			parts = append(parts, fmt.Sprintf("+%d", n))
		}
		if n := len(row.Rejected); n > 0 {
			_, to, _ := strings.Cut(row.Rejected[0], " ")
			refused := "(refused: <" + to + ">"
			if n > 1 {
				refused += fmt.Sprintf(" +%d", n-1)
			}
			parts = append(parts, refused+")")
		}
		if row.Subject.OK {
			parts = append(parts, strconv.Quote(row.Subject.V))
		}
		if row.Size.OK {
			parts = append(parts, "("+clip.Count(int64(row.Size.V), "byte", "bytes")+")")
		}
	case "EHLO", "HELO", "LHLO":
		parts = append(parts, row.Client.V)
	case "AUTH":
		parts = append(parts, row.Auth.V, row.User.V)
	default:
		parts = append(parts, row.Path.V)
	}
	s := strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
	end := why
	if row.StatusCode.OK {
		if end = fmt.Sprintf("%d %s", row.StatusCode.V, row.Reply.V); why != "" {
			end += ", " + why
		}
	}
	if s += " → "; len(s) > 400 {
		s = clip.Text([]byte(s), 400)
	}
	return s + clip.Text([]byte(end), 200)
}
