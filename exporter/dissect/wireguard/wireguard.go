// Package wireguard reads the handshakes of WireGuard (Donenfeld, "WireGuard: Next Generation Kernel Network
// Tunnel", section 5.4), and counts its data.
//
// A row is a session: a handshake and the data that follows until the next one. Data is not cited. Either
// side may begin a handshake.
package wireguard

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Messages, by their first four bytes, and their sizes.
const (
	initiation = 1
	response   = 2
	cookie     = 3
	data       = 4

	initiationSize = 148
	responseSize   = 92
	cookieSize     = 64
	dataSize       = 32 // without content: a keepalive
	block          = 16 // content is padded to multiples of it, unless the MTU leaves no room
)

var sizes = map[uint32]int{initiation: initiationSize, response: responseSize, cookie: cookieSize}

// Row is a session.
type Row struct {
	table.Call
	Initiator     table.Opt[int64] `col:"wireguard_initiator_index" doc:"index by which the initiator of the handshake knows the session"`
	Responder     table.Opt[int64] `col:"wireguard_responder_index" doc:"index by which the responder knows the session"`
	Attempts      int64            `col:"wireguard_initiations" doc:"initiations up to the one that was answered; 0 if the handshake was not captured"`
	Cookie        bool             `col:"wireguard_cookie" doc:"the responder was under load and demanded a cookie"`
	Keepalives    int64            `col:"wireguard_keepalives" unit:"packets" doc:"data messages without content, of both sides"`
	ClientPackets int64            `col:"wireguard_client_data_packets" unit:"packets" doc:"data messages of the client, with keepalives; not in request_bytes and not cited"`
	ClientBytes   int64            `col:"wireguard_client_data_bytes" unit:"bytes" doc:"bytes of the client's data messages, with their headers"`
	ServerPackets int64            `col:"wireguard_server_data_packets" unit:"packets" doc:"data messages of the server, with keepalives; not in response_bytes and not cited"`
	ServerBytes   int64            `col:"wireguard_server_data_bytes" unit:"bytes" doc:"bytes of the server's data messages, with their headers"`
}

// Protocol is WireGuard.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "wireguard",
		Doc:        "WireGuard: handshakes, and the data of each session counted",
		Versions:   "1",
		Depth:      "types, indexes and sizes of messages",
		Transports: []dissect.Transport{dissect.UDP},
		Ports:      []uint16{51820},
		Detect:     detect,
		DetectLast: detectLast,
		New:        func(c *dissect.Conn) dissect.Dissector { return &conn{c: c} },
		Row:        &Row{},
		Traits:     table.Traits{Carrier: true, Encrypts: true},
	}
}

// kindOf is the type of a message, 0 if b is not one.
func kindOf(b []byte) uint32 {
	if len(b) < dataSize {
		return 0
	}
	kind := binary.LittleEndian.Uint32(b)
	if kind == data || sizes[kind] == len(b) {
		return kind
	}
	return 0
}

func index(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

// detect accepts an initiation and a response: four fixed bytes and the only possible size. The answer of the
// other side proves them.
func detect(_ dissect.Dir, head []byte) dissect.Verdict {
	switch kind := kindOf(head); {
	case kind == initiation && index(head, 4) != 0, kind == response && index(head, 4) != index(head, 8) && index(head, 8) != 0:
		return dissect.Likely
	}
	return dissect.No
}

// Proof of a session whose handshake was not captured.
const (
	maxCounter = 1 << 40 // of the first message
	maxStep    = 1 << 12 // between two messages
	proof      = 4       // messages of a side
)

// detectLast accepts data: several messages for the same index with a counter that grows prove it.
func detectLast(_ dissect.Dir, head []byte) dissect.Verdict {
	return dissect.Likely.If(kindOf(head) == data && len(head)%block == 0 && index(head, 4) != 0 && binary.LittleEndian.Uint64(head[8:]) < maxCounter)
}

// session is a handshake with its data.
type session struct {
	x         dissect.Exchange
	row       Row
	initiator dissect.Dir
	index     uint32 // of the initiator
	answered  bool
}

// run is the data of one side while a session is not proven.
type run struct {
	index   uint32
	counter uint64
	n       int
}

type conn struct {
	c       *dissect.Conn
	waiting [2]*session // by the side that initiated
	current *session
	runs    [2]run
	proven  bool
}

const connCost = int(unsafe.Sizeof(conn{}) + 3*unsafe.Sizeof(session{}))

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	switch kindOf(b) {
	case initiation:
		k.initiate(in)
	case response:
		s := k.waiting[in.Dir.Other()]
		if s == nil || s.index != index(b, 8) {
			s = &session{initiator: in.Dir.Other()}
			s.row.Initiator = table.Some(int64(index(b, 8)))
		} else {
			k.waiting[s.initiator] = nil
			k.prove()
		}
		s.x.Response(in, 0, len(b))
		s.x.Reversed, s.answered = s.initiator == dissect.ToClient, true
		s.row.Responder = table.Some(int64(index(b, 4)))
		k.end(k.current, "")
		k.current = s
	case cookie:
		s := k.waiting[in.Dir.Other()]
		if s == nil || s.index != index(b, 4) {
			return 0, fmt.Errorf("reading a cookie: no initiation waits for it")
		}
		k.prove()
		s.row.Cookie = true
		s.x.Cite(in, 0, len(b))
	case data:
		return len(b), k.data(in)
	default:
		return 0, fmt.Errorf("reading a message: type 0x%08x does not have %d bytes", binary.BigEndian.Uint32(append(b[:min(len(b), 4):4], 0, 0, 0, 0)), len(b))
	}
	return len(b), nil
}

