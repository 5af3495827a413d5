package read

import (
	"encoding/binary"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
)

// Limits of the search for QUIC connections that change their addresses.
const (
	maxIDs   = 65_536 // connection ids kept
	minID    = 4      // bytes of an id that may identify its connection: shorter ones collide by chance
	maxIDLen = 20     // RFC 9000 section 17.2
)

// quicViews finds QUIC connections that continue under other addresses: a client behind a
// translator that assigned it another port, a client that moved to another network (RFC 9000
// section 9), or packets captured before and after a translation.
//
// Anyone can send a packet with an id in it. An id therefore identifies its connection only
// after the other side has answered with the id that its peer chose (RFC 9000 section 7.2), and
// never for a packet that matches another protocol.
//
// LIMIT: ids issued under encryption (NEW_CONNECTION_ID) are not known here. A client that moves
// and changes to such an id begins another connection, but keys may still decrypt its packets.
type quicViews struct {
	foreign func(datagram []byte) bool // reports that another protocol matches it; nil: none does

	first   recent[string, *quicConn] // by the two ids of a client's first packet
	ids     recent[string, quicID]    // of answered connections
	lengths uint32                    // bit n: an id of n bytes is known
	tuples  recent[place, quicSeen]
	limit   memory.Limit
}

// memory is the search's memory in bytes.
func (v *quicViews) memory() int {
	const idText, connCost = 32, int(unsafe.Sizeof(quicConn{}))
	return v.first.memory(2*idText+connCost) + v.ids.memory(idText) + v.tuples.memory(0)
}

// quicConn is a connection as it began.
type quicConn struct {
	dialled        [2]flow.End // client, server
	network        uint64      // of the client's first packet
	client, server string      // ids that they chose for themselves
	answered       bool
}

// quicID is the owner of an id.
type quicID struct {
	of     *quicConn
	server bool
}

// quicSeen is a connection seen under some ends; view is nil if they are the dialled ones.
type quicSeen struct {
	of   *quicConn
	view *flow.View
}

// quicVersion reports whether a long header of that version has the form of RFC 9000.
func quicVersion(v uint32) bool {
	return v == 1 || v == 0x6b3343cf || v>>8 == 0xff0000 && v&0xff >= 22 && v&0xff <= 34
}

// find returns the view of a UDP packet, or nil if it has the addresses with which its
// connection began or if it is not QUIC; and whether it is QUIC.
func (v *quicViews) find(f *flow.Packet) (view *flow.View, quic bool) {
	p := f.Payload
	if len(p) < 1+minID || p[0]&0x40 == 0 {
		return nil, false
	}
	long := p[0]&0x80 != 0
	if !long && len(v.ids.m) == 0 {
		return nil, false
	}
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	at := place{tupleOf(src, dst), f.Network}
	seen, known := v.tuples.m[at]
	if long {
		to, from, ok := longIDs(p)
		if !ok {
			return seen.view, known
		}
		return v.long(to, from, src, dst, at, seen), true
	}
	if known && seen.view == nil {
		return nil, true
	}
	if v.foreign != nil && v.foreign(p) {
		return nil, false
	}
	if known {
		return seen.view, true
	}
	id, ok := v.owner(p[1:])
	if !ok {
		return nil, false
	}
	return v.show(id, src, dst, at), true
}

// longIDs are the ids of a packet with a long header, RFC 9000 section 17.2.
func longIDs(p []byte) (to, from string, ok bool) {
	if len(p) < 7 || !quicVersion(binary.BigEndian.Uint32(p[1:])) {
		return "", "", false
	}
	n := int(p[5])
	if n > maxIDLen || len(p) < 7+n || int(p[6+n]) > maxIDLen || len(p) < 7+n+int(p[6+n]) {
		return "", "", false
	}
	return string(p[6 : 6+n]), string(p[7+n : 7+n+int(p[6+n])]), true
}

// long processes a packet with a long header: it begins a connection, answers one, or shows one
// under other addresses.
func (v *quicViews) long(to, from string, src, dst flow.End, at place, seen quicSeen) *flow.View {
	if seen.of != nil && seen.of.has(to, from) {
		v.answer(seen, to, from, src)
		return seen.view
	}
	if q := v.first.m[pair(to, from)]; q != nil && len(to) >= minID { // before or after a translation
		return v.show(quicID{q, true}, src, dst, at)
	}
	if id, ok := v.ids.m[to]; ok {
		return v.show(id, src, dst, at)
	}
	q := &quicConn{dialled: [2]flow.End{src, dst}, network: at.network, client: from}
	v.first.put(pair(to, from), q, v.limit.Scale(maxIDs))
	v.tuples.put(at, quicSeen{of: q}, v.limit.Scale(maxViews))
	return nil
}

func pair(to, from string) string { return "\x00" + to + "\x01" + from }

// has reports whether a packet with these ids can belong to the connection: one side must use
// the client's id, and once the server has an id, the other id must be the server's or the one
// that the client chose for its first packets.
func (q *quicConn) has(to, from string) bool { return from == q.client || to == q.client }

// answer records that the other side answers with the id that the client chose.
func (v *quicViews) answer(seen quicSeen, to, from string, src flow.End) {
	q, client := seen.of, seen.of.dialled[0]
	if seen.view != nil {
		client = seen.view.Seen[0]
	}
	if src == client || to != q.client || q.answered && from == q.server {
		return
	}
	q.answered, q.server = true, from
	v.learn(q.client, quicID{q, false})
	v.learn(from, quicID{q, true})
}

func (v *quicViews) learn(id string, of quicID) {
	if len(id) < minID {
		return
	}
	v.ids.put(id, of, v.limit.Scale(maxIDs))
	v.lengths |= 1 << len(id)
}

// owner finds the owner of the id at the start of p.
func (v *quicViews) owner(p []byte) (quicID, bool) {
	for n := minID; n <= maxIDLen && n <= len(p); n++ {
		if v.lengths&(1<<n) == 0 {
			continue
		}
		if id, ok := v.ids.m[string(p[:n])]; ok {
			return id, true
		}
	}
	return quicID{}, false
}

// show records that a packet to the owner of an id is seen under these ends.
func (v *quicViews) show(to quicID, src, dst flow.End, at place) *flow.View {
	ends := [2]flow.End{src, dst}
	if !to.server {
		ends = [2]flow.End{dst, src}
	}
	seen := quicSeen{of: to.of}
	if tupleOf(to.of.dialled[0], to.of.dialled[1]) != at.tuple {
		seen.view = &flow.View{Dialled: to.of.dialled, Seen: ends, Network: to.of.network, By: flow.ByConnectionID}
	}
	v.tuples.put(at, seen, v.limit.Scale(maxViews))
	return seen.view
}
