// Package amqp reads AMQP 0-9-1 with the extensions of RabbitMQ.
//
// A row is one method with its answer, on any channel and from either side: a request with its -ok
// method or the error that closes its channel, a published message with its confirmation or its
// return, a delivered message with its acknowledgement. Payloads are read in pieces. Passwords never
// leave the package.
package amqp

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxFrame    = 256 << 10 // bytes of a method or header frame
	maxBody     = 1 << 30   // bytes of a body frame
	maxList     = 64        // headers and arguments in a row
	maxDepth    = 8         // nested tables
	maxChannels = 2048      // channels whose state is known
)

// Row is one method with its answer.
type Row struct {
	table.Call
	Method      table.Opt[string] `col:"amqp_method" enc:"dict" doc:"class and method, such as basic.publish"`
	Methods     []string          `col:"amqp_methods" doc:"all methods of this row, in order; an acknowledgement counts with its first message"`
	Channel     int32             `col:"amqp_channel" doc:"number of the channel; 0 for the connection"`
	Exchange    table.Opt[string] `col:"amqp_exchange" enc:"dict" doc:"exchange; empty for the default one, which sends to the queue that the routing key names"`
	Key         table.Opt[string] `col:"amqp_routing_key" doc:"routing key"`
	Queue       table.Opt[string] `col:"amqp_queue" enc:"dict" doc:"queue, also the one that the server named"`
	Consumer    table.Opt[string] `col:"amqp_consumer_tag" doc:"consumer tag"`
	Tag         table.Opt[int64]  `col:"amqp_delivery_tag" doc:"delivery tag: pairs a message with its acknowledgement; for a published message its number on the channel since confirm.select"`
	Redelivered bool              `col:"amqp_redelivered" doc:"the message may have been delivered before"`
	Mandatory   bool              `col:"amqp_mandatory" doc:"the server must return the message if no queue gets it"`
	NoAck       bool              `col:"amqp_no_ack" doc:"the consumer acknowledges nothing"`
	Ack         table.Opt[string] `col:"amqp_ack" enc:"dict" doc:"ack, nack or reject; with requeue if the message goes back to its queue; rolled back if the transaction of the message or of its acknowledgement was"`
	Returned    bool              `col:"amqp_returned" doc:"the server returned the message: no queue got it"`
	ReplyCode   table.Opt[int32]  `col:"amqp_reply_code" doc:"reply code of an error, or of close"`
	ReplyText   table.Opt[string] `col:"amqp_reply_text" doc:"text with the reply code"`
	Messages    table.Opt[int64]  `col:"amqp_message_count" doc:"messages in the queue, or deleted ones"`
	Consumers   table.Opt[int64]  `col:"amqp_consumer_count" doc:"consumers of the queue"`
	MessageID   table.Opt[string] `col:"amqp_message_id" doc:"property message-id"`
	Correlation table.Opt[string] `col:"amqp_correlation_id" doc:"property correlation-id"`
	ReplyTo     table.Opt[string] `col:"amqp_reply_to" doc:"property reply-to: the queue for the answer"`
	Type        table.Opt[string] `col:"amqp_type" enc:"dict" doc:"property type"`
	App         table.Opt[string] `col:"amqp_app_id" enc:"dict" doc:"property app-id"`
	Expiration  table.Opt[string] `col:"amqp_expiration" doc:"property expiration, milliseconds as text"`
	Persistent  bool              `col:"amqp_persistent" doc:"property delivery-mode is 2"`
	Value       table.Opt[string] `col:"amqp_value" doc:"beginning of the payload, at most 256 bytes; hexadecimal after 0x if it is not text"`
	Host        table.Opt[string] `col:"amqp_virtual_host" enc:"dict" doc:"virtual host of the connection"`
	User        table.Opt[string] `col:"amqp_user" enc:"dict" doc:"user name of the login"`
	Product     table.Opt[string] `col:"amqp_product" enc:"dict" doc:"product and version of the sender of start or start-ok"`
}

// Protocol is AMQP 0-9-1.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "amqp",
		Doc:        "AMQP 0-9-1 with the extensions of RabbitMQ",
		Versions:   "0-9-1",
		Depth:      "methods with their answers; publishing and delivery with properties, headers and the payload",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{5672},
		Detect:     detect,
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true, Before: "method IN ('protocol header', 'connection.start')"},
	}
}

// call is a method that waits for its answer, or an answer without its method.
type call struct {
	x        dissect.Exchange
	row      *Row
	id       uint32 // class and method
	channel  uint16
	key      asked  // place in conn.asked
	ack      uint32 // what the asker had received of the other side's data
	size     int64  // of the payload
	cause    uint32 // of close: the method that failed
	answered bool
	awaits   bool   // counted in channel.waits
	side     int    // place there
	no       int64  // among the messages of a side that awaited an acknowledgement, from 1
	alone    bool   // nothing answers it
	known    bool   // an acknowledgement of a message that basic.get returned
	upTo     uint64 // of the end of a transaction: channel.made
	may      bool   // an acknowledgement may follow, but need not
	whole    bool
	gap      bool
	bad      bool
	texts    int
}

