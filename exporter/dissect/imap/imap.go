// Package imap reads IMAP (RFC 3501, RFC 9051) with literals, IDLE, AUTHENTICATE and STARTTLS.
//
// A row is a command with its tagged response; the untagged responses before it belong to the oldest
// command that waits. The server's greeting is a row, and so are untagged responses while no command
// waits. Passwords never leave the package.
package imap

import (
	"errors"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/mailhead"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one line and of one call.
const (
	maxLine         = 64 << 10 // bytes of a line between two literals
	maxTag          = 64
	maxText         = 1 << 10 // bytes shown of arguments or of a reply
	maxLiteral      = 1 << 40 // bytes that a literal announces
	maxShown        = 512     // bytes of a literal that is shown in the arguments
	maxCapabilities = 128
)

// Row is a command with its response.
type Row struct {
	table.Call
	Command      string            `col:"imap_command" enc:"dict" doc:"command, such as LOGIN or UID FETCH; GREETING for the server's first response, NOTICE for untagged responses while no command waits"`
	Tag          table.Opt[string] `col:"imap_tag" doc:"tag that connects command and response"`
	Argument     table.Opt[string] `col:"imap_argument" doc:"arguments, at most 1 KiB, with {n} for a literal of more than 512 bytes; null for LOGIN; of AUTHENTICATE, the mechanism"`
	Mailbox      table.Opt[string] `col:"imap_mailbox" enc:"dict" doc:"mailbox that the command names, decoded, else the selected one"`
	User         table.Opt[string] `col:"imap_user" enc:"dict" doc:"user of the connection, if LOGIN or AUTHENTICATE named it (PLAIN, LOGIN, SCRAM); in the rows of these commands, the user that they name"`
	Auth         table.Opt[string] `col:"imap_auth" enc:"dict" doc:"mechanism of AUTHENTICATE"`
	Status       table.Opt[string] `col:"imap_status" enc:"dict" doc:"OK, NO, BAD, BYE or PREAUTH"`
	Code         table.Opt[string] `col:"imap_code" enc:"dict" doc:"response code without its arguments, such as AUTHENTICATIONFAILED"`
	Reply        table.Opt[string] `col:"imap_reply" doc:"text of the response, at most 1 KiB"`
	Untagged     int32             `col:"imap_untagged" doc:"number of untagged responses"`
	Messages     table.Opt[int32]  `col:"imap_messages" doc:"number of FETCH responses"`
	Size         table.Opt[int64]  `col:"imap_size" unit:"bytes" doc:"bytes of literals: content of messages that FETCH returned or APPEND sent"`
	Exists       table.Opt[int64]  `col:"imap_exists" doc:"number of messages in the mailbox, as the last EXISTS response states it"`
	MessageID    table.Opt[string] `col:"imap_message_id" enc:"bloom" doc:"header Message-ID of the first message whose headers were sent, without angle brackets"`
	Subject      table.Opt[string] `col:"imap_subject" doc:"header Subject of the first message whose headers were sent, decoded (RFC 2047)"`
	From         table.Opt[string] `col:"imap_from" doc:"header From of the first message whose headers were sent, decoded"`
	Capabilities []string          `col:"imap_capabilities" doc:"capabilities that the server states; at most 128"`
	Ahead        int32             `col:"imap_ahead" doc:"number of earlier commands that were unanswered when this one was sent (pipelining)"`
}

// Protocol is IMAP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "imap",
		Doc:        "IMAP, with logins, mailboxes and the messages that were fetched",
		Versions:   "4rev1, 4rev2",
		Depth:      "commands with responses, logins, mailboxes, and the first message that was fetched or appended",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{143, 993},
		Detect:     detect, DetectOnPort: grammar.OnPort,
		Resume: grammar.Resume,
		New:    newConn,
		Row:    &Row{},
	}
}

// call is a command that waits for its response, or responses without a command.
type call struct {
	x    dissect.Exchange
	row  *Row
	head mailhead.Head
	tag  string
	no   int64 // in the order of the client
	gap  bool
	done bool // answered, but the client still sends it

	lossy bool // responses were lost since it was sent
}

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// conn is the state of a connection.
type conn struct {
	byid.Table[string, *call]
	lines.Session
	sent    int64  // number of commands
	cmd     *call  // whose next line, or literal, the client sends
	args    []byte // of cmd
	hide    bool   // the rest of cmd is secret
	left    int64  // of a literal of the client
	asked   bool   // the literal waits for the server's permission
	auth    *call  // AUTHENTICATE without its response
	answers sasl.Answers
	idle    *call // IDLE without its response
	reply   reply
	orphan  *call // untagged responses while no command waits

	missed        bool // responses may follow whose commands are not known
	user, mailbox string
	deflated      bool // COMPRESS was accepted
}

// reply is a response that has more lines, after literals.
type reply struct {
	open bool
	call *call
	left int64 // of a literal
	head bool  // the literal has the headers of a message
	body bool  // the literal is the whole message that the row shows
}

var errDeflated = errors.New("reading a line: compressed by COMPRESS (RFC 4978)")

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Session = lines.NewSession(c, k.client1, k.serverLine)
	k.Table = byid.Table[string, *call]{Conn: c, Emit: k.emit}
	return k
}

// Continue implements dissect.Continuer: nothing of what was said before TLS counts (RFC 9051 section 6.2.1).
func (*conn) Continue(dissect.Dissector) {}

// Gap implements dissect.Dissector. Literals may have gaps.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	if in.Dir == dissect.ToServer {
		if k.left == 0 || missing > k.left {
			return false
		}
		k.left -= missing
		c := k.reading()
		c.gap, k.asked = true, false
		if c.x.ReqBody != nil {
			c.x.ReqBody.Missing(missing)
		}
		return true
	}
	r := &k.reply
	if r.left == 0 || missing > r.left {
		return false
	}
	r.left -= missing
	r.head = false
	c := k.answering()
	c.head.End()
	if c.gap = true; r.body {
		c.x.RespBody.Missing(missing)
	}
	return true
}

// Resync implements dissect.Dissector. Any command that waits may have lost untagged responses.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	k.missed = true
	k.user, k.mailbox = "", "" // a command that was lost, or refused, may have changed them
	if dir == dissect.ToServer {
		k.answers.Lose()
		if k.cmd != nil {
			k.cmd.gap = true
		}
		k.endCommand()
		return
	}
	k.reply = reply{}
	for c := range k.Oldest(k.Len()) {
		c.gap, c.lossy = true, true
	}
	if c := k.orphan; c != nil {
		c.gap = true
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user) + len(k.mailbox) + cap(k.args)
	for i, c := range [...]*call{k.cmd, k.reply.call, k.orphan} {
		if c == nil || i == 1 && (c == k.cmd || c == k.orphan) {
			continue
		}
		if n += c.head.Kept(); i != 1 {
			n += callCost
		}
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if c := k.cmd; c != nil && c.x.ReqBody != nil && c.x.ReqBody.Spill() {
		return true
	}
	if c := k.reply.call; c != nil && c.x.RespBody != nil && c.x.RespBody.Spill() {
		return true
	}
	return k.Table.Shed()
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if c := k.orphan; c != nil {
		word := ""
		if k.reply.call == c {
			word = why.CallError()
		}
		k.emit(c, word)
	}
	k.Table.Close(why)
	if c := k.cmd; c != nil { // answered, or given up before it was complete
		k.emit(c, "cut")
	}
}
