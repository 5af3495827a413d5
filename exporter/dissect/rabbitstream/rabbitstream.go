// Package rabbitstream reads the stream protocol of RabbitMQ.
//
// A row is a command with its response, paired by correlation id. Publish is paired with the
// confirmation of its last message. Passwords and tokens of SASL never leave the package.
package rabbitstream

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const (
	headSize = 8         // length, key and version of a frame
	maxFrame = 256 << 20 // bytes of a frame; brokers accept 1 MiB unless they are configured otherwise
	maxRead  = 64 << 10  // bytes of a frame that are read; the rest is counted
)

// Row is a command with its response.
type Row struct {
	table.Call
	Correlation  table.Opt[int64]  `col:"rabbitstream_correlation_id" doc:"correlation id, which pairs command and response; null if the command has none"`
	Stream       table.Opt[string] `col:"rabbitstream_stream" enc:"dict" doc:"stream, or super stream; of Publish and Deliver, that of the publisher or the subscription"`
	Streams      []string          `col:"rabbitstream_streams" doc:"streams that Metadata, Route or Partitions names, at most 64"`
	Publisher    table.Opt[string] `col:"rabbitstream_publisher" enc:"dict" doc:"reference of the publisher, by which the broker finds duplicates"`
	Consumer     table.Opt[string] `col:"rabbitstream_consumer" enc:"dict" doc:"reference of the consumer, under which its offset is stored"`
	Messages     table.Opt[int64]  `col:"rabbitstream_messages" doc:"messages in Publish or Deliver"`
	Publishing   table.Opt[int64]  `col:"rabbitstream_publishing_id" doc:"number of the first message in Publish, given by the publisher; in the response to QueryPublisherSequence, of its last one"`
	Offset       table.Opt[int64]  `col:"rabbitstream_offset" doc:"offset of the first message in Deliver, or that was stored, asked for, or returned"`
	Start        table.Opt[string] `col:"rabbitstream_start" enc:"dict" doc:"start of a subscription: first, last, next, offset, timestamp"`
	Credit       table.Opt[int32]  `col:"rabbitstream_credit" doc:"chunks that the consumer allows the broker to send"`
	Mechanism    table.Opt[string] `col:"rabbitstream_sasl_mechanism" enc:"dict" doc:"SASL mechanism"`
	User         table.Opt[string] `col:"rabbitstream_user" enc:"dict" doc:"user name of SASL on this connection"`
	VirtualHost  table.Opt[string] `col:"rabbitstream_vhost" enc:"dict" doc:"virtual host"`
	Client       table.Opt[string] `col:"rabbitstream_client" enc:"dict" doc:"product and version of the client, from PeerProperties"`
	Server       table.Opt[string] `col:"rabbitstream_server" enc:"dict" doc:"product and version of the server, from PeerProperties"`
	ResponseCode table.Opt[string] `col:"rabbitstream_response" enc:"dict" doc:"name of the response code, such as OK or Stream does not exist"`
	Reason       table.Opt[string] `col:"rabbitstream_reason" doc:"reason of Close, in words"`
}

// Protocol is the stream protocol.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "rabbitstream",
		Doc:        "stream protocol of RabbitMQ",
		Versions:   "RabbitMQ 3.9 to 4.2",
		Depth:      "commands with responses, streams, publishers, offsets, errors; not the content of messages",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{5552},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true, Before: "method IN ('PeerProperties', 'SaslHandshake', 'SaslAuthenticate', 'Tune', 'Open')"},
	}
}

// id identifies a request: by its sender and correlation id, or a publication by publisher and message.
type id struct {
	from      dissect.Dir
	publishes bool
	publisher uint8
	number    uint64
}

// call is a command that waits for its response, or a message that has none.
type call struct {
	x     dissect.Exchange
	row   *Row
	from  dissect.Dir // of the command
	key   uint16
	alone bool // no response will come
	asked bool // the command was captured completely
	bad   bool
}

// Add implements framed.Call.
func (c *call) Add(in *dissect.Input, from, to int) {
	if c != nil {
		c.x.AddTo(in.Dir != c.from, in, from, to)
	}
}

const callCost = int(unsafe.Sizeof(call{})+unsafe.Sizeof(Row{})) + 512 // with its text

// publisher is what DeclarePublisher says of one.
type publisher struct{ name, stream string }

type conn struct {
	byid.Table[id, *call]
	framed     framed.Reader[*call]
	publishers map[uint8]publisher
	streams    map[uint8]string // of subscriptions
	user       string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{publishers: map[uint8]publisher{}, streams: map[uint8]string{}}
	k.Conn, k.Emit = c, k.emit
	k.framed = framed.Reader[*call]{Conn: c, Handler: k, Most: maxRead, Least: headSize + 4}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) { return k.framed.Read(in) }

// Size implements framed.Handler.
func (k *conn) Size(_ dissect.Dir, b []byte) (int64, error) {
	if len(b) < headSize {
		return 0, nil
	}
	size, key := int64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint16(b[4:])
	if size < headSize-4 || size > maxFrame || !known(key) {
		return 0, fmt.Errorf("reading a frame: length %d or key %#04x is not of a command", size, key)
	}
	return 4 + size, nil
}

