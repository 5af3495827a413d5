package rabbitstream

import (
	"encoding/binary"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Keys of commands.
const (
	declarePublisher = 1 + iota
	publish
	publishConfirm
	publishError
	querySequence
	deletePublisher
	subscribe
	deliver
	credit
	storeOffset
	queryOffset
	unsubscribe
	create
	remove
	metadata
	metadataUpdate
	peerProperties
	saslHandshake
	saslAuthenticate
	tune
	open
	closing
	heartbeat
	route
	partitions
	consumerUpdate
	commandVersions
	streamStats
	createSuper
	deleteSuper

	response = 0x8000 // bit of the key of a response
)

const (
	maxNames  = 64        // streams and properties that are read
	chunkHead = 48        // bytes of the head of a chunk in Deliver
	chunkMark = 0x50      // magic and version at its beginning
	maxItems  = 1_000_000 // of a list
	batch     = 0x80      // bit of an entry that is a batch of messages
)

// frame is the head of a frame.
type frame struct {
	key, version uint16
	partial      bool // only the beginning of a long frame was read
}

// known reports whether a key is one of a command or of its response.
func known(key uint16) bool {
	key &^= response
	return key >= declarePublisher && key <= deleteSuper
}

// command is the name of a command.
func command(key uint16) string { return tables()["command"].Name(int64(key), "command_") }

// correlated reports whether a command has a correlation id.
func correlated(key uint16) bool {
	switch key {
	case publish, publishConfirm, publishError, deliver, credit, storeOffset, metadataUpdate, tune, heartbeat:
		return false
	}
	return true
}

// numbered reports whether a command names a publisher or a subscription by its number, so that its stream is known only
// from an earlier command.
func numbered(key uint16) bool {
	switch key {
	case publish, deliver, credit, deletePublisher, unsubscribe, consumerUpdate:
		return true
	}
	return false
}

// sent reports whether a side may send a command, not a response.
func sent(key uint16, dir dissect.Dir) bool {
	switch key {
	case tune, closing, heartbeat:
		return true
	case publishConfirm, publishError, deliver, metadataUpdate, consumerUpdate:
		return dir == dissect.ToClient
	}
	return dir == dissect.ToServer
}

// reader reads the fields of a frame, and keeps those that the connection needs.
type reader struct {
	cursor.Cursor
	publisher, subscription uint8
	last                    uint64 // number of the last message of Publish
	list                    []byte // of PublishConfirm and PublishError
	step                    int    // bytes of one of its elements
}

func newReader(b []byte) reader { return reader{Cursor: cursor.New(b)} }

// text is a string: a length in 2 bytes, negative if there is none.
func (d *reader) text() string {
	n := int16(d.Uint16())
	if n < 0 {
		return ""
	}
	return message.Text(d.Bytes(int(n)))
}

// count is the length of a list whose elements have at least so many bytes. It is 0 if they do not fit.
func (d *reader) count(least int) int {
	n := int64(int32(d.Uint32()))
	if n < 0 || n > maxItems || n*int64(least) > int64(d.Left()) {
		d.Skip(d.Left() + 1)
		return 0
	}
	return int(n)
}

// texts are the strings of a list, at most maxNames.
func (d *reader) texts() (list []string) {
	for range d.count(2) {
		if s := d.text(); len(list) < maxNames {
			list = append(list, s)
		}
	}
	return list
}

// properties returns the values of some names in a map.
func (d *reader) properties(names ...string) []string {
	values := make([]string, len(names))
	for range d.count(4) {
		name, value := d.text(), d.text()
		for i := range names {
			if name == names[i] {
				values[i] = value
			}
		}
	}
	return values
}

// confirmation is a message that the broker confirms or refuses.
type confirmation struct {
	number uint64
	code   uint16
}

// confirmed lists the messages of PublishConfirm or PublishError.
func (d *reader) confirmed(yield func(confirmation) bool) {
	for b := d.list; d.step > 0 && len(b) >= d.step; b = b[d.step:] {
		c := confirmation{number: binary.BigEndian.Uint64(b)}
		if d.step > 8 {
			c.code = binary.BigEndian.Uint16(b[8:])
		}
		if !yield(c) {
			return
		}
	}
}

// asked reads a command. hidden are the credentials at the end of what was read. whole reports whether the bytes have the
// form of the command.
func (r *Row) asked(to sasl.Judge, f frame, dir dissect.Dir, d *reader) (hidden []byte, whole bool) {
	if f.key&response != 0 || !sent(f.key, dir) || f.version < 1 || f.version > 2 {
		return nil, false
	}
	r.Method = table.Some(command(f.key))
	if correlated(f.key) {
		r.Correlation = table.Some(int64(d.Uint32()))
	}
	switch f.key {
	case publish, publishConfirm, publishError, deliver:
		r.messages(f, d)
	case saslAuthenticate:
		hidden = r.login(to, d)
	default:
		r.plain(f.key, d)
	}
	return hidden, f.partial || !d.Short() && d.Left() == 0
}

// plain reads the commands that carry no messages and no credentials.
func (r *Row) plain(key uint16, d *reader) {
	switch key {
	case declarePublisher:
		d.publisher = d.Uint8()
		r.Publisher, r.Stream = table.NonEmpty(d.text()), table.NonEmpty(d.text())
	case querySequence:
		r.Publisher, r.Stream = table.NonEmpty(d.text()), table.NonEmpty(d.text())
	case deletePublisher:
		d.publisher = d.Uint8()
	case subscribe:
		d.subscription = d.Uint8()
		r.Stream = table.NonEmpty(d.text())
		r.start(d)
		r.Credit = table.Some(int32(d.Uint16()))
		if d.Left() > 0 {
			r.Consumer = table.NonEmpty(d.properties("name")[0])
		}
	case credit:
		d.subscription = d.Uint8()
		r.Credit = table.Some(int32(d.Uint16()))
	case unsubscribe:
		d.subscription = d.Uint8()
	case consumerUpdate:
		d.subscription = d.Uint8()
		d.Uint8() // whether it is the active one
	case storeOffset:
		r.Consumer, r.Stream = table.NonEmpty(d.text()), table.NonEmpty(d.text())
		r.Offset = table.Some(int64(d.Uint64()))
	case queryOffset:
		r.Consumer, r.Stream = table.NonEmpty(d.text()), table.NonEmpty(d.text())
	case create:
		r.Stream = table.NonEmpty(d.text())
		d.properties()
	case createSuper:
		r.Stream = table.NonEmpty(d.text())
		r.Streams = d.texts()
		d.texts() // binding keys
		d.properties()
	case remove, deleteSuper, partitions, streamStats:
		r.Stream = table.NonEmpty(d.text())
	case route:
		d.text() // routing key
		r.Stream = table.NonEmpty(d.text())
	case metadata:
		if r.Streams = d.texts(); len(r.Streams) == 1 {
			r.Stream = table.NonEmpty(r.Streams[0])
		}
	case metadataUpdate:
		r.ResponseCode = table.Some(tables()["response"].Name(int64(d.Uint16()), "response_"))
		r.Stream = table.NonEmpty(d.text())
	case peerProperties:
		r.Client = program(d)
	case tune:
		d.Skip(8) // the longest frame, and the interval of heartbeats
	case open:
		r.VirtualHost = table.NonEmpty(d.text())
	case closing:
		d.Uint16() // code, 1 for a normal end
		r.Reason = table.NonEmpty(d.text())
	case commandVersions:
		d.Skip(6 * d.count(6))
	}
}

// start reads the start of a subscription.
func (r *Row) start(d *reader) {
	names := []string{"", "first", "last", "next", "offset", "timestamp"}
	kind := int(d.Uint16())
	if kind < 1 || kind >= len(names) {
		d.Skip(d.Left() + 1)
		return
	}
	switch r.Start = table.Some(names[kind]); kind {
	case 4:
		r.Offset = table.Some(int64(d.Uint64()))
	case 5:
		d.Uint64()
	}
}

// messages reads what is published, confirmed or delivered.
func (r *Row) messages(f frame, d *reader) {
	switch f.key {
	case publish:
		d.publisher = d.Uint8()
		r.entries(f, d, int64(int32(d.Uint32())))
	case publishConfirm, publishError:
		d.publisher, d.step = d.Uint8(), 8
		if f.key == publishError {
			d.step = 10
		}
		n := int64(int32(d.Uint32())) * int64(d.step)
		if f.partial {
			n = min(n, int64(d.Left()))
		}
		d.list = d.Bytes(int(n))
	case deliver:
		d.subscription = d.Uint8()
		if f.version == 2 {
			d.Uint64() // offset of the last committed chunk
		}
		r.chunk(f, d)
	}
}

// entries reads the messages of Publish. An entry may be a batch of messages, compressed or not.
func (r *Row) entries(f frame, d *reader, n int64) {
	messages := n
	for i := int64(0); i < n && !d.Short(); i++ {
		number := d.Uint64()
		if i == 0 {
			r.Publishing = table.Some(int64(number))
		}
		if i == 0 || !f.partial {
			d.last = number
		}
		if f.version == 2 {
			d.text() // value for filters
		}
		if d.Left() > 0 && d.Rest()[0]&batch != 0 {
			d.Skip(1) // kind of compression
			messages += int64(d.Uint16()) - 1
			d.Skip(4) // its length without compression
		}
		d.Skip(int(min(d.Uint32(), maxFrame)))
	}
	r.Messages = table.Some(messages)
}

// chunk reads the head of a chunk of messages.
func (r *Row) chunk(f frame, d *reader) {
	mark := d.Uint8()
	d.Skip(1 + 2) // kind of chunk, number of entries
	r.Messages = table.Some(int64(d.Uint32()))
	d.Skip(8 + 8) // time, epoch
	r.Offset = table.Some(int64(d.Uint64()))
	d.Skip(4) // checksum
	data := int64(d.Uint32())
	d.Skip(4 + 4) // length of a trailer, which is not sent; reserved
	if f.partial {
		return
	}
	if d.Short() || mark != chunkMark || data != int64(d.Left()) {
		d.Skip(d.Left() + 1)
		return
	}
	d.Skip(d.Left())
}

// login reads mechanism and user, and returns the credentials.
func (r *Row) login(to sasl.Judge, d *reader) (hidden []byte) {
	mechanism := d.text()
	n := int32(d.Uint32())
	if r.Mechanism = table.NonEmpty(mechanism); n < 0 {
		return nil
	}
	token := d.Bytes(int(n))
	r.AuthKind = table.NonEmpty(sasl.Kind(mechanism))
	r.User = table.NonEmpty(message.Text(sasl.User(to, mechanism, token)))
	if strings.EqualFold(mechanism, "PLAIN") {
		return token[strings.LastIndexByte(string(token), 0)+1:]
	}
	return token
}

// program is product and version in the properties of a side.
func program(d *reader) table.Opt[string] {
	p := d.properties("product", "version")
	return table.NonEmpty(strings.TrimSpace(p[0] + " " + p[1]))
}

// answered reads a response after its correlation id, and reports whether it has the form of the command's.
func (r *Row) answered(f frame, d *reader) bool {
	if !r.Method.OK {
		r.Method = table.Some(command(f.key))
	}
	if f.key == metadata { // it has a code for each stream
		return f.partial || r.places(d)
	}
	code := d.Uint16()
	if r.answer(code); code != 1 || f.partial {
		return !d.Short()
	}
	switch f.key {
	case querySequence:
		r.Publishing = table.Some(int64(d.Uint64()))
	case queryOffset:
		r.Offset = table.Some(int64(d.Uint64()))
	case peerProperties:
		r.Server = program(d)
	case open:
		if d.Left() > 0 {
			d.properties()
		}
	case saslHandshake, route, partitions:
		if list := d.texts(); f.key != saslHandshake {
			r.Streams = list
		}
	}
	return !d.Short()
}

// places reads the response to Metadata: brokers, then streams with their codes. The first error is that of the row.
func (r *Row) places(d *reader) bool {
	for range d.count(8) {
		d.Uint16()
		d.text()
		d.Uint32()
	}
	r.answer(1)
	for range d.count(10) {
		d.text()
		code := d.Uint16()
		d.Uint16() // leader
		d.Skip(2 * d.count(2))
		if code != 1 && r.StatusCode.V == 1 {
			r.answer(code)
		}
	}
	return !d.Short()
}

// answer sets the result of a response code.
func (r *Row) answer(code uint16) {
	r.StatusCode = table.Some(int32(code))
	r.ResponseCode = table.Some(tables()["response"].Name(int64(code), "response_"))
	switch code {
	case 1, 10, 19: // OK, the next step of a login, no offset stored yet
	case 6, 15: // not available, internal error
		r.Outcome = table.ServerError
	default:
		r.Outcome = table.ClientError
	}
}

// printable reports whether a row names a stream, as detection requires it.
func (r *Row) printable() bool { return r.Stream.OK && clip.Printable([]byte(r.Stream.V)) }
