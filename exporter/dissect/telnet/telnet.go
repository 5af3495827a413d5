// Package telnet reads Telnet (RFC 854): options, what the client types, what the server answers, and logins.
//
// A row is what the client typed with the server's text until the client types again. A login, of which the server's prompts
// ask for user and password, is one row. Nothing that a person would not see while typing leaves the package.
package telnet

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one row.
const (
	maxInput   = 1 << 10
	maxOutput  = 4 << 10
	maxLine    = 256 // bytes of a line of the server that are looked at
	maxOption  = 4 << 10
	maxOptions = 64
)

// Row is what the client typed with the server's text.
type Row struct {
	table.Call
	User     table.Opt[string] `col:"telnet_user" enc:"dict" doc:"user of the login: typed at a prompt, or sent by an option"`
	Input    table.Opt[string] `col:"telnet_input" doc:"what the client typed, at most 1 KiB; null for passwords and for what the server did not echo although it echoes"`
	Output   table.Opt[string] `col:"telnet_output" doc:"text of the server that followed, without control sequences, at most 4 KiB"`
	Hidden   bool              `col:"telnet_hidden" doc:"the client typed what telnet_input does not have: a secret, or what may be one"`
	Options  []string          `col:"telnet_options" doc:"options negotiated in this row, such as server WILL ECHO; at most 64"`
	Terminal table.Opt[string] `col:"telnet_terminal" enc:"dict" doc:"terminal type that the client sent"`
}

// Protocol is Telnet.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "telnet",
		Doc:        "Telnet: options, text of both sides, logins",
		Versions:   "RFC 854, 855, 1091, 1572, 2941",
		Depth:      "lines with the server's text, logins, and options",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{23, 2323},
		Detect:     detect, DetectOnPort: detectOnPort,
		Resume: func(dissect.Dir, []byte) dissect.Verdict { return dissect.Likely }, // text has no form
		New:    newConn,
		Row:    &Row{},
		Traits: table.Traits{Login: true, Before: "method IN ('CONNECT', 'LOGIN')"},
	}
}

// call is a row in the making.
type call struct {
	x      dissect.Exchange
	row    *Row
	line   []byte // what the client types
	input  []byte // the lines before it
	echo   []byte // text of the server while the client types
	out    []byte // text of the server after that
	ended  bool   // the client ended its line
	answer bool   // the server's text followed
	asked  stage  // what the client types, or typed last
	secret []byte // the password
	gap    bool   // bytes of it are missing
	doubt  bool   // a prompt may be missing
}

// conn is the state of a connection.
type conn struct {
	c      *dissect.Conn
	cur    *call
	last   []byte // last line of the server, without control sequences
	escape escape
	failed string // a line that states a failure, since the client's last line
	greets bool   // a line greets a user
	echoes bool   // the server echoes
	after  bool   // the client sent CR, and LF or NUL may follow
	user   string // sent by an option
	lost   bool   // bytes before the next row are missing
}

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c} }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	return in.Each(func(at int) (int, error) {
		b := in.Data[at:]
		switch {
		case b[0] == iac && (len(b) < 2 || b[1] != iac):
			return k.command(in, at)
		case in.Dir == dissect.ToServer:
			return k.typed(in, at, run(b)), nil
		}
		n := run(b)
		k.say(in, at, n)
		return n, nil
	})
}

// run is the length of the text at the front of b.
func run(b []byte) int {
	for i, c := range b {
		if c == iac {
			if i == 0 {
				return 2 // a doubled one is a byte of text
			}
			return i
		}
	}
	return len(b)
}

// begin begins a row.
func (k *conn) begin(method string) *call {
	k.cur = &call{row: &Row{}, gap: k.lost, doubt: k.lost}
	k.lost = false
	k.cur.row.Method = table.Some(method)
	return k.cur
}

// open is the row that is being made. The first one has what comes before the client types.
func (k *conn) open() *call {
	if k.cur == nil {
		k.begin("CONNECT").ended = true
	}
	return k.cur
}

// Gap implements dissect.Dissector: text continues after a gap, but a prompt may be missing.
func (k *conn) Gap(in *dissect.Input, _ int64) bool {
	k.lose()
	return len(in.Data) == 0
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dissect.Dir, dissect.Loss) {
	k.lose()
}

func (k *conn) lose() {
	c := k.open()
	c.gap, c.doubt, c.answer, c.secret = true, true, false, nil
	k.last = k.last[:0]
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := cap(k.last)
	if c := k.cur; c != nil {
		n += int(unsafe.Sizeof(*c)+unsafe.Sizeof(*c.row)) + cap(c.line) + cap(c.input) + cap(c.echo) + cap(c.out)
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	c := k.cur
	if c == nil {
		return false
	}
	k.emit("cut")
	if !c.ended || c.asked != nothing { // the rest may be a secret
		k.begin("LINE").doubt = true
	}
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	c := k.cur
	switch {
	case c == nil:
	case c.answer || c.row.Method.V == "CONNECT" && (why != dissect.EndReset || c.x.HasResponse()):
		k.emit("")
	default:
		k.emit(why.CallError())
	}
}
