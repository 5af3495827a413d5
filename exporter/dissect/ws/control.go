package ws

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// maxPings is how many PINGs of one side wait for a PONG.
const maxPings = 16

// control reads a complete control frame at in.Data[n:].
func (k *conn) control(in *dissect.Input, n int, f frame) {
	end := n + f.head + int(f.left)
	var buf [maxControl]byte
	m := k.open(in.Dir, &f)
	m.size = f.left
	m.payload = string(f.unmask(buf[:], in.Data[n+f.head:end]))
	m.x.Request(in, n, end)
	m.waits = f.op != opPong
	s, other := &k.sides[in.Dir], &k.sides[in.Dir.Other()]
	switch f.op {
	case opPing:
		if len(s.pings) == maxPings {
			k.emit(s.pings[0], "")
			s.pings = slices.Delete(s.pings, 0, 1)
		}
		s.pings = append(s.pings, m)
	case opPong:
		i := slices.IndexFunc(other.pings, func(p *call) bool { return p.payload == m.payload })
		if i < 0 {
			k.emit(m, "") // nobody asked, RFC 6455 section 5.5.3
			return
		}
		for _, p := range other.pings[:i] { // the latest PONG also answers earlier PINGs
			k.emit(p, "")
		}
		k.answer(other.pings[i], m)
		other.pings = slices.Delete(other.pings, 0, i+1)
	case opClose:
		switch {
		case s.ended:
			k.emit(m, "")
		case other.bye != nil:
			k.answer(other.bye, m)
			other.bye = nil
		default:
			s.bye = m
		}
		s.ended = true
	}
}

// answer emits a call with its answer.
func (k *conn) answer(c, m *call) {
	c.x.Answer(k.c, &m.x)
	c.answered, c.answers = true, 1
	k.emit(c, "")
}

// closed sets the columns of a CLOSE. Its sender reports how the connection ended.
func (r *Row) closed(payload string) {
	if r.Outcome = table.OK; len(payload) < 2 {
		return
	}
	code := int32(binary.BigEndian.Uint16([]byte(payload)))
	r.CloseCode, r.StatusCode = table.Some(code), table.Some(code)
	r.CloseReason = content.Some(payload[2:])
	name, outcome := closeName(code)
	r.StatusText = table.Some(name)
	r.Summary += ", " + strconv.Itoa(int(code)) + " " + name
	r.Outcome = outcome
}

// closeName is the name of a code in IANA's registry, and its meaning for the connection: the other
// side made a mistake, or the sender has a problem.
func closeName(code int32) (name, outcome string) {
	switch code {
	case 1000:
		return "normal", table.OK
	case 1001:
		return "going away", table.OK
	case 1002:
		return "protocol error", table.ClientError
	case 1003:
		return "unsupported data", table.ClientError
	case 1005:
		return "no status", table.OK
	case 1007:
		return "invalid data", table.ClientError
	case 1008:
		return "policy violation", table.ClientError
	case 1009:
		return "message too big", table.ClientError
	case 1010:
		return "extension missing", table.ClientError
	case 1011:
		return "internal error", table.ServerError
	case 1012:
		return "service restart", table.OK
	case 1013:
		return "try again later", table.ServerError
	case 1014:
		return "bad gateway", table.ServerError
	}
	switch { // many applications use 4000 and the status of HTTP
	case code >= 4400 && code < 4500:
		return "application error", table.ClientError
	case code >= 4500 && code < 4600:
		return "application error", table.ServerError
	case code >= 3000 && code < 5000:
		return "application code", table.OK
	}
	return "reserved", table.ClientError
}
