package quic

import (
	"bytes"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits for datagrams that the sender's kernel has not split yet.
const (
	maxWire    = 1500 // bytes of a datagram that never needs splitting
	minSegment = 1200 // RFC 9000 section 14: the minimum that a QUIC path carries
	maxSegment = 9000
)

// segment is the length of the packet with a short header at the start of b. A capture at the
// sender shows datagrams as they were passed to the kernel, many of one size combined in one
// (UDP_SEGMENT). Only decryption reveals that size.
func (q *conn) segment(r role, b []byte, idLen int) int {
	if len(b) <= maxWire && !q.t.uncut || q.t.p.Cut > 0 {
		return len(b)
	}
	g, _ := q.ring(oneRTT, r, q.version)
	if g == nil {
		return len(b)
	}
	keys := g.tries
	if g.cur != nil {
		keys = []*secrets.PacketKeys{g.cur}
		if u, ok := q.t.unmask(g.cur, b, 1+idLen); ok && u.first&keyPhase != g.phase {
			if g.next == nil {
				g.next = g.cur.Next()
			}
			keys = append(keys, g.next)
		}
	}
	for _, n := range [...]int{q.segments[r], len(b)} {
		if n > 0 && n <= len(b) && q.fits(keys, r, b[:n], idLen) {
			q.t.uncut = n < len(b)
			return n
		}
	}
	id := b[1 : 1+idLen]
	for n := minSegment; n <= maxSegment && len(b)-n > 0 && q.t.trials < searchBudget; n++ {
		if len(b)-n > idLen && !bytes.Equal(b[n+1:][:idLen], id) || !fixed(b[n]) {
			continue
		}
		q.t.trials++
		if q.fits(keys, r, b[:n], idLen) {
			q.segments[r], q.t.uncut, q.t.trials = n, true, 0
			return n
		}
	}
	return len(b)
}

// fits reports whether a packet decrypts unchanged.
func (q *conn) fits(keys []*secrets.PacketKeys, r role, packet []byte, idLen int) bool {
	for _, k := range keys {
		if _, _, _, ok := q.t.openWith(k, &q.spaces[spaceApp][r], packet, 1+idLen); ok {
			return true
		}
	}
	return false
}
