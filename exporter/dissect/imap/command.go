package imap

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// commands are those of RFC 3501, RFC 9051 and their extensions. For true, the first argument is a
// mailbox.
var commands = map[string]bool{"CAPABILITY": false, "NOOP": false, "LOGOUT": false, "STARTTLS": false, "AUTHENTICATE": false, "LOGIN": false, "ENABLE": false,
	"SELECT": true, "EXAMINE": true, "CREATE": true, "DELETE": true, "RENAME": true, "SUBSCRIBE": true, "UNSUBSCRIBE": true, "LIST": false, "LSUB": false, "XLIST": false,
	"NAMESPACE": false, "STATUS": true, "APPEND": true, "IDLE": false, "CLOSE": false, "UNSELECT": false, "EXPUNGE": false, "SEARCH": false, "FETCH": false,
	"STORE": false, "COPY": false, "MOVE": false, "CHECK": false, "ID": false, "SORT": false, "THREAD": false, "COMPRESS": false, "GETQUOTA": false, "GETQUOTAROOT": true,
	"SETQUOTA": false, "GETACL": true, "SETACL": true, "DELETEACL": true, "MYRIGHTS": true, "LISTRIGHTS": true, "GETMETADATA": true, "SETMETADATA": true, "NOTIFY": false,
	"UNAUTHENTICATE": false, "REPLACE": false, "GENURLAUTH": false, "URLFETCH": false, "CANCELUPDATE": false, "ESEARCH": false, "LANGUAGE": false, "COMPARATOR": false,
	"UID FETCH": false, "UID STORE": false, "UID SEARCH": false, "UID COPY": false, "UID MOVE": false, "UID EXPUNGE": false, "UID SORT": false, "UID THREAD": false, "UID REPLACE": false}

// split reads tag, command and arguments of a line. The tag is empty if the line is not a command: of one that is not
// known, the tag has a digit.
func split(line []byte) (tag, verb string, rest []byte) {
	word, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || !isTag(word) {
		return "", "", nil
	}
	verb, rest = lines.Verb(rest)
	if verb == "UID" {
		verb, rest = lines.Verb(rest)
		verb = "UID " + verb
	}
	if _, known := commands[verb]; verb == "" || !known && !bytes.ContainsAny(word, digits) {
		return "", "", nil
	}
	return string(word), verb, rest
}

const digits = "0123456789"

// isTag reports whether b is a tag as clients make them: letters, digits and few other characters.
func isTag(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxTag
}

// errCommand does not show the line, which may be a password.
var errCommand = errors.New("reading a command: the line has no tag and command of IMAP")

// client1 reads a line of the client, or a piece of a literal.
func (k *conn) client1(in *dissect.Input, at int) (int, error) {
	if k.deflated {
		return 0, errDeflated
	}
	b := in.Data[at:]
	if k.left > 0 {
		n := int(min(k.left, int64(len(b))))
		k.literal(in, at, at+n)
		return n, nil
	}
	line, n := lines.Next(b)
	switch {
	case n == 0 && len(b) < maxLine:
		return 0, nil
	case n == 0 || n > maxLine:
		return 0, fmt.Errorf("reading a command: a line of more than %d bytes", maxLine)
	case !lines.Plain(line):
		return 0, errCommand
	case k.cmd != nil:
		k.reading().x.Request(in, at, at+n)
		k.piece(in, at, line)
		return n, nil
	case k.auth != nil && bytes.IndexByte(line, ' ') < 0:
		k.secret(in, at, n, line)
		return n, nil
	case k.idle != nil && bytes.EqualFold(line, []byte("DONE")):
		k.idle.x.Request(in, at, at+n)
		return n, nil
	}
	tag, verb, rest := split(line)
	if tag == "" {
		return 0, errCommand
	}
	if k.orphan != nil && k.reply.call != k.orphan {
		k.emit(k.orphan, "")
	}
	row := &Row{Command: verb, Tag: table.Some(clip.Line([]byte(tag), maxTag)), User: table.NonEmpty(k.user), Mailbox: table.NonEmpty(k.mailbox), Ahead: int32(k.Len())}
	k.sent++
	c := &call{row: row, tag: tag, no: k.sent}
	c.x.Request(in, at, at+n)
	k.Put(tag, c, callCost+maxText+len(tag))
	k.cmd, k.args, k.hide = c, k.args[:0], false
	switch verb {
	case "AUTHENTICATE":
		k.auth = c
		k.answers.Begin()
	case "IDLE":
		k.idle = c
	}
	k.piece(in, at+len(line)-len(rest), rest)
	return n, nil
}

// reading is the command that the client sends. It may have been dropped.
func (k *conn) reading() *call {
	if k.cmd == nil {
		k.cmd = &call{row: &Row{Command: "UNKNOWN"}, gap: true}
	}
	return k.cmd
}

