package pop3

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

// commands are those of RFC 1939 and its extensions.
var commands = map[string]bool{"USER": true, "PASS": true, "APOP": true, "AUTH": true, "QUIT": true, "STAT": true, "LIST": true, "RETR": true, "DELE": true, "NOOP": true,
	"RSET": true, "TOP": true, "UIDL": true, "CAPA": true, "STLS": true, "UTF8": true, "LANG": true, "LAST": true, "RPOP": true, "XTND": true}

// errCommand does not show the line, which may be a password.
var errCommand = errors.New("reading a command: the line has no command of POP3")

// command reads a line of the client.
func (k *conn) command(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	line, n := lines.Next(b)
	switch {
	case n == 0 && len(b) < maxLine:
		return 0, nil
	case n == 0 || n > maxLine:
		return 0, fmt.Errorf("reading a command: a line of more than %d bytes", maxLine)
	}
	verb, rest := lines.Verb(line)
	if k.auth != nil && !commands[verb] {
		k.secret(in, at, n, line)
		return n, nil
	}
	if !lines.Plain(line) || !commands[verb] && (k.Conn.Unproved() || verb == "") {
		return 0, errCommand
	}
	c := &call{row: &Row{Command: verb}}
	c.x.Request(in, at, at+n)
	k.arguments(in, at+len(line), c, rest)
	c.row.User = table.NonEmpty(k.user)
	c.row.Ahead = int32(k.Push(c, in.Packet(at).Ack, callCost+2*n))
	return n, nil
}

// arguments reads the arguments of a command, which end at end.
func (k *conn) arguments(in *dissect.Input, end int, c *call, rest []byte) {
	row := c.row
	switch row.Command {
	case "PASS":
		row.AuthKind = table.Some("password")
		k.Conn.Password(k.user, string(rest))
		c.x.Hide(in, end-len(rest), end)
		return
	case "APOP": // a name, and a digest of the password with the server's time stamp
		name, digest, _ := bytes.Cut(rest, []byte(" "))
		row.AuthKind = table.Some("apop")
		k.user = clip.Line(name, maxText)
		c.x.Hide(in, end-len(digest), end)
		return
	case "AUTH":
		mechanism, initial, _ := bytes.Cut(rest, []byte(" "))
		c.x.Hide(in, end-len(initial), end)
		k.auth = c
		if k.answers.Begin(); sasl.Valid(mechanism) {
			name := strings.ToUpper(string(mechanism))
			row.Argument, row.Auth, row.AuthKind = table.Some(name), table.Some(name), table.Some(sasl.Kind(name))
		}
		k.named(c, initial)
		return
	case "USER":
		k.user = clip.Line(rest, maxText)
	}
	row.Argument = table.NonEmpty(clip.Line(rest, maxText))
	first, _, _ := bytes.Cut(rest, []byte(" "))
	if n, err := strconv.ParseInt(string(first), 10, 64); err == nil && n >= 0 && row.Command != "USER" {
		row.Message = table.Some(n)
	}
}

// secret reads an answer to a challenge.
func (k *conn) secret(in *dissect.Input, at, n int, line []byte) {
	k.auth.x.Request(in, at, at+n)
	k.auth.x.Hide(in, at, at+len(line))
	k.named(k.auth, line)
}

// named reads the user from an answer.
func (k *conn) named(c *call, answer []byte) {
	if len(answer) == 0 {
		return
	}
	if user := k.answers.User(k.Conn, c.row.Auth.V, answer); len(user) > 0 {
		k.user = clip.Line(user, maxText)
		c.row.User = table.NonEmpty(k.user)
	}
}

// long reports whether the reply to a command has more lines if it is +OK.
func long(row *Row) bool {
	switch row.Command {
	case "RETR", "TOP", "CAPA", "XTND":
		return true
	case "LIST", "UIDL", "LANG", "AUTH":
		return !row.Argument.OK
	}
	return false
}
