package quic

import (
	"encoding/binary"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// detect recognizes QUIC by its long headers: a version in use, and consistent lengths. An Initial must also
// authenticate, because everyone has its keys. A short header alone proves nothing, see settings.detectOnPort.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < 1+4+1+1 {
		return dissect.No
	}
	if !isLong(head[0]) {
		return detectPublic(head)
	}
	var h header
	if readLong(head, false, &h) != nil {
		return dissect.No
	}
	ok, fromServer := false, false
	switch h.kind {
	case negotiation:
		ok, fromServer = namesVersion(head[7+len(h.dcid)+len(h.scid):]), true
	case foreign:
		switch {
		case isGoogle(h.version):
			ok = head[0]&0x40 != 0
		case isGrease(h.version):
			ok = fixed(head[0]) && plausible(&h, head)
		default:
			ok = fixed(head[0]) && known(h.version) && len(h.dcid) <= maxID && len(h.scid) <= maxID
		}
	case retry:
		ok, fromServer = true, true
	case zeroRTT:
		ok = true
	case initial:
		ok, fromServer = !refuted(head, &h), len(h.dcid) == 0
	default:
		ok, fromServer = true, len(h.dcid) == 0
	}
	if !ok || fromServer && dir == dissect.ToServer {
		return dissect.No
	}
	return dissect.Yes
}

// refuted reports whether an Initial packet is not a client's first one: the keys that follow from its own destination
// id do not open it (RFC 9001 section 5.2). Later ones, and those of a server, have the keys of that first packet.
func refuted(head []byte, h *header) bool {
	if h.size > len(head) {
		return false // cut
	}
	keys := initialKeysOf(h.version, h.dcid)
	if keys == nil {
		return false
	}
	_, _, _, ok := new(tuple).openWith(keys.keys[client], &space{}, head[:h.size], h.number)
	return !ok
}

// namesVersion reports whether a version negotiation packet lists a version in use.
func namesVersion(list []byte) bool {
	for ; len(list) >= 4; list = list[4:] {
		if known(binary.BigEndian.Uint32(list)) {
			return true
		}
	}
	return false
}

// plausible reports whether a packet of an unknown version may be a client's first one.
func plausible(h *header, head []byte) bool {
	return len(h.dcid) >= minDCID && len(h.dcid) <= maxID && len(h.scid) <= maxID && len(head) >= minInitial
}

// Bits of the first byte of Google's QUIC up to Q043.
const (
	publicVersion = 0x01
	publicReset   = 0x02
	publicID      = 0x08
)

// detectPublic recognizes a client's packet of Google's QUIC with the header used up to Q043.
func detectPublic(head []byte) dissect.Verdict {
	const at = 1 + 8
	if head[0]&(0x80|0x40|publicReset) != 0 || head[0]&(publicVersion|publicID) != publicVersion|publicID || len(head) < at+4 {
		return dissect.No
	}
	if v := binary.BigEndian.Uint32(head[at:]); isGoogle(v) && v>>24 == 'Q' && googleNumber(v) <= 43 {
		return dissect.Yes
	}
	return dissect.No
}

// detectOnPort also accepts a client's first packet of an unknown version, and a packet with a
// short header that some key decrypts.
func (s *settings) detectOnPort(_ dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < minShort {
		return dissect.No
	}
	if isLong(head[0]) {
		var h header
		return dissect.Yes.If(fixed(head[0]) && readLong(head, true, &h) == nil && h.kind == foreign && plausible(&h, head))
	}
	return s.opens(head, guessBudget)
}

// detectLast accepts a packet with a short header that some key decrypts, on any port. An Initial that follows the first
// one, which the capture may lack, is likely QUIC until an answer proves it, see tuple.prove.
func (s *settings) detectLast(dir dissect.Dir, head []byte) dissect.Verdict {
	var h header
	if len(head) > 0 && isLong(head[0]) {
		return dissect.Likely.If(fixed(head[0]) && readLong(head, true, &h) == nil && h.kind == initial && !(dir == dissect.ToServer && len(h.dcid) == 0))
	}
	return s.opens(head, lastBudget)
}

// identify finds the connection of a packet by its client's random: that is in the client's first packet, and a key of the
// store that decrypts a packet with a short header is listed under it.
func (s *settings) identify(datagram []byte) (name string, id []byte, fromClient bool) {
	if s.store() == nil || len(datagram) < minShort {
		return "", nil, false
	}
	if !isLong(datagram[0]) {
		left := budget(lastBudget)
		if g, ok := s.guess(datagram, &left); ok {
			return string(g.random), datagram[1 : 1+g.idLen], g.role == client
		}
		return "", nil, false
	}
	var h header
	if readLong(datagram, true, &h) != nil || h.kind != initial {
		return "", nil, false
	}
	if keys := initialKeysOf(h.version, h.dcid); keys != nil {
		if plain, _, _, ok := new(tuple).openWith(keys.keys[client], &space{}, datagram[:h.size], h.number); ok {
			return string(randomIn(plain)), nil, true
		}
	}
	return "", nil, false
}

func (s *settings) opens(head []byte, trials int) dissect.Verdict {
	left := budget(trials)
	if _, ok := s.guess(head, &left); ok {
		return dissect.Yes
	}
	return dissect.No
}

// doubts doubts that datagrams are QUIC until an answer was decrypted: anyone can send a long header of a known version from
// the ends of another conversation. A short header without the fixed bit is no packet of a version that can be read
// (RFC 9000 section 17.3.1; a sender omits it only after it has read the other side's parameters, RFC 9287).
func doubts(d dissect.Dissector, datagram []byte) dissect.Verdict {
	conns := d.(*tuple).conns
	if len(datagram) == 0 || slices.ContainsFunc(conns, func(q *conn) bool { return q.replied || q.guessed }) {
		return dissect.No
	}
	var h header
	switch {
	case !isLong(datagram[0]):
		if fixed(datagram[0]) || slices.ContainsFunc(conns, func(q *conn) bool { return q.other != 0 }) {
			return dissect.Likely
		}
		return dissect.Yes
	case readLong(datagram, false, &h) != nil:
		return dissect.Yes
	case h.kind == foreign:
		return dissect.Likely
	}
	return dissect.No
}
