package pulsar

import (
	"bytes"
	_ "embed" // for commands.txt and names.txt
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Types of commands with a meaning of their own.
const (
	connect      = 2
	connected    = 3
	subscribe    = 4
	producer     = 5
	send         = 6
	sendReceipt  = 7
	sendError    = 8
	message      = 9
	errorReply   = 14
	ping         = 18
	pong         = 19
	authResponse = 37
	maxHeaders   = 64
)

var (
	//go:embed names.txt
	namesText string
	//go:embed commands.txt
	commandsText string
)

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// form is a line of commands.txt.
type form struct {
	name, from string
	reply      bool
	fields     map[string]protowire.Number
}

// forms are the lines of commands.txt.
var forms = sync.OnceValue(func() map[uint64]form {
	all := map[uint64]form{}
	for line := range strings.Lines(commandsText) {
		words := strings.Fields(line)
		if words[0] == "#" {
			continue
		}
		kind, err := strconv.ParseUint(words[0], 10, 8)
		f := form{name: words[1], from: words[2], fields: map[string]protowire.Number{}}
		for _, w := range words[3:] {
			field, n, numbered := strings.Cut(w, "=")
			if f.reply = f.reply || !numbered; numbered {
				v, bad := strconv.Atoi(n)
				if bad != nil {
					err = bad
				}
				f.fields[field] = protowire.Number(v)
			}
		}
		if err != nil {
			panic("commands.txt: " + line)
		}
		all[kind] = f
	}
	return all
})

// sends reports whether b begins a command that a side may send: its type, and the field of that type.
func sends(dir dissect.Dir, b []byte) bool {
	if len(b) < 3 || b[0] != 0x08 || b[1] >= 0x80 {
		return false
	}
	f, ok := forms()[uint64(b[1])]
	if !ok || f.from != "both" && f.from != dir.Sender() {
		return false
	}
	tag := protowire.AppendTag(nil, protowire.Number(b[1]), protowire.BytesType)
	return bytes.HasPrefix(b[2:], tag[:min(len(tag), len(b)-2)])
}

// command is a command with its fields.
type command struct {
	form
	kind    uint64
	at      int // of the fields
	numbers map[protowire.Number]uint64
	texts   map[protowire.Number][]byte
}

// readCommand reads a command: its fields are in the field of its type. ok is false if some cannot be read.
func readCommand(b []byte) (c command, ok bool) {
	c = command{kind: uint64(b[1]), numbers: map[protowire.Number]uint64{}, texts: map[protowire.Number][]byte{}}
	c.form = forms()[c.kind]
	_, _, n := protowire.ConsumeTag(b[2:])
	if n < 0 {
		return c, false
	}
	fields, m := protowire.ConsumeBytes(b[2+n:])
	if m < 0 {
		return c, false
	}
	c.at = 2 + n + m - len(fields)
	return c, walk(fields, func(field protowire.Number, v uint64, text []byte) {
		if text != nil {
			c.texts[field] = text
		} else {
			c.numbers[field] = v
		}
	})
}

// walk calls f for each field of a message, of which text is nil if it is a number.
func walk(b []byte, f func(field protowire.Number, v uint64, text []byte)) bool {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return false
			}
			f(field, v, nil)
			b = b[n:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return false
			}
			f(field, 0, v[:len(v):len(v)])
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(field, kind, b)
			if n < 0 {
				return false
			}
			b = b[n:]
		}
	}
	return true
}

// number is a field by its name in commands.txt.
func (c *command) number(name string) (uint64, bool) {
	v, ok := c.numbers[c.fields[name]]
	return v, ok && c.fields[name] != 0
}

func (c *command) text(n protowire.Number) table.Opt[string] {
	return table.NonEmpty(clip.Line(c.texts[n], maxText))
}

// fill sets the columns of the fields that commands.txt names.
func (c *command) fill(row *Row) {
	for name, to := range map[string]*table.Opt[int64]{"request": &row.RequestNo, "producer": &row.Producer, "consumer": &row.Consumer, "sequence": &row.Sequence, "count": &row.Messages} {
		if v, ok := c.number(name); ok && v <= math.MaxInt64 {
			*to = table.Some(int64(v))
		}
	}
	for name, to := range map[string]*table.Opt[string]{"topic": &row.Topic, "subscription": &row.Subscription, "name": &row.Name, "broker": &row.Broker, "message": &row.Error} {
		if n := c.fields[name]; n != 0 {
			*to = c.text(n)
		}
	}
	if c.kind == connect {
		row.Client = c.text(1)
	}
}