// piece reads the arguments in a line at in.Data[at], up to the end of the command or to a literal.
func (k *conn) piece(in *dissect.Input, at int, line []byte) {
	c := k.cmd
	text, size, sync, more := literalAt(line)
	switch {
	case k.hide:
		c.x.Hide(in, at, at+len(text))
		text = nil
	case c.row.Command == "LOGIN":
		k.login(in, at, text, more)
		text = nil
	case c.row.Command == "AUTHENTICATE":
		mechanism, initial, _ := bytes.Cut(text, []byte(" "))
		if sasl.Valid(mechanism) {
			name := strings.ToUpper(string(mechanism))
			c.row.Auth, c.row.AuthKind = table.Some(name), table.Some(sasl.Kind(name))
			text = mechanism
		} else {
			text = nil
		}
		if k.hide = true; len(initial) > 0 {
			c.x.Hide(in, at+len(mechanism)+1, at+len(mechanism)+1+len(initial))
			k.named(c, initial)
		}
	}
	k.keepArgs(text)
	if !more {
		k.arguments(c)
		k.endCommand()
		return
	}
	k.left, k.asked = size, sync
	switch {
	case c.row.Command == "APPEND" || c.row.Command == "REPLACE" || c.row.Command == "UID REPLACE":
		if c.x.ReqBody == nil {
			c.x.ReqBody = k.Conn.NewBody("message/rfc822", "")
		}
		c.row.Size = table.Some(c.row.Size.V + size)
		fallthrough
	case size > maxShown:
		k.keepArgs(fmt.Appendf(nil, "{%d}", size))
	case k.hide:
	case size == 0:
		k.keepArgs([]byte(`""`))
	default:
		k.keepArgs([]byte{'"'})
	}
}

func (k *conn) keepArgs(b []byte) { k.args = append(k.args, b[:min(len(b), 4*maxText-len(k.args))]...) }

// literalAt is a line without the announcement of a literal at its end (RFC 9051 section 4.3).
func literalAt(line []byte) (text []byte, size int64, sync, more bool) {
	i := bytes.LastIndexByte(line, '{')
	if i < 0 || line[len(line)-1] != '}' {
		return line, 0, false, false
	}
	digits, fast := bytes.CutSuffix(line[i+1:len(line)-1], []byte("+"))
	if !fast {
		digits, fast = bytes.CutSuffix(digits, []byte("-"))
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || n < 0 || n > maxLiteral || digits[0] == '+' {
		return line, 0, false, false
	}
	return bytes.TrimSuffix(line[:i], []byte("~")), n, !fast, true
}

// literal reads in.Data[from:to], a piece of a literal.
func (k *conn) literal(in *dissect.Input, from, to int) {
	c, b := k.reading(), in.Data[from:to]
	c.x.Request(in, from, to)
	k.left -= int64(len(b))
	k.asked = false
	switch {
	case k.hide:
		c.x.Hide(in, from, to)
	case c.x.ReqBody != nil:
		c.x.ReqBody.Write(b)
		c.head.Write(b)
		if k.left == 0 {
			c.head.End()
			c.x.ReqBody.Complete = c.x.ReqBody.Lost() == 0
		}
	case len(k.args) > 0 && k.args[len(k.args)-1] != '}':
		k.keepArgs(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte{'\\'}, []byte(`\\`)), []byte{'"'}, []byte(`\"`)))
		if k.left == 0 {
			k.keepArgs([]byte{'"'})
		}
	}
}

// login returns the user from the arguments of LOGIN; the rest is secret.
func (k *conn) login(in *dissect.Input, at int, text []byte, more bool) {
	c := k.cmd
	c.row.AuthKind = table.Some("password")
	before := len(k.args)
	k.keepArgs(text)
	user, rest, ok := astring(bytes.TrimLeft(k.args, " "))
	secret := len(text)
	switch {
	case ok && len(k.args)-before == len(text):
		secret = min(len(bytes.TrimLeft(rest, " ")), len(text))
		c.row.User = table.NonEmpty(clip.Line(user, maxText))
		k.hide = true
		if password, _, ok := astring(bytes.TrimLeft(rest, " ")); ok {
			k.Conn.Password(c.row.User.V, string(password))
		}
	case more && len(bytes.TrimSpace(k.args)) == 0: // the user is a literal
		return
	default:
		k.hide = true
	}
	k.args = k.args[:0]
	c.x.Hide(in, at+len(text)-secret, at+len(text))
}

// astring reads an atom or a quoted string and returns the rest.
func astring(b []byte) (s, rest []byte, ok bool) {
	if len(b) == 0 || b[0] == '{' {
		return nil, nil, false
	}
	if b[0] != '"' {
		i := bytes.IndexByte(b, ' ')
		if i < 0 {
			i = len(b)
		}
		return b[:i], b[i:], true
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return s, b[i+1:], true
		case '\\':
			if i++; i == len(b) {
				return nil, nil, false
			}
		}
		s = append(s, b[i])
	}
	return nil, nil, false
}

// arguments fills the columns of a complete command.
func (k *conn) arguments(c *call) {
	row := c.row
	if row.Command == "LOGIN" {
		return
	}
	row.Argument = table.NonEmpty(clip.Line(k.args, maxText))
	if commands[row.Command] {
		if name, _, ok := astring(k.args); ok {
			row.Mailbox = table.NonEmpty(clip.Line(mailbox(name), maxText))
		}
	}
}

// endCommand ends the command that the client sends.
func (k *conn) endCommand() {
	c := k.cmd
	k.cmd, k.left, k.hide = nil, 0, false
	switch {
	case c == nil:
	case !c.row.Tag.OK: // given up before it was complete
		k.emit(c, "cut")
	case c.done:
		k.emit(c, "")
	}
	if cap(k.args) > maxText {
		k.args = nil
	}
}

// secret reads an answer to a challenge.
func (k *conn) secret(in *dissect.Input, at, n int, line []byte) {
	c := k.auth
	c.x.Request(in, at, at+n)
	c.x.Hide(in, at, at+len(line))
	k.named(c, line)
}

// named reads the user from an answer.
func (k *conn) named(c *call, answer []byte) {
	if user := k.answers.User(k.Conn, c.row.Auth.V, answer); len(user) > 0 {
		c.row.User = table.NonEmpty(clip.Line(user, maxText))
	}
}