// callCost is the memory of a waiting call in addition to its text.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// asked is the place of a request among those of the same kind on a channel.
type asked struct {
	by      dissect.Dir
	channel uint16
	answer  uint32
	n       uint32
}

// tagged is a message by its delivery tag.
type tagged struct {
	channel uint16
	tag     uint64
}

// The sides of messages that await an acknowledgement.
const (
	published = iota
	delivered
)

// tags is a heap of delivery tags, container/heap.
type tags []uint64

func (t tags) Len() int           { return len(t) }
func (t tags) Less(i, j int) bool { return t[i] < t[j] }
func (t tags) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *tags) Push(tag any)      { *t = append(*t, tag.(uint64)) }
func (t *tags) Pop() any {
	last := len(*t) - 1
	tag := (*t)[last]
	*t = (*t)[:last]
	return tag
}

// tagCost is the memory of a tag of a message that waits, and of one that no longer waits.
const tagCost = 4 * 8

// line counts the requests of one kind on a channel.
type line struct{ first, next uint32 }

// channel is the state of a channel.
type channel struct {
	content  [2]content
	confirm  bool
	doubt    bool            // it may be set: the number of a message is not known
	sent     uint64          // published messages since confirm.select
	waits    [2]int          // messages without an acknowledgement: published, delivered
	tags     [2]tags         // of these, and of some that have one
	noAck    map[string]bool // consumers that acknowledge nothing
	consumes int
	got      uint64 // highest delivery tag of a message that basic.get returned, or whose acknowledgement was rolled back
	tx       bool   // tx.select
	made     uint64 // messages and acknowledgements in transactions
	decided  uint64 // of these, in transactions that have ended
}

// content is a message whose header and body are being read.
type content struct {
	call   *call
	answer bool // it belongs to the answer of call
	header bool // the header was read
	left   int64
	body   *dissect.Body
}

// side is the frame that is being read in one direction.
type side struct {
	channel uint16
	left    int64 // bytes of a body frame
	tail    bool  // its end octet follows
	inFrame bool
}

type conn struct {
	c         *dissect.Conn
	asked     byid.Table[asked, *call]
	lines     map[asked]line
	published byid.Table[tagged, *call]
	delivered byid.Table[tagged, *call]
	undecided byid.Table[tagged, *call] // in transactions, by channel and channel.made
	channels  map[uint16]*channel
	held      int // bytes of the budget for channels
	reading   int // messages whose header and body are being read
	sides     [2]side
	awaited   [2]int64 // messages that awaited an acknowledgement: published, delivered
	unsure    [2]int64 // an acknowledgement of one up to this may be lost, so that a later one that covers several may not be its own
	missed    bool     // methods of the client may be missing
	host      string
	user      string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c, lines: map[asked]line{}, channels: map[uint16]*channel{}}
	k.asked.Conn, k.asked.Emit = c, k.emit
	k.published.Conn, k.published.Emit = c, k.emit
	k.delivered.Conn, k.delivered.Emit = c, k.emit
	k.undecided.Conn, k.undecided.Emit = c, k.emit
	return k
}

// Gap implements dissect.Dissector. Bytes of a body frame can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if !s.inFrame || missing > s.left {
		return false
	}
	s.left -= missing
	if t := k.contentOf(in.Dir, s.channel); t != nil && t.call != nil && t.body != nil {
		t.call.gap = true
		t.body.Missing(missing)
		t.left -= missing
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.sides[dir] = side{}
	k.asked.Resync(dissect.ToClient, why) // both sides ask
	k.published.Resync(dir, why)
	k.undecided.Resync(dir, why)
	settled := delivered // what this side acknowledges
	if dir == dissect.ToClient {
		settled = published
	}
	k.unsure[settled] = k.awaited[settled]
	k.missed = k.missed || dir == dissect.ToServer
	for _, n := range k.numbers() {
		ch := k.channels[n]
		t := &ch.content[dir]
		if c := k.drop(t); c != nil {
			c.gap, c.bad = why == dissect.LossGap, why == dissect.LossMalformed
			k.emit(c, string(why))
		}
		if dir == dissect.ToServer {
			ch.confirm, ch.doubt = false, true // it may be set by what was lost
		}
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	return k.reading*(callCost+readingText) + len(k.lines)*lineCost
}

const (
	lineCost    = 64
	readingText = 512 // of the text of a message that is being read
	channelCost = int(unsafe.Sizeof(channel{})) + 64
)

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for _, n := range k.numbers() {
		for i := range k.channels[n].content {
			if k.channels[n].content[i].body.Spill() {
				return true
			}
		}
	}
	return k.delivered.Shed() || k.undecided.Shed() || k.published.Shed() || k.asked.Shed()
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for _, n := range k.numbers() {
		for i := range k.channels[n].content {
			if c := k.drop(&k.channels[n].content[i]); c != nil {
				word := why.CallError()
				if why == dissect.EndFin {
					word = "cut"
				}
				k.emit(c, word)
			}
		}
	}
	k.published.Close(why)
	k.delivered.Close(why)
	k.undecided.Close(why)
	k.asked.Close(why)
	k.c.Release(k.held)
	k.held = 0
}
