// Package amqp1 reads AMQP 1.0 with its SASL layer.
//
// A row is one performative with its answer, from either side: a request such as attach with its
// answer or the error that refused it, a message with the disposition that settles it. Messages may
// come in many frames, and are read in pieces. Passwords never leave the package.
package amqp1

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxFrame   = 256 << 10 // bytes of a performative
	maxSection = 64 << 10  // bytes of a section of a message that is not its body
	maxList    = 64        // application properties in a row, requests that an error is compared with
	maxReading = 1024      // messages that are being read
)

// Row is one performative with its answer.
type Row struct {
	table.Call
	Channel     int32             `col:"amqp1_channel" doc:"number of the channel of the sender"`
	Container   table.Opt[string] `col:"amqp1_container" enc:"dict" doc:"container-id of the sender of open"`
	Link        table.Opt[string] `col:"amqp1_link" doc:"name of the link"`
	Role        table.Opt[string] `col:"amqp1_role" enc:"dict" doc:"role of the sender of attach on the link: sender or receiver"`
	Address     table.Opt[string] `col:"amqp1_address" enc:"dict" doc:"address of the node: target of the messages of the side that attached first, source of those to it"`
	Delivery    table.Opt[int64]  `col:"amqp1_delivery_id" doc:"delivery-id: pairs a message with its disposition; the first one of a disposition that settles no message of this bundle"`
	State       table.Opt[string] `col:"amqp1_state" enc:"dict" doc:"state that the receiver gave the message: accepted, rejected, released, modified; settled if it states none"`
	Delivered   bool              `col:"amqp1_delivered" doc:"the server sent the message"`
	Settled     bool              `col:"amqp1_settled" doc:"the sender settled the message with the transfer: no answer follows"`
	Credit      table.Opt[int64]  `col:"amqp1_credit" doc:"link-credit of flow: messages that may follow"`
	Condition   table.Opt[string] `col:"amqp1_condition" enc:"dict" doc:"condition of an error"`
	Description table.Opt[string] `col:"amqp1_description" doc:"description of an error"`
	MessageID   table.Opt[string] `col:"amqp1_message_id" doc:"property message-id"`
	Correlation table.Opt[string] `col:"amqp1_correlation_id" doc:"property correlation-id"`
	ReplyTo     table.Opt[string] `col:"amqp1_reply_to" doc:"property reply-to: the address for the answer"`
	Subject     table.Opt[string] `col:"amqp1_subject" doc:"property subject"`
	Value       table.Opt[string] `col:"amqp1_value" doc:"beginning of the body, at most 256 bytes; hexadecimal after 0x if it is not text"`
	User        table.Opt[string] `col:"amqp1_user" enc:"dict" doc:"user name of the login"`
}

// Protocol is AMQP 1.0.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "amqp1",
		Doc:        "AMQP 1.0 with SASL",
		Versions:   "1.0",
		Depth:      "performatives with their answers, SASL, links, transfers with the sections of a message",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{5672},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true, Before: "method IN ('protocol header', 'sasl-mechanisms')"},
	}
}

// key pairs an answer with its request.
type key struct {
	by      dissect.Dir
	code    byte   // of the request
	session int64  // or the channel of begin
	name    string // of the link
	id      uint32 // of the delivery
}

// call is a performative that waits for its answer, or an answer without its request.
type call struct {
	x        dissect.Exchange
	row      *Row
	place    key
	code     byte
	link     *link
	sent     *deliveries // those it waits among
	message  *incoming   // while it is being read
	size     int64       // of the body
	answered bool
	alone    bool // nothing answers it
	may      bool // a disposition may follow, but need not
	whole    bool
	gap      bool
	bad      bool
	texts    int
}

// callCost is the memory of a waiting call in addition to its text.
const callCost = int(unsafe.Sizeof(call{})+unsafe.Sizeof(Row{})) + 2*8

// link is one direction of a link: the meaning of its handle there.
type link struct {
	session       *session
	name, address string
	reading       *call
	held          int
}

// channelOf is a channel of one direction.
type channelOf struct {
	dir    dissect.Dir
	number uint16
}

// handleOf is a handle of one direction.
type handleOf struct {
	dir    dissect.Dir
	handle uint32
}

// session is a channel of each direction.
type session struct {
	no      int64
	channel [2]int32 // -1 if it is not known
	links   map[handleOf]*link
	sent    [2]deliveries
}

// side is the frame that is being read in one direction.
type side struct {
	left int64 // bytes of the payload
	call *call // its message; nil if it is not known
	more bool  // another frame of it follows
}

type conn struct {
	c        *dissect.Conn
	pending  byid.Table[key, *call]
	sessions map[channelOf]*session
	count    int64 // sessions so far
	held     int   // bytes of the budget for sessions and links
	reading  []*call
	buffered int // bytes of sections that are being read
	sides    [2]side
	secures  [2]bool // a side sent the header of TLS
	host     string
	user     string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c, sessions: map[channelOf]*session{}}
	k.pending.Conn, k.pending.Emit = c, k.emit
	return k
}

// Gap implements dissect.Dissector. Bytes of a payload can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if s.left == 0 || missing+int64(len(in.Data)) > s.left {
		return false
	}
	if c := s.call; c != nil {
		c.gap = true
		k.missing(c, missing+int64(len(in.Data)))
	}
	if s.left -= missing + int64(len(in.Data)); s.left == 0 {
		k.framed(s)
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.sides[dir] = side{}
	k.pending.Resync(dissect.ToClient, why) // both sides ask
	for _, c := range append([]*call(nil), k.reading...) {
		if c.message.dir == dir {
			c.gap, c.bad = why == dissect.LossGap, why == dissect.LossMalformed
			k.drop(c)
			k.emit(c, string(why))
		}
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	return len(k.reading)*(callCost+int(unsafe.Sizeof(incoming{}))) + k.buffered
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for _, c := range k.reading {
		if c.message.body.Spill() {
			return true
		}
	}
	if k.pending.Shed() {
		return true
	}
	if len(k.reading) == 0 {
		return false
	}
	k.cut(k.reading[0], "cut")
	return true
}

// cut ends the reading of a message whose rest will not come.
func (k *conn) cut(c *call, why string) {
	k.drop(c)
	k.emit(c, why)
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	word := why.CallError()
	if why == dissect.EndFin {
		word = "cut"
	}
	for len(k.reading) > 0 {
		k.cut(k.reading[0], word)
	}
	k.pending.Close(why)
	k.c.Release(k.held)
	k.held = 0
}
