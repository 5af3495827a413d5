// Package irc reads IRC (RFC 1459, RFC 2812) with IRCv3's capabilities and SASL, and files that are sent by DCC.
//
// A row is a command of the client with the server's replies, or a message of the server that answers none. Passwords never
// leave the package.
package irc

import (
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one line and of one connection.
const (
	maxLine    = 16 << 10 // bytes, with IRCv3's tags and those of servers that allow more
	maxText    = 1 << 10
	maxPending = 64 // commands that wait for replies
	maxHeld    = 16 // messages that wait for their file
)

// Row is a command with its replies, or a message of the server.
type Row struct {
	table.Call
	Command string            `col:"irc_command" enc:"dict" doc:"command, or the number of a reply without a command; DCC SEND for an offered file"`
	Source  table.Opt[string] `col:"irc_source" enc:"dict" doc:"who sent a message of the server: nick!user@host, or a server"`
	Nick    table.Opt[string] `col:"irc_nick" enc:"dict" doc:"nickname of the client"`
	User    table.Opt[string] `col:"irc_user" enc:"dict" doc:"user name of the client: of USER, OPER, or the login"`
	Target  table.Opt[string] `col:"irc_target" enc:"dict" doc:"channel or nickname that the message is about"`
	Text    table.Opt[string] `col:"irc_text" doc:"other parameters of the command, at most 1 KiB; null for passwords and keys of channels"`
	Reply   table.Opt[string] `col:"irc_reply" doc:"text of the last reply, at most 1 KiB"`
	Replies int32             `col:"irc_replies" doc:"lines of the server that answer the command"`
	File    table.Opt[string] `col:"irc_dcc_file" doc:"name of the file that DCC offers"`
	Size    table.Opt[int64]  `col:"irc_dcc_size" unit:"bytes" doc:"its size, as offered"`
	DCC     table.Opt[string] `col:"irc_dcc_address" doc:"address and port where the sender of the file waits"`
}

// Protocol is IRC.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "irc",
		Doc:        "IRC: commands with replies, messages, files sent by DCC",
		Versions:   "RFC 1459, 2812; IRCv3 capabilities and SASL; DCC SEND",
		Depth:      "commands with replies, messages, logins, and files that are sent by DCC",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{6667, 6666, 6668, 6669, 7000},
		Detect:     detect,
		Resume:     lines.Grammar{Limit: maxLine, Command: isCommand, Reply: isReply}.Resume,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true, Before: "method IN ('CAP', 'NICK', 'PASS', 'USER', 'PING', 'PONG', 'AUTHENTICATE')"},
	}
}

// call is a command that waits for its replies, or a message of the server.
type call struct {
	x       dissect.Exchange
	row     *Row
	subject string // the target in lower case
	quiet   bool   // nothing answers it if it succeeds
	cost    int
	data    *transfer
}

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

type conn struct {
	lines.Session
	c       *dissect.Conn
	pending []*call // commands, the oldest first
	held    []*call // messages that wait for their file
	nick    string
	user    string
	answers sasl.Answers
	how     string // mechanism of SASL
	missed  bool   // a command or a reply may be lost
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.Session = lines.NewSession(c, k.command, k.message)
	return k
}

// Continue implements dissect.Continuer.
func (*conn) Continue(dissect.Dissector) {}

// Gap implements dissect.Dissector: a line with a gap has lost its meaning.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, _ dissect.Loss) {
	k.missed = true
	if dir == dissect.ToServer {
		k.answers.Lose()
		return
	}
	for len(k.pending) > 0 { // their replies may be lost
		k.emit(k.pending[0], string(dissect.LossGap))
	}
}

// Kept implements dissect.Dissector; Conn.Keep counts the commands.
func (k *conn) Kept() int { return len(k.nick) + len(k.user) }

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	switch {
	case len(k.held) > 0:
		k.emit(k.held[0], "")
	case len(k.pending) > 0:
		k.emit(k.pending[0], "cut")
	default:
		return false
	}
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for len(k.held) > 0 {
		k.emit(k.held[0], "")
	}
	for len(k.pending) > 0 {
		c := k.pending[0]
		if c.quiet || c.row.Command == "QUIT" {
			k.emit(c, k.c.Optional(&c.x, why.CallError()))
		} else {
			k.emit(c, why.CallError())
		}
	}
}

// wait keeps a command until its replies come.
func (k *conn) wait(c *call) {
	if len(k.pending) == maxPending {
		k.emit(k.pending[0], "cut")
	}
	c.cost = k.c.Keep(callCost + 2*maxText)
	k.pending = append(k.pending, c)
}

// find finds the oldest command that a reply with this number or word is about. subjects are its parameters: the one that names
// the target of a command is about that.
func (k *conn) find(word string, subjects []string) *call {
	about := replies().about[word]
	named := slices.ContainsFunc(subjects, isTarget)
	var other *call
	for _, c := range k.pending {
		switch command := c.row.Command; {
		case slices.Equal(about, anyCommand):
			if slices.Contains(subjects, lower(command)) {
				return c
			}
		case !slices.Contains(about, command):
		case c.subject != "" && slices.Contains(subjects, c.subject):
			return c
		case other == nil && (c.subject == "" || !named && !quiet[command] || command == "NICK"):
			other = c
		}
	}
	return other
}

// anyCommand is the list of replies whose parameter is the command.
var anyCommand = []string{"*"}

// settle ends the commands before c that nothing answers if they succeed: the server answers in order.
func (k *conn) settle(c *call) {
	for i := 0; i < len(k.pending) && k.pending[i] != c; {
		if k.pending[i].quiet {
			k.emit(k.pending[i], "")
		} else {
			i++
		}
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	is := func(d *call) bool { return d == c }
	k.pending, k.held = slices.DeleteFunc(k.pending, is), slices.DeleteFunc(k.held, is)
	k.c.Release(c.cost)
	c.cost = 0
	k.carried(c)
	row := c.row
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	if why == string(dissect.LossGap) && row.Outcome == "" { // the last reply, which decides, may be what is missing
		row.StatusCode, row.StatusText = table.Opt[int32]{}, table.Opt[string]{}
	}
	row.Method = table.Some(row.Command)
	row.Nick = table.NonEmpty(k.nick)
	row.summarize(why)
	k.c.Emit(&c.x, row)
}
