package proof

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
)

// Limits of the search for QUIC connections that change their addresses.
const (
	maxIDs    = 65_536 // connection ids kept
	maxCopied = 16_384 // packets kept whose id is unknown
	minSealed = 256    // packets that no key decrypts, after which one of so many packets is tried
	minID     = 4      // bytes of an id that may identify its connection: shorter ones collide by chance
	maxIDLen  = 20     // RFC 9000 section 17.2
)

// quicViews finds QUIC connections that continue under other addresses: a client behind a
// translator that assigned it another port, a client that moved to another network (RFC 9000
// section 9), or packets captured before and after a translation.
//
// Anyone can send a packet with an id in it, from any address. So
//   - an id identifies its connection only after the other side has answered with the id that its
//     peer chose (RFC 9000 section 7.2);
//   - a packet with a long header is redirected only if both of its ids are the connection's, or if it comes
//     from the client with its id, under translated ends that have answered a handshake;
//   - any other packet is redirected only with an id of the connection, or to a client without one;
//     of translated ends, only after a handshake was answered there with an id that the server chose
//     under the dialled addresses too; of a client that moved, only to or from its server, at the end that was
//     dialled or at that of such a handshake (RFC 9000 section 9: a server does not move);
//   - after such a handshake, the socket of the recorded machine that answered it needs no ids, and neither does a packet
//     with the bytes of one under the dialled ends;
//   - ends that sent something else before are redirected never;
//   - and never what another protocol explains.
//
// LIMIT: ids issued under encryption (NEW_CONNECTION_ID) are known only once a key decrypts a packet with one, or such a packet
// was seen under the dialled and under translated ends. If the server uses one of the client's without a key, its first packet
// stays under the translated ends, because it is seen there first. A client that moves and changes to such an id begins another
// connection if no key decrypts its packets. Who sees the ids of a connection that began before the capture, and can send
// from its ends' addresses, can claim them.
// Who can forge a whole handshake between two hosts can claim what they say in a protocol that is
// not read, if the client has no id.
type quicViews struct {
	foreign    func(datagram []byte) Explanation // by other protocols; nil: none
	identified identify                          // by keys; nil: never

	first           recent[string, *quicConn] // by the two ids of a client's first packet
	ids             recent[string, quicID]    // of answered connections
	named           recent[string, *quicConn] // by what identified returns
	servers         recent[flow.End, bool]    // ends of servers that have answered
	lengths         uint32                    // bit n: an id of n bytes is known
	tuples          recent[place, *quicSeen]
	copies          recent[uint64, *quicSeen] // by their hash, packets whose id is unknown, and the ends where they were seen first
	seed            maphash.Seed
	packets, sealed int     // seen so far, and of these tried without a key that decrypts them
	spoken          settled // ends that sent something other than QUIC
	limit           memory.Limit
}

// memory is the search's memory in bytes.
func (v *quicViews) memory() int {
	const idText, connCost, seenCost = 32, int(unsafe.Sizeof(quicConn{})), int(unsafe.Sizeof(quicSeen{}))
	return v.first.memory(2*idText+connCost) + v.named.memory(idText) + v.servers.memory(0) + v.ids.memory(idText) + v.tuples.memory(idText+seenCost) + v.copies.memory(0)
}

// quicConn is a connection as it began.
type quicConn struct {
	dialled  [2]flow.End // client, server
	network  uint64      // of the client's first packet
	original string      // id of the server that the client made up for its first packet
	client   string      // id that the client chose for itself
	server   string      // newest id that the server chose for itself, under the dialled addresses
	retried  bool        // in Retry: it will choose another one (RFC 9000 section 7.2)

	views []*quicSeen // translated ends, at most maxCopies
}

// quicID is the owner of an id.
type quicID struct {
	of     *quicConn
	server bool
}

// quicSeen is a connection seen under some ends; view is nil if they are the dialled ones.
type quicSeen struct {
	of     *quicConn
	view   *flow.View
	moved  bool   // the client moved here, else a translation shows the connection here
	answer string // newest id that the server answered with here
	cookie uint64 // of the server's socket here, 0 unknown
}

// behind reports whether a client moved to these ends behind a translation, which gave it another port: the packets are also
// seen before the translation.
func (s *quicSeen) behind() bool {
	return s.moved && s.view != nil && s.view.Seen[1] != s.of.dialled[1]
}

// socket reports whether a packet has the socket that answered here. Its ids need not be known: no
// packet can forge its socket.
func (s *quicSeen) socket(cookie uint64) bool { return s != nil && s.cookie != 0 && s.cookie == cookie }

