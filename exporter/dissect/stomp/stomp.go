// Package stomp reads STOMP 1.0, 1.1 and 1.2.
//
// A row is one frame with its answer: a frame of the client with the RECEIPT that it asks for, a
// login, a delivered message with its acknowledgement. An error answers the frame that its receipt
// names, else it is a separate row. Bodies are read in pieces. Passcodes never leave the package.
package stomp

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxHead    = 64 << 10 // bytes of the command and the headers of a frame
	maxBody    = 1 << 30  // bytes of a body whose length is announced
	maxHeaders = 256      // headers of a frame that are read
	maxList    = 64       // headers in a row
)

// Row is one frame with its answer.
type Row struct {
	table.Call
	Version      table.Opt[string] `col:"stomp_version" enc:"dict" doc:"version that CONNECTED states, 1.0 if it states none; null if it was not captured"`
	Destination  table.Opt[string] `col:"stomp_destination" enc:"dict" doc:"destination of the message or subscription, at most 256 bytes"`
	Subscription table.Opt[string] `col:"stomp_subscription" doc:"id of the subscription, chosen by the client"`
	Mode         table.Opt[string] `col:"stomp_ack_mode" enc:"dict" doc:"how the subscription's messages are acknowledged: auto, client or client-individual"`
	Selector     table.Opt[string] `col:"stomp_selector" doc:"condition of the subscription"`
	MessageID    table.Opt[string] `col:"stomp_message_id" doc:"message-id that the server gave to a delivered message"`
	OwnID        table.Opt[string] `col:"stomp_publisher_id" doc:"message id that the publisher chose, the same on both sides: message-id of SEND, or header amqp-message-id"`
	Correlation  table.Opt[string] `col:"stomp_correlation_id" doc:"header correlation-id"`
	ReplyTo      table.Opt[string] `col:"stomp_reply_to" doc:"header reply-to: the destination for the answer"`
	Transaction  table.Opt[string] `col:"stomp_transaction" doc:"transaction that the frame belongs to"`
	Receipt      table.Opt[string] `col:"stomp_receipt" doc:"receipt that the client asks for"`
	Ack          table.Opt[string] `col:"stomp_ack" enc:"dict" doc:"what the client answers to a message: ack or nack"`
	Redelivered  bool              `col:"stomp_redelivered" doc:"the message was delivered before"`
	Value        table.Opt[string] `col:"stomp_value" doc:"beginning of the body, at most 256 bytes; hexadecimal after 0x if it is not text"`
	ErrorText    table.Opt[string] `col:"stomp_error" doc:"header message of an error"`
	ErrorDetail  table.Opt[string] `col:"stomp_error_detail" doc:"body of an error, at most 256 bytes"`
	User         table.Opt[string] `col:"stomp_user" enc:"dict" doc:"login of CONNECT"`
	Host         table.Opt[string] `col:"stomp_virtual_host" enc:"dict" doc:"virtual host of CONNECT"`
	Server       table.Opt[string] `col:"stomp_server" enc:"dict" doc:"name and version of the server, from CONNECTED"`
	Session      table.Opt[string] `col:"stomp_session" doc:"session id from CONNECTED"`
	HeartBeat    table.Opt[string] `col:"stomp_heart_beat" doc:"heart-beats that the client offers and requests, then those of the server, in ms"`
}

// Protocol is STOMP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "stomp",
		Doc:        "STOMP 1.0, 1.1 and 1.2",
		Versions:   "1.0, 1.1, 1.2",
		Depth:      "frames with their receipts, headers and the payload",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{61613},
		Detect:     detect,
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true},
	}
}

// call is a frame that waits for its answer, or an answer without its frame.
type call struct {
	x        dissect.Exchange
	row      *Row
	size     int64 // of the body
	receipt  string
	place    delivery
	sub      string // key of the subscription
	sent     bool   // by the server
	answered bool
	alone    bool  // nothing answers it
	unheard  bool  // it acknowledges a message that was not captured
	may      bool  // an acknowledgement may follow, but need not
	no       int64 // among the messages that await an acknowledgement, from 1
	whole    bool
	gap      bool
	bad      bool
	texts    int
}

// callCost is the memory of a waiting call in addition to its text.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// request is the place of a frame that waits: a login, or the frame with a receipt.
type request struct {
	login   bool
	receipt string
}

// delivery is the place of a message that waits for its acknowledgement.
type delivery struct{ id, sub string }

// waiting is a message in the line of its subscription. It may have its acknowledgement already.
type waiting struct {
	no    int64
	place delivery
}

// waitCost is the memory of a message in the line of its subscription, and of one that is stale.
const waitCost = 4 * int(unsafe.Sizeof(waiting{}))

// subscription has the known fields of a subscription.
type subscription struct{ destination, mode string }

// side is the frame that is being read in one direction.
type side struct {
	call    *call
	answer  bool  // the frame is an answer of call
	counted bool  // left is the announced length; else a NUL ends the body
	left    int64 // bytes of the body
	body    *dissect.Body
	scanned int // bytes of an incomplete head without its end
}

type conn struct {
	c            *dissect.Conn
	asked        byid.Table[request, *call]
	delivered    byid.Table[delivery, *call]
	sides        [2]side
	lines        map[string][]waiting // by subscription, oldest first
	inLines      int
	count        int64 // messages that awaited an acknowledgement
	unsure       int64 // an acknowledgement of one up to this may be lost, so that a later one that covers several may not be its own
	subs         map[string]subscription
	transactions map[string][]postponed
	have         int  // bytes of the budget for both
	begun        bool // all frames since the login were seen
	login        bool // the server has not answered the login
	version      string
	user         string
	host         string
	server       string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.asked.Conn, k.asked.Emit = c, k.emit
	k.delivered.Conn, k.delivered.Emit = c, k.emit
	return k
}

// Gap implements dissect.Dissector. Bytes of a body of known length can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if s.call == nil || !s.counted || missing > s.left {
		return false
	}
	s.left -= missing
	s.body.Missing(missing)
	s.call.gap = true
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	s := k.sides[dir]
	k.sides[dir] = side{}
	k.begun, k.login = false, false
	k.asked.Resync(dir, why)
	k.delivered.Resync(dir.Other(), why)
	if dir == dissect.ToServer {
		k.unsure = k.count
		k.forget()
	}
	if c := s.call; c != nil {
		c.gap, c.bad = why == dissect.LossGap, why == dissect.LossMalformed
		s.call.x.SetBody(s.answer, s.body)
		k.emit(c, string(why))
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := 0
	for i := range k.sides {
		if c := k.sides[i].call; c != nil {
			n += callCost + c.texts
		}
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for i := range k.sides {
		if k.sides[i].body.Spill() {
			return true
		}
	}
	switch {
	case k.delivered.Shed(), k.asked.Shed():
		k.begun = false
	case k.have > 0:
		k.forget()
	default:
		return false
	}
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for i := range k.sides {
		s := k.sides[i]
		if k.sides[i] = (side{}); s.call != nil {
			s.call.x.SetBody(s.answer, s.body)
			word := why.CallError()
			if why == dissect.EndFin {
				word = "cut"
			}
			k.emit(s.call, word)
		}
	}
	k.delivered.Close(why)
	k.asked.Close(why)
	k.forget()
}