// key is what pairs a command that from sends with its reply. ok is false if nothing answers it.
func (c *command) key(from dissect.Dir) (id key, ok bool) {
	if request, ok := c.number("request"); ok && request != math.MaxUint64 {
		return key{from: from, a: request}, true
	}
	switch c.kind {
	case connect, connected:
		return key{from: from, kind: connected}, true
	case send, sendReceipt, sendError:
		p, _ := c.number("producer")
		s, _ := c.number("sequence")
		return key{from: from, kind: send, a: p, b: s}, true
	case ping, pong:
		return key{from: from, kind: pong}, true
	}
	return key{}, false
}

// login reads the kind of credentials of CONNECT (fields 3 and 5) and AUTH_RESPONSE (field 2: method 1, data 2).
func (k *conn) login(in *dissect.Input, at int, c *call, f *command) {
	method, secret := string(f.texts[5]), f.texts[3]
	if f.kind == authResponse {
		method, secret = "", nil
		walk(f.texts[2], func(field protowire.Number, _ uint64, text []byte) {
			if field == 1 {
				method = string(text)
			} else if field == 2 {
				secret = text
			}
		})
	}
	if method == "none" || secret == nil {
		return
	}
	c.row.AuthKind = table.NonEmpty(clip.Line([]byte(strings.ToLower(method)), 64))
	if user, password, ok := strings.Cut(string(secret), ":"); ok && method == "basic" {
		c.row.Name = table.NonEmpty(clip.Line([]byte(user), maxText))
		k.Conn.Password(user, password)
	}
	if i := bytes.Index(in.Data[at:], secret); i >= 0 && len(secret) > 0 {
		c.x.Hide(in, at+i, at+i+len(secret))
	}
}

// metadata reads what follows the command of a frame with messages: a checksum, and the metadata of the first message.
func (row *Row) metadata(b []byte) {
	if len(b) > 6 && b[0] == 0x0e && b[1] == 0x02 { // the broker's own metadata
		n := int64(binary.BigEndian.Uint32(b[2:]))
		if n > int64(len(b)-6) {
			return
		}
		b = b[6+n:]
	}
	if len(b) > 6 && b[0] == 0x0e && b[1] == 0x01 {
		b = b[6:]
	}
	if len(b) < 4 {
		return
	}
	n := int64(binary.BigEndian.Uint32(b))
	if b = b[4:]; n > int64(len(b)) {
		return
	}
	walk(b[:n], func(field protowire.Number, v uint64, text []byte) {
		switch field {
		case 1:
			row.Name = table.NonEmpty(clip.Line(text, maxText))
		case 4:
			var h table.Header
			walk(text, func(field protowire.Number, _ uint64, text []byte) {
				if field == 1 {
					h.Name = clip.Line(text, 256)
				} else if field == 2 {
					h.Value = clip.Text(text, maxText)
				}
			})
			if h.Kind = httpfield.Request; len(row.Headers) < maxHeaders {
				row.Headers = append(row.Headers, h)
			}
		case 6:
			row.Key = table.NonEmpty(clip.Line(text, maxText))
		case 11:
			row.Messages = table.Some(int64(v & math.MaxInt32))
		}
	})
	if !row.Messages.OK {
		row.Messages = table.Some(int64(1))
	}
	httpfield.Fill(&row.Call, row.Headers)
}

// detect accepts the beginning of a frame: two lengths that fit, and a command of that side.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	const enough = headSize + 4
	if len(b) > 0 && b[0] > maxFrame>>24 || len(b) > headSize && b[headSize] != 0x08 || len(b) > headSize+2 && !sends(dir, b[headSize:]) {
		return dissect.No
	}
	if len(b) >= headSize {
		if size, command := int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:])); size > maxFrame || command < 4 || command > size-4 {
			return dissect.No
		}
	}
	if len(b) < enough {
		return dissect.More
	}
	return dissect.Yes
}
