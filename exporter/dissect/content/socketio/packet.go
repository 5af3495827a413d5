package socketio

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Kinds of packets of Engine.IO (protocol 4, section Packet encoding) by their digit.
var engineKinds = [...]string{"open", "close", "ping", "pong", "message", "upgrade", "noop"}

// Kinds of packets of Socket.IO (protocol 5, section Packet types) by their digit.
var socketKinds = [...]string{"connect", "disconnect", "event", "ack", "connect_error", "binary_event", "binary_ack"}

// Digits with a meaning here.
const (
	open       = '0' // of Engine.IO
	ping       = '2'
	pong       = '3'
	message    = '4'
	attachment = 'b' // in long polling: base64

	connect      = '0' // of Socket.IO
	disconnect   = '1'
	event        = '2'
	ack          = '3'
	connectError = '4'
	binaryEvent  = '5'
	binaryAck    = '6'
)

// packet is a packet of Engine.IO, with that of Socket.IO in it.
type packet struct {
	engine    byte // its digit
	socket    byte // the digit of the one in it; 0 if there is none
	attached  int  // binary attachments that follow
	namespace string
	id        string // of an acknowledgement; empty if there is none
	data      []byte // JSON, or what follows the digit of Engine.IO
}

// parse reads a packet. ok is false if it is not one of Engine.IO. A message that is not one of
// Socket.IO is that of another program.
func parse(b []byte) (p packet, ok bool) {
	if len(b) == 0 {
		return p, false
	}
	p.engine, p.data = b[0], b[1:]
	switch {
	case p.engine == attachment:
		p.data = nil
		return p, true
	case int(p.engine-'0') >= len(engineKinds):
		return p, false
	}
	if inner, ok := parseSocket(p.data); ok && p.engine == message {
		inner.engine = p.engine
		return inner, true
	}
	return p, true
}

// parseSocket reads a packet of Socket.IO: its digit, the number of its attachments, its namespace,
// the id of its acknowledgement, and its data.
func parseSocket(b []byte) (p packet, ok bool) {
	if len(b) == 0 || int(b[0]-'0') >= len(socketKinds) {
		return p, false
	}
	p.socket, p.namespace, b = b[0], "/", b[1:]
	if p.socket == binaryEvent || p.socket == binaryAck {
		n := digits(b)
		if n == 0 || n == len(b) || b[n] != '-' {
			return p, false
		}
		p.attached, _ = strconv.Atoi(string(b[:n]))
		b = b[n+1:]
	}
	if len(b) > 0 && b[0] == '/' {
		var name []byte
		name, b, _ = bytes.Cut(b, []byte(","))
		name, _, _ = bytes.Cut(name, []byte("?")) // before version 5 the query of the client follows
		p.namespace = clip.Text(name, content.MaxText)
	}
	n := digits(b)
	p.id, p.data = string(b[:n]), b[n:]
	kind := content.Kind(p.data)
	switch p.socket {
	case connect:
		return p, n == 0 && (kind == '{' || len(p.data) == 0)
	case disconnect:
		return p, n == 0 && len(p.data) == 0
	case connectError:
		return p, n == 0 && (kind == '{' || kind == '"')
	case ack, binaryAck:
		return p, n > 0 && kind == '['
	}
	return p, kind == '[' && p.event() != ""
}

// maxDigits is how many digits a number may have.
const maxDigits = 18

// digits is the length of the number at the beginning of b; at most that of an int64.
func digits(b []byte) (n int) {
	for n < len(b) && n < maxDigits && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}

func (p *packet) kind() string {
	switch {
	case p.engine == attachment:
		return "attachment"
	case p.socket != 0:
		return socketKinds[p.socket-'0']
	}
	return engineKinds[p.engine-'0']
}

// event is the name of an event, or "".
func (p *packet) event() string {
	if p.socket != event && p.socket != binaryEvent {
		return ""
	}
	for first := range content.Elements(p.data) {
		return clip.Text(content.Scalar(first), content.MaxText)
	}
	return ""
}

// packets are the packets of a body of long polling. Version 4 of Engine.IO puts a record separator
// between them; version 3 puts before each its length in units of UTF-16, and a colon. A packet
// with a wrong length ends the list with a nil. If version 3 sends bytes, each packet has its own head.
func packets(body []byte, version int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for more := len(body) > 0; more; {
			var p []byte
			switch {
			case version == 3 && body[0] <= binaryPacket:
				p, body = cutBinary(body)
				more = len(body) > 0
			case version == 3:
				p, body = cutLength(body)
				more = len(body) > 0
			default:
				p, body, more = bytes.Cut(body, []byte{0x1e})
			}
			if !yield(p) {
				return
			}
		}
	}
}

// First byte of a packet in a binary payload, Engine.IO protocol 3 section XHR2.
const (
	textPacket   = 0
	binaryPacket = 1
)

// cutBinary cuts off the first packet of a binary payload of version 3: its kind, its length in bytes as decimal digits
// of a byte each, 255, and the packet. A binary packet is an attachment; it is nil if it has no valid length.
func cutBinary(b []byte) (p, rest []byte) {
	kind, size, i := b[0], 0, 1
	for ; i < len(b) && b[i] <= 9 && i <= maxDigits; i++ {
		size = size*10 + int(b[i])
	}
	if i == 1 || i >= len(b) || b[i] != 0xff || size > len(b)-i-1 {
		return nil, nil
	}
	p, rest = b[i+1:][:size], b[i+1+size:]
	if kind == binaryPacket {
		p = []byte{attachment}
	}
	return p, rest
}

// jsonp is the payload in a body of JSONP polling (Engine.IO protocol, section JSONP): the server's response calls a
// function with it, a client sends it in the field d of a form. ok is false if the body has no such form.
func jsonp(body []byte, response, lost bool) (payload []byte, ok bool) {
	if !response {
		form, err := url.ParseQuery(string(body))
		// A form may change the end of a line, so a client escapes it.
		return []byte(strings.NewReplacer(`\\n`, `\n`, `\n`, "\n").Replace(form.Get("d"))), err == nil && form.Has("d")
	}
	body = bytes.TrimPrefix(body, []byte("/**/"))
	head, text, found := bytes.Cut(body, []byte("]("))
	index, named := bytes.CutPrefix(head, []byte("___eio["))
	if !found || !named || len(index) == 0 || digits(index) != len(index) {
		return nil, false
	}
	if text, found = bytes.CutSuffix(bytes.TrimSpace(text), []byte(");")); !found && lost {
		text = append(text[:len(text):len(text)], '"')
	}
	var s string
	err := json.Unmarshal(text, &s)
	return []byte(s), err == nil
}

// cutLength cuts off the first packet of version 3; it is nil if it has no valid length.
func cutLength(b []byte) (p, rest []byte) {
	n := digits(b)
	if n == 0 || n == len(b) || b[n] != ':' {
		return nil, nil
	}
	units, _ := strconv.Atoi(string(b[:n]))
	b = b[n+1:]
	i := 0
	for ; units > 0 && i < len(b); units-- {
		r, size := utf8.DecodeRune(b[i:])
		if i += size; r > 0xffff {
			units--
		}
	}
	if units != 0 {
		return nil, nil
	}
	return b[:i], b[i:]
}