// Explanation is how certain another protocol is that a datagram is its own.
type Explanation uint8

// The explanations.
const (
	Unexplained Explanation = iota
	Likely                  // it matches, but so may other bytes
	Certain                 // it can only be that protocol
)

const quicV2 = 0x6b3343cf // RFC 9369 section 3.1

// quicVersion reports whether a long header of that version has the form of RFC 9000.
func quicVersion(v uint32) bool {
	return v == 1 || v == quicV2 || v>>8 == 0xff0000 && v&0xff >= 22 && v&0xff <= 34
}

// negotiates reports whether a version is that of Version Negotiation, or one that provokes it (RFC 9000
// sections 15 and 17.2.1).
func negotiates(v uint32) bool { return v == 0 || v&0x0f0f0f0f == 0x0a0a0a0a }

// find returns the view of a UDP packet whose ends have a hash, or nil if it has the addresses with
// which its connection began or if it is not QUIC; and whether it is QUIC. cookie is that of its
// socket, 0 unknown.
func (v *quicViews) find(f *flow.Packet, hash, cookie uint64) (view *flow.View, quic bool) {
	hash = placeHash(hash, f.Network)
	v.packets++
	if view, quic = v.look(f, hash, cookie); !quic {
		v.spoken.add(hash)
	}
	if view != nil && cookie != 0 && f.Direction == decode.DirOut {
		src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
		if seen := v.tuples.m[place{tupleOf(src, dst), f.Network}]; src == view.Seen[1] && seen.answer != "" {
			seen.cookie = cookie
		}
	}
	return view, quic
}

func (v *quicViews) look(f *flow.Packet, hash, cookie uint64) (view *flow.View, quic bool) {
	p := f.Payload
	if len(p) < 1+minID || p[0]&0x40 == 0 {
		return nil, false
	}
	long := p[0]&0x80 != 0
	if !long && len(v.tuples.m) == 0 {
		return nil, false
	}
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	at := place{tupleOf(src, dst), f.Network}
	seen := v.tuples.m[at]
	if long {
		to, from, version, ok := longIDs(p)
		switch {
		case ok && quicVersion(version) && seen.socket(cookie) && seen.of.has(to, from) && v.proven(seen):
			return v.unless(p, seen.view)
		case ok && quicVersion(version):
			return v.long(p, to, from, version, src, dst, at, hash)
		case ok && seen != nil && v.both(seen.of, to, from): // such as Version Negotiation
			return v.unless(p, seen.view)
		}
		return nil, ok && negotiates(version) && !v.explained(p)
	}
	id, owned := v.owner(p[1:])
	if !owned && (seen == nil && !v.spoken.has(hash) || seen != nil && seen.moved) {
		id, owned = v.decrypted(p, src, dst)
	}
	if seen == nil {
		if !owned || !v.reaches(id, src, dst) || v.spoken.has(hash) || v.explained(p) {
			return nil, false
		}
		return v.show(id, src, dst, at, true).view, true
	}
	if seen.socket(cookie) && v.proven(seen) {
		return v.unless(p, seen.view)
	}
	owned = owned && id.of == seen.of
	short := !owned && v.toShort(seen, src)
	if !owned && !short && v.copied(seen, p, src) {
		return v.unless(p, seen.view)
	}
	switch {
	case seen.view == nil && owned:
		return nil, true
	case short && v.foreign != nil && v.foreign(p) != Unexplained: // it has no id that speaks for QUIC
		return nil, false
	case seen.view == nil || (owned || short) && (seen.moved || v.proven(seen)):
		return v.unless(p, seen.view)
	}
	return nil, false
}

// explained reports whether another protocol is sure that a datagram is its own.
func (v *quicViews) explained(p []byte) bool { return v.foreign != nil && v.foreign(p) == Certain }

// unless is the view of a packet that is QUIC unless another protocol explains it.
func (v *quicViews) unless(p []byte, view *flow.View) (*flow.View, bool) {
	if v.explained(p) {
		return nil, false
	}
	return view, true
}

// toShort reports whether a packet comes from the server to a client whose id is too short to identify
// anything.
func (v *quicViews) toShort(seen *quicSeen, src flow.End) bool {
	server := seen.of.dialled[1]
	if seen.view != nil {
		server = seen.view.Seen[1]
	}
	return len(seen.of.client) < minID && src == server
}

