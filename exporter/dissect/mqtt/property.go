package mqtt

import (
	"encoding/binary"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// reader reads the fields of a packet.
type reader struct {
	cursor.Cursor
	version byte
	at      int    // of the fields in the input
	secret  [2]int // of the authentication data of the last properties, from and to
}

// text reads a text or bytes after their length.
func (r *reader) text() []byte { return r.Bytes(int(r.Uint16())) }

// varint reads a number of at most 4 groups of 7 bits.
func (r *reader) varint() (n int64) {
	for shift := 0; shift < 28; shift += 7 {
		b := r.Uint8()
		n |= int64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	r.Bytes(-1)
	return 0
}

// Properties that are read, MQTT 5.0 section 2.2.2.2.
const (
	propExpiry     = 2
	propType       = 3
	propReplyTo    = 8
	propRelated    = 9
	propSession    = 17
	propAssigned   = 18
	propKeepAlive  = 19
	propAuthMethod = 21
	propAuthData   = 22
	propServer     = 28
	propReason     = 31
	propAlias      = 35
	propUser       = 38
)

// properties reads the properties of a packet of MQTT 5.0.
func (r *reader) properties(c *call) {
	if r.version != 5 {
		return
	}
	n := int(r.varint())
	at := r.at + r.Used()
	p := reader{Cursor: r.Sub(n)}
	r.secret = [2]int{}
	for p.Left() > 0 && !p.Short() {
		id := p.varint()
		coding, ok := tables()["property"][id]
		if !ok {
			r.Bytes(-1)
			return
		}
		var value, second []byte
		switch coding {
		case "10":
			p.varint()
		case "11", "12":
			value = p.text()
		case "13":
			value, second = p.text(), p.text()
		default:
			value = p.Bytes(int(coding[0] - '0'))
		}
		if p.Short() {
			r.Bytes(-1)
			return
		}
		if id == propAuthData {
			r.secret = [2]int{at + p.Used() - len(value), at + p.Used()}
		}
		c.property(id, value, second)
	}
}

// property reads a property of a packet.
func (c *call) property(id int64, value, second []byte) {
	row := c.row
	var wide [8]byte
	number := int64(0)
	if len(value) <= 8 {
		copy(wide[8-len(value):], value)
		number = int64(binary.BigEndian.Uint64(wide[:]))
	}
	switch id {
	case propExpiry, propSession:
		row.Expiry = table.Some(number)
	case propType:
		row.RequestContentType = table.NonEmpty(message.Text(value))
	case propReplyTo:
		row.ReplyTo = table.NonEmpty(message.Text(value))
	case propRelated:
		row.Related = table.NonEmpty(message.Show(value))
	case propAssigned:
		row.Client = table.NonEmpty(message.Text(value))
	case propKeepAlive:
		row.KeepAlive = table.Some(int32(number))
	case propAuthMethod:
		row.AuthKind = table.NonEmpty(strings.ToLower(message.Text(value)))
	case propServer:
		row.Server = table.NonEmpty(message.Text(value))
	case propReason:
		row.ReasonSaid = table.NonEmpty(message.Text(value))
	case propAlias:
		row.Alias = table.Some(int32(number))
	case propUser:
		if len(row.Headers) < maxList {
			h := table.Header{Name: message.Text(value), Value: message.Text(second), Kind: httpfield.Request}
			if c.answered {
				h.Kind = httpfield.Response
			}
			row.Headers = append(row.Headers, h)
			c.texts += len(h.Name) + len(h.Value) + 48
		}
	}
	c.texts += min(len(value), message.MaxText)
}

// reason reads the reason code and properties of an acknowledgement. Without them, it is a success.
func (r *reader) reason(c *call) {
	if r.Left() == 0 {
		return
	}
	c.fails(r.Uint8(), 5)
	if r.Left() > 0 {
		r.properties(c)
	}
}

// disconnect reads the reason code and properties of DISCONNECT.
func (r *reader) disconnect(c *call) { r.reason(c) }

// granted reads the answers to the filters of SUBSCRIBE or UNSUBSCRIBE.
func (r *reader) granted(c *call, kind byte) {
	r.properties(c)
	for r.Left() > 0 && !r.Short() {
		code := r.Uint8()
		text := "QoS " + string('0'+rune(code&3))
		if code >= firstError || kind == unsuback {
			text = tables()["reason"].Name(int64(code), "reason_")
		}
		if len(c.row.Granted) < maxList {
			c.row.Granted = append(c.row.Granted, text)
		}
		if !c.row.Reason.OK || c.row.Reason.V < firstError && code >= firstError {
			c.fails(code, 5)
			if code < 3 && kind == suback {
				c.row.ReasonText = table.Some(text)
			}
		}
	}
}
