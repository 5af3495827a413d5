// Package pulsar reads the binary protocol of Apache Pulsar: commands with their replies, and the metadata of messages.
//
// A row is a command with its reply, or a message without one. Credentials never leave the package.
package pulsar

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one frame and of one connection.
const (
	headSize = 8
	maxRead  = 16 << 10 // bytes of a frame that are read
	maxFrame = 64 << 20 // the default of brokers is 5 MiB
	maxText  = 1 << 10
	maxKnown = 256 // producers, and consumers, whose topic is known
)

// Row is a command with its reply.
type Row struct {
	table.Call
	RequestNo    table.Opt[int64]  `col:"pulsar_request_id" doc:"identifier that pairs command and reply"`
	Topic        table.Opt[string] `col:"pulsar_topic" enc:"dict" doc:"topic: of the command, or of its producer or consumer; of GET_TOPICS_OF_NAMESPACE, the namespace"`
	Subscription table.Opt[string] `col:"pulsar_subscription" enc:"dict" doc:"subscription, also that of the consumer"`
	Producer     table.Opt[int64]  `col:"pulsar_producer_id" doc:"producer in this connection"`
	Consumer     table.Opt[int64]  `col:"pulsar_consumer_id" doc:"consumer in this connection"`
	Sequence     table.Opt[int64]  `col:"pulsar_sequence_id" doc:"number of a sent message of its producer"`
	Name         table.Opt[string] `col:"pulsar_name" enc:"dict" doc:"name of the producer or consumer"`
	Messages     table.Opt[int64]  `col:"pulsar_messages" doc:"messages that the frame carries"`
	Key          table.Opt[string] `col:"pulsar_key" doc:"key of the message"`
	Client       table.Opt[string] `col:"pulsar_client_version" enc:"dict" doc:"program and version of the client"`
	Server       table.Opt[string] `col:"pulsar_server_version" enc:"dict" doc:"program and version of the server"`
	Broker       table.Opt[string] `col:"pulsar_broker" enc:"dict" doc:"URL of the broker that LOOKUP found"`
	Error        table.Opt[string] `col:"pulsar_error" doc:"text of an error, at most 1 KiB"`
}

// Protocol is Pulsar's binary protocol.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "pulsar",
		Doc:        "Apache Pulsar: producers, consumers, messages, lookups",
		Versions:   "binary protocol, up to version 21",
		Depth:      "commands with replies, metadata of messages; not their content",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{6650},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true, Before: "method IN ('CONNECT', 'PING', 'AUTH_CHALLENGE', 'AUTH_RESPONSE')"},
	}
}

// key identifies a command that waits: by its sender and request, or a message by producer and sequence.
type key struct {
	from dissect.Dir
	kind uint8 // of a command without a request id, else 0
	a, b uint64
}

// call is a command with its reply.
type call struct {
	x     dissect.Exchange
	row   *Row
	from  dissect.Dir // of the command
	alone bool
	asked bool // the command was captured completely
}

// Add implements framed.Call.
func (c *call) Add(in *dissect.Input, from, to int) {
	if c != nil {
		c.x.AddTo(in.Dir != c.from, in, from, to)
	}
}

const callCost = int(unsafe.Sizeof(call{})+unsafe.Sizeof(Row{})) + 512

// end is what is known of a producer or a consumer.
type end struct{ topic, subscription table.Opt[string] }

type conn struct {
	byid.Table[key, *call]
	framed    framed.Reader[*call]
	producers map[uint64]end
	consumers map[uint64]end
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{producers: map[uint64]end{}, consumers: map[uint64]end{}}
	k.Conn, k.Emit = c, k.emit
	k.framed = framed.Reader[*call]{Conn: c, Handler: k, Most: maxRead, Least: headSize + 4}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) { return k.framed.Read(in) }

// Size implements framed.Handler.
func (k *conn) Size(dir dissect.Dir, b []byte) (int64, error) {
	if len(b) < headSize+3 {
		return 0, nil
	}
	size, command := int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))
	if size < 8 || size > maxFrame || command < 4 || command > size-4 || !sends(dir, b[headSize:]) {
		return 0, fmt.Errorf("reading a frame: length %d, command of %d bytes and type %d are not those of Pulsar", size, command, b[headSize+1])
	}
	return 4 + size, nil
}