// reaches reports whether a packet with the id has an end of its server, which stays when a client moves: the one that was
// dialled, or one behind a translation that has answered a handshake.
func (v *quicViews) reaches(id quicID, src, dst flow.End) bool {
	server := src
	if id.server {
		server = dst
	}
	return server == id.of.dialled[1] || slices.ContainsFunc(id.of.views, func(s *quicSeen) bool { return s.view.Seen[1] == server && v.proven(s) })
}

// longIDs are the ids of a packet with a long header, RFC 8999 section 5.1.
func longIDs(p []byte) (to, from string, version uint32, ok bool) {
	if len(p) < 7 {
		return "", "", 0, false
	}
	n := int(p[5])
	if n > maxIDLen || len(p) < 7+n || int(p[6+n]) > maxIDLen || len(p) < 7+n+int(p[6+n]) {
		return "", "", 0, false
	}
	return string(p[6 : 6+n]), string(p[7+n : 7+n+int(p[6+n])]), binary.BigEndian.Uint32(p[1:]), true
}

// long processes a packet with a long header: it begins a connection, answers one, or shows one
// under other addresses.
func (v *quicViews) long(p []byte, to, from string, version uint32, src, dst flow.End, at place, hash uint64) (*flow.View, bool) {
	seen := v.tuples.m[at]
	if seen != nil && (seen.view == nil && seen.of.has(to, from) || v.both(seen.of, to, from) || seen.answers(to, src) || v.continues(seen, from, src)) {
		if seen.view != nil && v.explained(p) {
			return nil, false
		}
		if seen.of.server == "" { // the client's random may be in its second packet
			v.name(seen.of, p)
		}
		v.answer(seen, to, from, src, retries(p, version))
		return seen.view, true
	}
	if q, server := v.match(to, from); q != nil && !v.spoken.has(hash) && !v.explained(p) {
		seen := v.show(quicID{q, server}, src, dst, at, false)
		v.answer(seen, to, from, src, retries(p, version))
		return seen.view, true
	}
	q := &quicConn{dialled: [2]flow.End{src, dst}, network: at.network, original: to, client: from}
	v.first.put(pair(to, from), q, v.limit.Scale(maxIDs))
	v.name(q, p)
	v.tuples.put(at, &quicSeen{of: q}, v.limit.Scale(maxViews))
	return nil, true
}

// match finds the connection of a packet with a long header by its ids, and whether the packet goes to
// the server.
func (v *quicViews) match(to, from string) (q *quicConn, server bool) {
	if q := v.first.m[pair(to, from)]; q != nil && len(to) >= minID { // before or after a translation
		return q, true
	}
	if id, ok := v.ids.m[to]; ok && v.both(id.of, to, from) {
		return id.of, id.server
	}
	return nil, false
}

func pair(to, from string) string { return "\x00" + to + "\x01" + from }

// has reports whether a packet with these ids can belong to the connection under the ends that were
// dialled: one side must use the client's id.
func (q *quicConn) has(to, from string) bool { return from == q.client || to == q.client }

// both reports whether both ids of a packet are the connection's. An answer may have an id of the server
// that is not known yet.
func (v *quicViews) both(q *quicConn, to, from string) bool {
	switch {
	case from == q.client && (to == q.original && len(to) >= minID || v.owns(q, to)):
		return true
	case to != q.client:
		return false
	}
	return (q.server == "" || q.retried) && len(to) >= minID || v.owns(q, from)
}

// retries reports whether a packet with a long header is a Retry (RFC 9000 section 17.2, RFC 9369 section 3.2).
func retries(p []byte, version uint32) bool {
	if version == quicV2 {
		return p[0]&0x30 == 0
	}
	return p[0]&0x30 == 0x30
}

// answers reports whether a packet may be the server's first answer under translated ends, to a client
// without an id that identifies it. The client's first packet was there before.
func (s *quicSeen) answers(to string, src flow.End) bool {
	return s.view != nil && !s.moved && (s.of.server == "" || s.of.retried) && len(to) < minID && to == s.of.client && src == s.view.Seen[1]
}

// continues reports whether a packet comes from the client under translated ends, and the server has answered it there.
// The packet may have an id of the server that was issued under encryption.
func (v *quicViews) continues(seen *quicSeen, from string, src flow.End) bool {
	return seen.view != nil && !seen.moved && len(from) >= minID && from == seen.of.client && src == seen.view.Seen[0] && v.proven(seen)
}

