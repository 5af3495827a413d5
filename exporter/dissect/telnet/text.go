package telnet

import (
	"bytes"
	"cmp"
	"regexp"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// stage is what a prompt asks for.
type stage uint8

const (
	nothing  stage = iota
	user           // of a login
	password       // of a login
	secret         // a secret that is not the password of a login: a new one, or a code
)

var (
	asksUser   = regexp.MustCompile(`(?i)(login|user ?-?(name|id)?|account|benutzer(name)?|utilisateur|usuario|用户名|username)( \([^)]*\))?\s*[:：>]\s*$`)
	asksSecret = regexp.MustCompile(`(?i)(pass ?(word|wd|code|phrase)|passwort|kennwort|mot de passe|contrase.{1,2}a|senha|密码|口令|パスワード|\bpin\b|\bsecret|\bcode\b|token|\botp\b)[^:：]{0,80}[:：>]?\s*$`)
	asksOther  = regexp.MustCompile(`(?i)(\bnew\b|retype|re-?enter|again|confirm|\bpin\b|\bcode\b|token|\botp\b|phrase)`)
	asksShell  = regexp.MustCompile(`[#$%>]\s*$`)
	ofUser     = regexp.MustCompile(`(?i)(?:for |^)([\w.@\\-]{1,64})(?:'s)?(?: password)?\s*:\s*$`)
	failure    = regexp.MustCompile(`(?i)\b(incorrect|invalid|fail(s|ed|ure)?|denied|bad (pass\w*|login|user\w*)|wrong|not (authorized|allowed|permitted)|unauthori[sz]ed|rejected|locked|unknown user|error)\b`)
	notFailure = regexp.MustCompile(`(?i)^(last failed login|there (was|were) )`)
	success    = regexp.MustCompile(`(?i)(^last login|^welcome\b|\blogged in\b|login successful|authentication successful)`)
)

// asks is what the last line of the server asks for.
func asks(line string) stage {
	switch {
	case asksUser.MatchString(line) && !strings.HasPrefix(strings.ToLower(line), "last login"):
		return user
	case !asksSecret.MatchString(line):
		return nothing
	case asksOther.MatchString(line):
		return secret
	}
	return password
}

// typed reads text of the client, in.Data[at:at+n], as far as it belongs to one line. It returns how much that is.
func (k *conn) typed(in *dissect.Input, at, n int) int {
	b := in.Data[at : at+n]
	if k.after && (b[0] == '\n' || b[0] == 0) {
		k.after = false
		k.open().x.Request(in, at, at+1)
		return 1
	}
	k.after = false
	c := k.open()
	if c.ended && c.answer || !c.doubt && !c.answer && c.row.Method.V == "CONNECT" {
		c = k.ask()
	} else if c.ended { // it types ahead: the next line of the same row
		c.ended, c.doubt = false, c.doubt || c.asked != nothing
		if c.asked == user {
			c.asked = password
		}
	}
	end := bytes.IndexAny(b, "\r\n")
	text := b
	if end >= 0 {
		text, b = b[:end], b[:end+1]
		k.after = b[end] == '\r'
	}
	c.x.Request(in, at, at+len(b))
	if c.asked != user { // what the server echoes is no secret: emit knows
		c.x.Hide(in, at, at+len(text))
	}
	c.edit(text)
	if end >= 0 {
		k.enter(c)
	}
	return len(b)
}

// ask begins a row for what the client types now, unless a login continues with it.
func (k *conn) ask() *call {
	line := clip.Line(k.last, maxLine)
	what := asks(line)
	c := k.cur
	if c.row.Method.V == "CONNECT" && !c.answer && k.last == nil { // before any prompt: user and password follow
		what = user
	}
	if c.asked == user && c.ended && what == password {
		c.asked, c.ended, c.answer = what, false, false
		return c
	}
	doubt := c.doubt
	k.emit("")
	method := "LINE"
	if what == user || what == password {
		method = "LOGIN"
	}
	c = k.begin(method)
	c.asked, c.gap = what, doubt // what came before may belong to it
	if what == password {
		c.row.User = table.NonEmpty(k.user)
		if m := ofUser.FindStringSubmatch(line); m != nil && !asksSecret.MatchString(m[1]+":") {
			c.row.User = table.Some(m[1])
		}
	}
	return c
}

// edit adds what the client types to its line, with the keys that erase.
func (c *call) edit(text []byte) {
	for _, b := range text {
		switch {
		case b == 8 || b == 0x7f:
			c.line = c.line[:max(len(c.line)-1, 0)]
		case b == 0x15: // Ctrl-U
			c.line = c.line[:0]
		case b >= ' ' && b != iac && len(c.line) < maxInput:
			c.line = append(c.line, b)
		}
	}
}

// enter ends the client's line.
func (k *conn) enter(c *call) {
	switch c.asked {
	case user:
		c.row.User = table.NonEmpty(clip.Line(bytes.TrimSpace(c.line), maxLine))
	case password:
		if !c.row.AuthKind.OK { // else the client types ahead
			c.row.AuthKind, c.secret = table.Some("password"), c.line
			k.c.Password(c.row.User.V, string(c.line))
		}
	}
	if c.asked == nothing && len(c.input)+len(c.line) < maxInput {
		if len(c.input) > 0 {
			c.input = append(c.input, '\n')
		}
		c.input = append(c.input, c.line...)
	}
	c.row.Hidden = c.row.Hidden || c.asked == password || c.asked == secret
	c.line, c.ended, c.answer, c.out = nil, true, false, c.out[:0]
	k.last, k.failed, k.greets = k.last[:0], "", false
}

// say reads text of the server, in.Data[at:at+n].
func (k *conn) say(in *dissect.Input, at, n int) {
	c := k.open()
	c.x.Response(in, at, at+n)
	for _, b := range in.Data[at : at+n] {
		if !k.escape.shows(b) {
			continue
		}
		if b == '\n' {
			k.endLine()
			c.answer = c.answer || c.doubt && c.ended
		} else {
			if len(k.last) < maxLine {
				k.last = append(k.last, b)
			}
			c.answer = c.answer || !c.doubt && c.ended && b > ' '
		}
		if !c.ended && len(c.echo) < maxInput {
			c.echo = append(c.echo, b)
		} else if c.ended && len(c.out) < maxOutput {
			c.out = append(c.out, b)
		}
	}
}

// endLine looks at a line of the server for the result of a login.
func (k *conn) endLine() {
	line := strings.TrimSpace(clip.Line(k.last, maxLine))
	k.last = k.last[:0]
	switch {
	case notFailure.MatchString(line):
	case success.MatchString(line):
		k.greets = true
	case k.failed == "" && failure.MatchString(line):
		k.failed = line
	}
}

// emit emits the row that is being made. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(why string) {
	c, row := k.cur, k.cur.row
	k.cur = nil
	if !c.x.HasRequest() && !c.x.HasResponse() { // only a loss
		k.lost = c.gap
		return
	}
	if c.gap {
		why = string(dissect.LossGap)
	}
	if row.Method.V == "LOGIN" {
		k.result(c, &why)
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && (row.Method.V != "CONNECT" || len(c.out) > 0) // a loss before the first text shows later
	if len(c.line) > 0 && c.asked == nothing {
		c.input = append(c.input, c.line...)
	}
	if first, rest, ended := bytes.Cut(c.out, []byte("\n")); ended && k.echoes && len(first) > 0 && bytes.HasSuffix(c.input, first) {
		c.echo, c.out = append(c.echo, first...), rest // an echo that came late
	}
	if len(c.input) > 0 && (c.doubt || k.echoes && !echoed(c)) {
		row.Hidden, c.input = true, nil
	}
	row.Hidden = row.Hidden || len(c.line) > 0 && (c.asked == password || c.asked == secret)
	switch {
	case !row.Hidden && !row.AuthKind.OK:
		k.c.Unhide(&c.x)
	case !row.AuthKind.OK:
		row.AuthKind = table.Some("other") // it may be a secret
	}
	if len(c.secret) >= 3 { // a server that echoes it
		c.out = bytes.ReplaceAll(c.out, c.secret, []byte("***"))
	}
	row.Input = table.NonEmpty(clip.Text(c.input, maxInput))
	row.Output = table.NonEmpty(strings.TrimSpace(strings.ReplaceAll(clip.Text(c.out, maxOutput), "\r", "")))
	k.summary(c, why)
	k.c.Emit(&c.x, row)
}

// echoed reports whether the server repeated what the client typed, before or after the end of its line.
func echoed(c *call) bool {
	first, _, _ := bytes.Cut(c.input, []byte("\n"))
	return len(c.echo)*2 >= len(first) || bytes.Contains(c.out, first)
}

// result sets the outcome of a login, if the server's text shows it.
func (k *conn) result(c *call, why *string) {
	line := clip.Line(k.last, maxLine)
	again := asks(line)
	switch {
	case !c.row.AuthKind.OK && (c.asked == password || again != nothing || !c.answer):
	case !c.answer:
		return // the reason is in why
	case again == user || again == password:
		c.row.Outcome, c.row.StatusText = table.ClientError, table.Some(cmp.Or(k.failed, strings.TrimSpace(line)))
	case asksShell.MatchString(line):
		c.row.Outcome = table.OK
	case k.failed != "":
		c.row.Outcome, c.row.StatusText = table.ClientError, table.Some(k.failed)
	case k.greets || again == secret:
		c.row.Outcome = table.OK
	}
	switch {
	case c.row.Outcome == table.OK && !c.row.AuthKind.OK:
		c.row.AuthKind = table.Some("none")
	case c.row.Outcome == "" && *why == "":
		*why = "unread"
	}
}

// summary writes the row in one line.
func (k *conn) summary(c *call, why string) {
	row := c.row
	s := row.Input.V
	switch {
	case row.Method.V == "LOGIN":
		s = "LOGIN " + row.User.V
	case row.Method.V == "CONNECT":
		s = "CONNECT"
	case s == "" && row.Hidden:
		s = "(hidden)"
	}
	text, _ := lines.Next([]byte(row.Output.V + "\n"))
	answer := strings.TrimSpace(clip.Text(text, 120))
	if row.Method.V == "LOGIN" && row.StatusText.OK {
		answer = row.StatusText.V
	} else if row.Method.V == "LOGIN" && row.Outcome == table.OK {
		answer = "logged in"
	}
	row.Summary = strings.TrimSpace(clip.Line([]byte(s), 200)) + " → " + cmp.Or(answer, why, "no text")
}

// escape skips control characters and the sequences that begin with ESC (ECMA-48 section 5.4).
type escape uint8

// shows reports whether a byte is text: a line feed, or a character that is not a part of a sequence.
func (e *escape) shows(b byte) bool {
	switch {
	case b == 0x1b:
		*e = 1
	case *e == 1 && (b == '[' || b == '('):
		*e = 2
	case *e == 1 && b == ']': // a title, which ends with BEL
		*e = 3
	case *e == 1:
		*e = 0
	case *e == 2:
		if b >= '@' && b <= '~' {
			*e = 0
		}
	case *e == 3:
		if b == 7 || b == '\n' {
			*e = 0
		}
	default:
		return b >= ' ' && b != 0x7f || b == '\n' || b == '\t'
	}
	return false
}
