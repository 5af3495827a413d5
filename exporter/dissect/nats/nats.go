// Package nats reads the client protocol of NATS, with headers and JetStream.
//
// A row is one message: a published message with the answer to its reply subject, a delivered
// message with the client's acknowledgement or reply, a subscription, the login, a ping. JetStream
// is a set of subjects: its API and its acknowledgements are read where they occur. Payloads are
// read in pieces. Passwords, tokens and signatures never leave the package.
package nats

import (
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxLine     = 64 << 10 // bytes of a line; servers accept 4 KiB, but INFO is longer
	maxHeaders  = 64 << 10 // bytes of the headers of a message
	maxPayload  = 64 << 20 // bytes of a message, the most that a server can be set to
	maxList     = 64       // headers in a row
	maxJSON     = 64 << 10 // bytes of an answer of JetStream that is read
	maxRecent   = 8        // commands without an answer that an error may still name
	maxPatterns = 1 << 10  // subscriptions with wildcards, all of which a request without an answer is compared with
)

// Row is one message with its answer.
type Row struct {
	table.Call
	Subject     table.Opt[string] `col:"nats_subject" doc:"subject of the message or subscription, at most 256 bytes"`
	Reply       table.Opt[string] `col:"nats_reply_to" doc:"subject to which the answer goes"`
	Queue       table.Opt[string] `col:"nats_queue_group" enc:"dict" doc:"queue group of a subscription"`
	SID         table.Opt[string] `col:"nats_sid" doc:"number of the subscription, chosen by the client"`
	Value       table.Opt[string] `col:"nats_value" doc:"beginning of the payload, at most 256 bytes; hexadecimal after 0x if it is not text"`
	Answer      table.Opt[string] `col:"nats_answer" doc:"beginning of the answer's payload, at most 256 bytes; hexadecimal after 0x if it is not text"`
	API         table.Opt[string] `col:"nats_api" enc:"dict" doc:"operation of JetStream, such as STREAM.CREATE or CONSUMER.MSG.NEXT"`
	Stream      table.Opt[string] `col:"nats_stream" enc:"dict" doc:"stream of JetStream"`
	Consumer    table.Opt[string] `col:"nats_consumer" enc:"dict" doc:"consumer of JetStream"`
	Sequence    table.Opt[int64]  `col:"nats_stream_sequence" doc:"number of the message in its stream; it links a published message to each delivery"`
	ConsumerSeq table.Opt[int64]  `col:"nats_consumer_sequence" doc:"number of the delivery in its consumer"`
	Delivered   table.Opt[int64]  `col:"nats_delivery" doc:"number of this delivery of the message, from 1"`
	Pending     table.Opt[int64]  `col:"nats_pending" doc:"messages that the consumer still has"`
	Ack         table.Opt[string] `col:"nats_ack" enc:"dict" doc:"acknowledgement of a delivery: ack, nak, progress, next or term"`
	Duplicate   bool              `col:"nats_duplicate" doc:"the stream already had a message with this id"`
	MessageID   table.Opt[string] `col:"nats_message_id" doc:"header Nats-Msg-Id"`
	Status      table.Opt[int32]  `col:"nats_status" doc:"status of a message without a payload, such as 100 (heartbeat), 408 or 503 (no responders)"`
	ErrorCode   table.Opt[int32]  `col:"nats_error_code" doc:"number of an error of JetStream (err_code)"`
	ErrorText   table.Opt[string] `col:"nats_error" doc:"text of an error of the server, of JetStream or of a service"`
	Server      table.Opt[string] `col:"nats_server" enc:"dict" doc:"name and version of the server, from INFO"`
	Client      table.Opt[string] `col:"nats_client_name" enc:"dict" doc:"name of the client, from CONNECT"`
	Software    table.Opt[string] `col:"nats_client_software" enc:"dict" doc:"language and version of the client's library, from CONNECT"`
	User        table.Opt[string] `col:"nats_user" enc:"dict" doc:"user name, or public nkey, from CONNECT"`
	Verbose     bool              `col:"nats_verbose" doc:"the client asked for +OK to each command"`
}

// Protocol is NATS.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "nats",
		Doc:        "client protocol of NATS, with headers and JetStream",
		Versions:   "client protocol 1, with headers and JetStream",
		Depth:      "messages with their answers, subjects, headers, and the operations of JetStream",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{4222, 4223, 6222, 7422},
		Detect:     detect, DetectOnPort: detectOnPort,
		Resume: resume,
		New:    newConn,
		Row:    &Row{},
		Traits: table.Traits{Login: true, Before: "method = 'INFO'"},
	}
}