// copied reports whether a packet with a short header and an unknown id has the bytes of one that the same connection has
// shown under its other ends. The id is then known. Encryption makes all packets different.
func (v *quicViews) copied(seen *quicSeen, p []byte, src flow.End) bool {
	if len(seen.of.views) == 0 || len(p) < minMessage || !seen.behind() && (seen.moved || !v.proven(seen)) {
		return false
	}
	if v.seed == (maphash.Seed{}) {
		v.seed = maphash.MakeSeed()
	}
	hash := maphash.Bytes(v.seed, p)
	first := v.copies.m[hash]
	if first == nil || first == seen || first.of != seen.of {
		v.copies.put(hash, seen, v.limit.Scale(maxCopied))
		return false
	}
	client := seen.of.dialled[0]
	if seen.view != nil {
		client = seen.view.Seen[0]
	}
	id, server := seen.of.client, src == client
	if server {
		id = seen.of.server
	}
	if n := len(id); 1+n <= len(p) { // an end must find the end of its ids itself, so they have one length
		v.learn(string(p[1:1+n]), quicID{seen.of, server})
	}
	return true
}

// owns reports whether the server of a connection chose an id.
func (v *quicViews) owns(q *quicConn, id string) bool {
	o, ok := v.ids.m[id]
	return ok && o.of == q && o.server
}

// answer records that the server answers with the id that the client chose. Only under the ends that
// were dialled are its ids learned.
func (v *quicViews) answer(seen *quicSeen, to, from string, src flow.End, retry bool) {
	q, client := seen.of, seen.of.dialled[0]
	if seen.view != nil {
		client = seen.view.Seen[0]
	}
	if src == client || to != q.client || from == seen.answer {
		return
	}
	v.servers.put(src, true, v.limit.Scale(maxIDs))
	if seen.answer = from; seen.view != nil {
		return
	}
	q.server, q.retried = from, retry
	v.learn(q.client, quicID{q, false})
	v.learn(from, quicID{q, true})
}

// proven reports whether a handshake was answered under these ends by the server of the connection, or whether they lie
// between the dialled ends and others that have answered one.
func (v *quicViews) proven(seen *quicSeen) bool {
	if seen.answer == "" {
		return v.between(seen)
	}
	return seen.view == nil || v.owns(seen.of, seen.answer)
}

// between reports whether translated ends are between those that were dialled and those that another translation shows.
func (v *quicViews) between(seen *quicSeen) bool {
	return slices.Contains(seen.of.views, seen) && slices.ContainsFunc(seen.of.views, func(o *quicSeen) bool {
		return o.answer != "" && v.proven(o) && mixed(seen.view.Seen, seen.view.Dialled, o.view.Seen)
	})
}

// learn records the owner of an id, unless it has another one: the newer claim may be forged.
func (v *quicViews) learn(id string, of quicID) {
	if old, ok := v.ids.m[id]; len(id) < minID || ok && old.of != of.of {
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

// identify finds the QUIC connection of a datagram, see dissect.Protocol.Identify.
type identify = func(datagram []byte) (name string, id []byte, fromClient bool)

// name records what keys will show of packets of a connection. The first connection with a name keeps it: later ones may be
// forged.
func (v *quicViews) name(q *quicConn, p []byte) {
	if v.identified == nil {
		return
	}
	if name, _, _ := v.identified(p); name != "" && v.named.m[name] == nil {
		v.named.put(name, q, v.limit.Scale(maxIDs))
	}
}

// decrypted finds the owner of an unknown id in a packet to or from a server: the connection whose keys decrypt the packet.
// The id is then known.
func (v *quicViews) decrypted(p []byte, src, dst flow.End) (id quicID, ok bool) {
	if v.identified == nil || !v.servers.m[src] && !v.servers.m[dst] || v.sealed > minSealed+v.packets/minSealed {
		return quicID{}, false
	}
	name, to, fromClient := v.identified(p)
	q := v.named.m[name]
	if q == nil || q.server == "" {
		v.sealed++
		return quicID{}, false
	}
	id = quicID{q, fromClient}
	v.learn(string(to), id)
	return id, true
}

// show records that a packet to the owner of an id is seen under these ends.
func (v *quicViews) show(to quicID, src, dst flow.End, at place, moved bool) *quicSeen {
	ends := [2]flow.End{src, dst}
	if !to.server {
		ends = [2]flow.End{dst, src}
	}
	seen := &quicSeen{of: to.of, moved: moved}
	if tupleOf(to.of.dialled[0], to.of.dialled[1]) != at.tuple {
		if !moved && len(to.of.views) < maxCopies {
			to.of.views = append(to.of.views, seen)
		}
		seen.view = &flow.View{Dialled: to.of.dialled, Seen: ends, Network: to.of.network, By: flow.ByConnectionID}
	}
	v.tuples.put(at, seen, v.limit.Scale(maxViews))
	return seen
}
