package telnet

import (
	"bytes"
	_ "embed" // for names.txt
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Commands, RFC 854 page 14, and the first of all commands (RFC 1184).
const (
	eof  = 236
	se   = 240
	sb   = 250
	will = 251
	wont = 252
	dont = 254
	iac  = 255
)

// Options with values that rows have.
const (
	optEcho           = 1
	optTerminal       = 24
	optAuthentication = 37
	optEnviron        = 39
)

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// command reads a command at in.Data[at:].
func (k *conn) command(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	n := 2
	switch {
	case len(b) < 2:
		return 0, nil
	case b[1] < eof:
		return 0, fmt.Errorf("reading a command: %d is not one", b[1])
	case b[1] >= will:
		n = 3
	case b[1] == sb:
		if n = endOf(b); n == 0 && len(b) >= maxOption {
			return 0, fmt.Errorf("reading an option: its values have more than %d bytes", maxOption)
		}
	}
	if n == 0 || len(b) < n {
		return 0, nil
	}
	c := k.open()
	c.x.Add(in, at, at+n)
	row := c.row
	switch {
	case b[1] >= will:
		if b[2] == optEcho && in.Dir == dissect.ToClient && b[1] <= wont {
			k.echoes = b[1] == will
		}
		if len(row.Options) < maxOptions {
			row.Options = append(row.Options, in.Dir.Sender()+" "+tables()["command"].Name(int64(b[1]), "")+" "+tables()["option"].Name(int64(b[2]), "option_"))
		}
	case b[1] == sb && n > 6 && in.Dir == dissect.ToServer:
		k.values(in, at, c, b[2], b[3:n-2])
	}
	return n, nil
}

// endOf is the length of an option with values at the front of b, 0 if its end is missing.
func endOf(b []byte) int {
	for i := 2; i+1 < len(b); i++ {
		if b[i] == iac {
			if b[i+1] == se {
				return i + 2
			}
			i++
		}
	}
	return 0
}

// values reads the values of an option of the client.
func (k *conn) values(in *dissect.Input, at int, c *call, option byte, v []byte) {
	switch {
	case option == optTerminal && v[0] == 0: // IS, RFC 1091
		c.row.Terminal = table.NonEmpty(clip.Line(v[1:], 64))
	case option == optEnviron && v[0] != 1: // IS or INFO, RFC 1572: VAR and USERVAR begin a name, VALUE its value
		for _, v := range bytes.FieldsFunc(v[1:], func(r rune) bool { return r == 0 || r == 3 }) {
			if name, value, _ := bytes.Cut(v, []byte{1}); string(name) == "USER" {
				k.named(c, value)
			}
		}
	case option == optAuthentication && v[0] == 3: // NAME, RFC 2941
		k.named(c, v[1:])
	case option == optAuthentication:
		c.x.Hide(in, at+4, at+3+len(v))
		c.row.AuthKind = table.Some("other")
	}
}

func (k *conn) named(c *call, name []byte) {
	k.user = clip.Line(name, maxLine)
	c.row.User = table.NonEmpty(k.user)
}

// offers are the negotiations that one side begins in practice: a server asks about the terminal and offers to echo, a client
// offers its terminal and lets the server echo.
func offers(dir dissect.Dir, b []byte) bool {
	asks := b[1] == will || b[1] == wont
	if b[2] != optEcho && b[2] != 3 && b[2] != 5 {
		asks = !asks
	}
	return asks == (dir == dissect.ToClient)
}

// detect accepts two negotiations in a row that this side begins, or others with less certainty. Texts do not begin with 255.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	v := negotiates(b)
	if v == dissect.Yes && !offers(dir, b) {
		return dissect.Likely
	}
	return v
}

// negotiates accepts two negotiations in a row, or one alone.
func negotiates(b []byte) dissect.Verdict {
	v := dissect.More
	for range 2 {
		switch n := len(b); {
		case n > 0 && b[0] != iac, n > 1 && (b[1] < will || b[1] > dont) && (v == dissect.More || b[1] != sb),
			n > 2 && tables()["option"][int64(b[2])] == "":
			if v == dissect.Likely && n > 0 && b[0] != iac && (b[0] >= ' ' && b[0] < 0x7f || b[0] == '\r' || b[0] == '\n') {
				return v // text follows
			}
			return dissect.No
		case n == 0:
			return v
		case n < 3:
			return dissect.More
		}
		v, b = dissect.Likely, b[3:]
	}
	return dissect.Yes
}

// detectOnPort also accepts a prompt for a login, of a server that negotiates nothing.
func detectOnPort(dir dissect.Dir, b []byte) dissect.Verdict {
	if i := bytes.LastIndexByte(b, '\n'); dir == dissect.ToClient && clip.Printable(bytes.TrimSpace(b[i+1:])) && asks(string(b[i+1:])) != nothing {
		return dissect.Yes
	}
	return dissect.No
}