// Message implements framed.Handler.
func (k *conn) Message(in *dissect.Input, at int, b []byte, partial bool) (*call, error) {
	f := frame{key: binary.BigEndian.Uint16(b[4:]), version: binary.BigEndian.Uint16(b[6:]), partial: partial}
	body := b[headSize:]
	if f.key&response != 0 {
		return k.response(in, f, body)
	}
	c := &call{row: &Row{}, from: in.Dir, key: f.key}
	c.x.Reversed = in.Dir == dissect.ToClient
	d := newReader(body)
	hidden, whole := c.row.asked(k.Conn, f, in.Dir, &d)
	if !whole {
		if k.Conn.Unproved() {
			return nil, fmt.Errorf("reading %s: its %d bytes do not have the form of the command", command(f.key), len(body))
		}
		c.bad = true
		k.Conn.Anomaly("malformed", "reading "+command(f.key)+": its bytes do not have the form of the command", 0)
	}
	if n := len(hidden); n > 0 {
		end := at + headSize + d.Used()
		c.x.Hide(in, end-n, end)
	}
	if partial && (c.key == publishConfirm || c.key == publishError) {
		k.Conn.Incomplete(in.Dir)
	}
	return k.begin(in, at, b, c, &d), nil
}

// begin keeps a command, or sets its result if no response will come. It returns nil if there is nothing to emit.
func (k *conn) begin(in *dissect.Input, at int, b []byte, c *call, d *reader) *call {
	key := id{from: in.Dir}
	switch c.key {
	case heartbeat:
		return nil
	case publishConfirm, publishError:
		k.confirmed(in, at, b, d, c.key == publishError)
		return nil
	case publish:
		k.knows(c.row, d.publisher)
		key.publishes, key.publisher, key.number = true, d.publisher, d.last
	case deliver, credit, unsubscribe, consumerUpdate:
		c.row.Stream = table.NonEmpty(k.streams[d.subscription])
	case subscribe:
		k.streams[d.subscription] = c.row.Stream.V
	case declarePublisher:
		k.publishers[d.publisher] = publisher{c.row.Publisher.V, c.row.Stream.V}
	case deletePublisher:
		k.knows(c.row, d.publisher)
	case saslAuthenticate:
		k.user = c.row.User.V
	}
	if c.row.User = table.NonEmpty(k.user); c.row.Correlation.OK {
		key.number = uint64(c.row.Correlation.V)
	} else if c.key != publish {
		c.alone = true
		return c
	}
	k.Put(key, c, callCost)
	return c
}

func (k *conn) knows(row *Row, id uint8) {
	p := k.publishers[id]
	row.Publisher, row.Stream = table.NonEmpty(p.name), table.NonEmpty(p.stream)
}

// confirmed ends the Publish commands whose last message the broker confirms or refuses.
func (k *conn) confirmed(in *dissect.Input, at int, b []byte, d *reader, refused bool) {
	for each := range d.confirmed {
		c, ok := k.Take(id{from: dissect.ToServer, publishes: true, publisher: d.publisher, number: each.number})
		if !ok {
			continue
		}
		k.Conn.Confirm()
		c.x.Response(in, at, at+len(b))
		if refused {
			c.row.answer(each.code)
		}
		k.emit(c, "")
	}
}

// response reads a response.
func (k *conn) response(in *dissect.Input, f frame, body []byte) (*call, error) {
	d := newReader(body)
	if f.key &^= response; f.key == credit { // only errors are reported, without a correlation id
		c := &call{row: &Row{}, from: in.Dir, key: f.key, alone: true}
		c.x.Reversed = in.Dir == dissect.ToClient
		c.row.answer(d.Uint16())
		c.row.Stream = table.NonEmpty(k.streams[d.Uint8()])
		return c, nil
	}
	number := d.Uint32()
	c, ok := k.Take(id{from: in.Dir.Other(), number: uint64(number)})
	switch {
	case ok && c.key != f.key:
		k.Emit(c, "no_response")
		ok = false
	case ok:
		k.Conn.Confirm()
	}
	if !ok {
		c = &call{row: &Row{Correlation: table.Some(int64(number))}, from: in.Dir.Other(), key: f.key}
		c.x.Reversed = in.Dir == dissect.ToServer
	}
	if !c.row.answered(f, &d) {
		if k.Conn.Unproved() {
			return nil, fmt.Errorf("reading the response of %s: its %d bytes do not have the form of the command", command(f.key), len(body))
		}
		c.bad = true
		k.Conn.Anomaly("malformed", "reading the response of "+command(f.key)+": its bytes do not have the form of the command", 0)
	}
	return c, nil
}

// Ended implements framed.Handler.
func (k *conn) Ended(dir dissect.Dir, c *call, why string) {
	switch c.bad = c.bad || why == string(dissect.LossMalformed); {
	case c.alone, dir != c.from:
		k.emit(c, why)
	default:
		c.asked = why == ""
	}
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool { return k.framed.Gap(in, missing) }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	k.framed.Resync(dir, why)
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user)
	for _, p := range k.publishers {
		n += 64 + len(p.name) + len(p.stream)
	}
	for _, s := range k.streams {
		n += 32 + len(s)
	}
	return n
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.framed.Close(why)
	k.Table.Close(why)
}
