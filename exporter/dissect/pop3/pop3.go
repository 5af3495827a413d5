// Package pop3 reads POP3 (RFC 1939) with capabilities (RFC 2449), AUTH (RFC 5034) and STLS (RFC 2595).
//
// A row is a command with its reply, including the lines of a long one. The content of a message is
// the response body. Passwords never leave the package.
package pop3

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/mailhead"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one line and of one call.
const (
	maxLine         = 12288 // bytes of a command (RFC 4954 section 4) or of the first line of a reply
	maxText         = 1 << 10
	maxCapabilities = 64
)

// Row is a command with its reply.
type Row struct {
	table.Call
	Command      string            `col:"pop3_command" enc:"dict" doc:"command; GREETING for the server's first reply, NOTICE for one that no captured command requested"`
	Argument     table.Opt[string] `col:"pop3_argument" doc:"argument of the command, at most 1 KiB; null for passwords; of AUTH, the mechanism"`
	User         table.Opt[string] `col:"pop3_user" enc:"dict" doc:"user of the connection: of the last USER or APOP, or of AUTH (PLAIN, LOGIN, SCRAM)"`
	Auth         table.Opt[string] `col:"pop3_auth" enc:"dict" doc:"mechanism of AUTH"`
	Status       table.Opt[string] `col:"pop3_status" enc:"dict" doc:"+OK or -ERR"`
	Code         table.Opt[string] `col:"pop3_code" enc:"dict" doc:"response code (RFC 2449), such as AUTH, IN-USE or SYS/TEMP"`
	Reply        table.Opt[string] `col:"pop3_reply" doc:"text of the reply's first line, at most 1 KiB"`
	Message      table.Opt[int64]  `col:"pop3_message" doc:"number of the message that the command names"`
	Messages     table.Opt[int64]  `col:"pop3_messages" doc:"number of messages: that STAT states, or that LIST or UIDL lists"`
	Size         table.Opt[int64]  `col:"pop3_size" unit:"bytes" doc:"of RETR and TOP, bytes of content without the dots that protect lines; else the size that STAT or LIST states"`
	MessageID    table.Opt[string] `col:"pop3_message_id" enc:"bloom" doc:"header Message-ID of the message, without angle brackets"`
	Subject      table.Opt[string] `col:"pop3_subject" doc:"header Subject, decoded (RFC 2047)"`
	From         table.Opt[string] `col:"pop3_from" doc:"header From, decoded"`
	Capabilities []string          `col:"pop3_capabilities" doc:"capabilities that the server states; at most 64"`
	Ahead        int32             `col:"pop3_ahead" doc:"number of earlier commands that were unanswered when this one was sent (pipelining)"`
}

// Protocol is POP3.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "pop3",
		Doc:        "POP3, with logins and the messages that were retrieved",
		Versions:   "RFC 1939, 2449, 2595, 5034",
		Depth:      "commands with replies, logins, and the messages that were retrieved",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{110, 995},
		Detect:     detect, DetectOnPort: grammar.OnPort,
		Resume: grammar.Resume,
		New:    newConn,
		Row:    &Row{},
	}
}

// call is a command that waits for its reply, or a reply without a command.
type call struct {
	x     dissect.Exchange
	asked dissect.QueuedRequest
	row   *Row
	head  mailhead.Head
	gap   bool
}

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return true }

// conn is the state of a connection.
type conn struct {
	dissect.Queue[*call]
	lines.Session
	user      string
	auth      *call // AUTH without its reply
	answers   sasl.Answers
	answering *call // whose reply has more lines
	midLine   bool  // in a line of the reply whose beginning was read
	inside    bool  // TLS, which has no greeting
	missed    bool  // replies may follow whose commands are not known
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Session = lines.NewSession(c, k.command, k.reply)
	k.Queue = dissect.Queue[*call]{Conn: c, Emit: k.emit, Replies: replies, Busy: func(c *call) bool { return c == k.answering }}
	return k
}

// Continue implements dissect.Continuer.
func (k *conn) Continue(dissect.Dissector) { k.inside = true }

// replies is how many replies a command still waits for. A long one cannot be distinguished from
// others without its command.
func replies(c *call) (int64, bool) { return 1, !long(c.row) }

// Gap implements dissect.Dissector. The content of a message may have gaps.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	c := k.answering
	if in.Dir == dissect.ToServer || c == nil || c.x.RespBody == nil {
		return false
	}
	if len(in.Data) > 0 {
		k.write(in, 0, len(in.Data), in.Data)
	}
	c.head.End()
	c.x.RespBody.Missing(missing)
	c.gap, k.midLine = true, true
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Queue.Resync(dir, why)
	k.missed = true
	if dir == dissect.ToServer {
		k.answers.Lose()
		k.user = ""
	}
	if c := k.answering; c != nil && dir == dissect.ToClient {
		k.emit(c, string(why))
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user)
	if k.answering != nil {
		n += k.answering.head.Kept()
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if c := k.answering; c != nil && c.x.RespBody != nil && c.x.RespBody.Spill() {
		return true
	}
	return k.Queue.Shed()
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if c := k.answering; c != nil {
		if c.gap { // its last line may be lost, and what followed was then read as a part of it
			k.Conn.Incomplete(dissect.ToClient)
		}
		k.emit(c, why.CallError())
	}
	k.Queue.Close(why)
}