// Message implements framed.Handler.
func (k *conn) Message(in *dissect.Input, at int, b []byte, partial bool) (*call, error) {
	n := headSize + int(min(int64(binary.BigEndian.Uint32(b[4:])), int64(len(b)-headSize)))
	f, ok := readCommand(b[headSize:n])
	switch {
	case !ok && partial: // the request that it answers is not known
		k.Conn.Incomplete(in.Dir)
	case !ok:
		if k.Conn.Unproved() {
			return nil, fmt.Errorf("reading a command: type %d does not have the form of one", b[headSize+1])
		}
		k.Conn.Anomaly("malformed", "reading a command: its fields cannot be read", 0)
	}
	row := &Row{}
	row.Method = table.Some(f.name)
	f.fill(row)
	if f.reply {
		return k.answered(in, &f, row), nil
	}
	c := &call{row: row, from: in.Dir}
	c.x.Reversed = in.Dir == dissect.ToClient
	k.knows(&f, row)
	switch f.kind {
	case connect, authResponse:
		k.login(in, at, c, &f)
	case send, message:
		row.metadata(b[n:])
	}
	id, waits := f.key(in.Dir)
	if c.alone = !waits; waits {
		k.Put(id, c, callCost)
	}
	return c, nil
}

// answered finds the command of a reply.
func (k *conn) answered(in *dissect.Input, f *command, row *Row) *call {
	id, _ := f.key(in.Dir.Other())
	c, ok := k.Take(id)
	if !ok && f.kind == errorReply { // one without a request answers CONNECT
		c, ok = k.Take(key{from: in.Dir.Other(), kind: connected})
	}
	if !ok {
		c = &call{row: &Row{}, from: in.Dir.Other()}
		c.row.Method, c.row.RequestNo = row.Method, row.RequestNo
		c.x.Reversed = in.Dir == dissect.ToServer
	}
	r := c.row
	if row.Name.OK {
		r.Name = row.Name
	}
	r.Broker, r.Error = row.Broker, row.Error
	if f.kind == connected {
		r.Server = f.text(1)
	}
	if code, failed := f.number("error"); failed {
		r.fail(int64(code))
	}
	return c
}

// knows notes the topic of a producer or a consumer, or adds it to the row.
func (k *conn) knows(f *command, row *Row) {
	for _, known := range [...]struct {
		id  table.Opt[int64]
		all map[uint64]end
	}{{row.Producer, k.producers}, {row.Consumer, k.consumers}} {
		switch id := uint64(known.id.V); {
		case !known.id.OK:
		case row.Topic.OK && (f.kind == producer || f.kind == subscribe):
			if len(known.all) == maxKnown {
				clear(known.all)
			}
			known.all[id] = end{row.Topic, row.Subscription}
		default:
			row.Topic, row.Subscription = known.all[id].topic, known.all[id].subscription
		}
	}
}

// fail sets the outcome of an error.
func (row *Row) fail(code int64) {
	row.StatusCode, row.StatusText = table.Some(int32(min(code, math.MaxInt32))), table.Some(tables()["error"].Name(code, "error_"))
	switch code {
	case 0, 1, 2, 6, 20:
		row.Outcome = table.ServerError
	case 3, 4, 5, 7, 8, 14, 16, 22, 25:
		row.Outcome = table.Refused
	default:
		row.Outcome = table.ClientError
	}
}

// Ended implements framed.Handler.
func (k *conn) Ended(dir dissect.Dir, c *call, why string) {
	if c.alone || dir != c.from {
		k.emit(c, why)
	} else {
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
func (k *conn) Kept() int { return (len(k.producers) + len(k.consumers)) * 256 }

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.framed.Close(why)
	k.Table.Close(why)
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	k.framed.Forget(c)
	if why == "" && !c.x.HasRequest() {
		why = "no_request"
	}
	b := row.Base()
	b.Error, b.Complete, b.Path = table.NonEmpty(why), why == "" && (c.asked || c.alone), row.Topic
	s := b.Method.V
	if row.Messages.V > 1 {
		s += " " + clip.Count(row.Messages.V, "message", "messages")
	}
	switch {
	case row.Topic.OK:
		s += " " + row.Topic.V
	case row.Producer.OK, row.Consumer.OK: // its beginning was not captured
		s += " ?"
	}
	if row.Subscription.OK {
		s += " (" + row.Subscription.V + ")"
	}
	switch {
	case b.StatusText.OK:
		s += " → " + b.StatusText.V
	case why != "":
		s += " → " + why
	case row.Broker.OK:
		s += " → " + row.Broker.V
	}
	b.Summary = s
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}