func (k *conn) prove() {
	k.proven = true
	k.c.Confirm()
}

// initiate begins a handshake, or repeats it.
func (k *conn) initiate(in *dissect.Input) {
	s := k.waiting[in.Dir]
	if s == nil {
		s = &session{initiator: in.Dir}
		s.x.Reversed = in.Dir == dissect.ToClient
		k.waiting[in.Dir] = s
	}
	s.x.Request(in, 0, len(in.Data))
	s.index = index(in.Data, 4)
	s.row.Initiator = table.Some(int64(s.index))
	s.row.Attempts++
}

// data counts a data message.
func (k *conn) data(in *dissect.Input) error {
	b := in.Data
	if !k.proven {
		r, at := &k.runs[in.Dir], binary.LittleEndian.Uint64(b[8:])
		if len(b)%block != 0 || r.n > 0 && (index(b, 4) != r.index || at <= r.counter || at-r.counter > maxStep) {
			return fmt.Errorf("reading data: %d bytes for index %d with counter %d do not follow", len(b), index(b, 4), at)
		}
		if *r = (run{index(b, 4), at, r.n + 1}); r.n == proof {
			k.prove()
		}
	}
	if k.current == nil {
		k.current = &session{}
	}
	row := &k.current.row
	packets, bytes := &row.ClientPackets, &row.ClientBytes
	if in.Dir == dissect.ToClient {
		packets, bytes = &row.ServerPackets, &row.ServerBytes
	}
	if *packets == 0 && !k.current.answered { // a session needs something to cite
		k.current.x.Add(in, 0, len(b))
	}
	*packets++
	*bytes += int64(len(b))
	if len(b) == dataSize {
		row.Keepalives++
	}
	return nil
}

// Gap implements dissect.Dissector; datagrams have no gaps.
func (k *conn) Gap(*dissect.Input, int64) bool { return true }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dissect.Dir, dissect.Loss) {}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return connCost }

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.c.Unproved() {
		return false
	}
	for d, s := range k.waiting {
		if s != nil {
			k.waiting[d] = nil
			k.end(s, "cut")
			return true
		}
	}
	s := k.current
	k.current = nil
	k.end(s, "")
	return s != nil
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.end(k.current, "")
	word := "no_response"
	if why == dissect.EndEvicted {
		word = why.CallError()
	}
	for _, s := range k.waiting {
		k.end(s, word)
	}
	k.current, k.waiting = nil, [2]*session{}
}

// end emits a session, if there is one. why is why its handshake was not answered.
func (k *conn) end(s *session, why string) {
	if s == nil {
		return
	}
	row := &s.row
	if why == "" && row.Attempts == 0 {
		why = "no_request"
	}
	row.Method = table.Some("HANDSHAKE")
	if !s.answered && row.Attempts == 0 {
		row.Method = table.Some("DATA")
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Summary = row.Method.V + " → "
	switch {
	case s.answered:
		row.Summary += "session, " + clip.Count(row.ClientPackets+row.ServerPackets, "data message", "data messages")
	case row.Method.V == "DATA":
		row.Summary += clip.Count(row.ClientPackets+row.ServerPackets, "message", "messages") + " of a session whose handshake was not captured"
	case row.Cookie:
		row.Summary += "cookie demanded, " + why
	default:
		row.Summary += why
	}
	k.c.Emit(&s.x, row)
}