// call is a message that waits for its answer.
type call struct {
	x         dissect.Exchange
	asked     dissect.QueuedRequest
	row       *Row
	no        int64 // of the command on its connection
	size      int64 // of the payload
	subject   string
	reply     string
	delivered bool // by the server
	waitsOK   bool // +OK or PONG
	waitsMsg  bool // a message to its reply subject
	listens   bool // the connection subscribed to that subject before
	answer    string
	answered  bool
	pull      bool // a request to JetStream for messages
	confirms  bool // a client's acknowledgement, which asked for it
	gap       bool
	bad       bool
	whole     bool
	texts     int
}

// callCost is the memory of a waiting call in addition to its text.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return c.waitsOK }

// side is the message that is being read in one direction.
type side struct {
	call   *call
	answer bool // the message is an answer: call is what it answers
	left   int64
	tail   int // bytes of the line's end
	body   *dissect.Body
	frame  frame
}

type conn struct {
	c         *dissect.Conn
	asked     byid.Table[string, *call] // published, by reply subject
	delivered byid.Table[string, *call] // by reply subject
	order     dissect.Queue[*call]      // commands that +OK or PONG answers
	recent    []*call                   // commands that nothing answers unless they fail
	recentHas int                       // bytes of the budget
	ping      *call                     // of the server
	acked     []string                  // subjects on which the newest acknowledgements are confirmed
	sides     [2]side
	subs      map[string]string // subjects by sid
	subjects  map[string]int    // number of the others by subject
	patterns  map[string]string // those with wildcards
	subsHave  int
	unsubs    bool // a subscription ended, whose messages may still come
	count     int64
	doubted   int64 // messages that answered commands up to this one may be lost
	connected bool  // CONNECT was seen
	verbose   bool
	begun     bool // the connection's beginning was seen
	server    string
	client    string
	user      string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.asked.Conn, k.asked.Emit = c, k.emit
	k.delivered.Conn, k.delivered.Emit = c, k.emit
	k.order = dissect.Queue[*call]{Conn: c, Emit: k.emit}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := &k.sides[in.Dir]
	return in.Each(func(at int) (int, error) {
		if s.call != nil {
			return k.payload(s, in, at)
		}
		return k.line(s, in, at)
	})
}

// payload takes more bytes of a message.
func (k *conn) payload(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	n := int(min(s.left, int64(len(b))))
	if n > 0 {
		s.body.Write(b[:n])
		s.left -= int64(n)
	}
	for s.left == 0 && s.tail > 0 && n < len(b) {
		if b[n] != "\r\n"[2-s.tail] {
			return n, fmt.Errorf("reading a message: expected the end of the line after %d bytes, got %.10q", s.body.Size(), b[n:])
		}
		s.tail--
		n++
	}
	s.call.x.AddTo(s.answer, in, at, at+n)
	if s.left == 0 && s.tail == 0 {
		k.ended(in.Dir)
	}
	return n, nil
}

// ended handles the end of a message.
func (k *conn) ended(dir dissect.Dir) {
	s := k.sides[dir]
	k.sides[dir] = side{}
	s.body.Complete = s.body.Lost() == 0
	k.c.Confirm()
	if s.answer {
		k.answered(&s)
	} else {
		s.call.whole = !s.call.gap
		k.published(&s)
	}
}

// Gap implements dissect.Dissector. Bytes of a payload can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if s.call == nil || missing > s.left {
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
	k.asked.Resync(dir, why)
	k.delivered.Resync(dir.Other(), why)
	k.order.Resync(dir, why)
	k.begun = false
	if dir == dissect.ToClient {
		k.doubted = k.count
	}
	if c := s.call; c != nil {
		c.gap, c.bad = why == dissect.LossGap, why == dissect.LossMalformed
		s.call.x.SetBody(s.answer, s.body)
		k.emit(c, string(why))
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := cap(k.recent) * 8
	for _, subject := range k.acked {
		n += int(unsafe.Sizeof(subject)) + len(subject)
	}
	for i := range k.sides {
		if c := k.sides[i].call; c != nil {
			n += callCost + c.texts
		}
	}
	if k.ping != nil {
		n += callCost
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
	case len(k.recent) > 0:
		k.settle(1)
	case k.delivered.Shed(), k.asked.Shed(), k.order.Shed():
	case k.subsHave > 0:
		k.forget()
	default:
		return false
	}
	return true
}

// forget drops the known subscriptions.
func (k *conn) forget() {
	k.c.Release(k.subsHave)
	k.subs, k.subjects, k.patterns, k.subsHave, k.begun = nil, nil, nil, 0, false
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
	for len(k.recent) > 0 {
		c, word := k.recall(0), ""
		if c.row.Method.V == "CONNECT" { // the server has neither accepted nor refused the login
			word = k.c.Optional(&c.x, why.CallError())
		}
		k.emit(c, word)
	}
	k.order.Close(why)
	k.delivered.Close(why)
	k.asked.Close(why)
	if c := k.ping; c != nil {
		k.ping = nil
		k.emit(c, why.CallError())
	}
	k.forget()
}
