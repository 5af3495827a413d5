package quic

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

const (
	maxKept      = 128       // packets that wait for keys
	maxKeptBytes = 192 << 10 // of one connection
	keyPhase     = 0x04
	reservedOne  = 0x18 // bits of a short header that are 0
)

// sealed is an encrypted packet.
type sealed struct {
	kind    kind
	version uint32
	role    role
	packet  []byte
	number  int // offset of the packet number
	p       dissect.Packet
}

// kept is a waiting packet, with a copy of its bytes.
type kept struct{ sealed }

type outcome uint8

const (
	done   outcome = iota
	later          // its keys may still arrive
	failed         // it cannot be decrypted
)

func initialKeysOf(version uint32, dcid []byte) *initialKeys {
	c, s, err := secrets.QUICInitial(version, dcid)
	if err != nil {
		return nil
	}
	return &initialKeys{version, string(dcid), [2]*secrets.PacketKeys{c, s}}
}

// addInitial adds keys of Initial packets.
func (q *conn) addInitial(k *initialKeys) {
	if k == nil {
		return
	}
	for _, x := range q.initials {
		if x.version == k.version && x.dcid == k.dcid {
			return
		}
	}
	if len(q.initials) >= maxInitialKeys {
		q.initials = q.initials[1:]
	}
	q.initials = append(q.initials, k)
	q.changed = true
}

// initialOf adds the Initial keys of a version to which the connection has changed.
func (q *conn) initialOf(version uint32) {
	for _, x := range q.initials {
		if x.version == version {
			return
		}
	}
	if n := len(q.initials); n > 0 {
		q.addInitial(initialKeysOf(version, []byte(q.initials[n-1].dcid)))
	}
}

// open decrypts a packet and reads its frames.
func (q *conn) open(s sealed) outcome {
	var plain []byte
	var number uint64
	var result outcome
	switch s.kind {
	case initial:
		plain, number, result = q.openInitial(s)
	case oneRTT:
		if q.waits() {
			return later
		}
		plain, number, result = q.openOne(s)
	default:
		if s.kind == zeroRTT && q.waits() {
			return later
		}
		plain, number, result = q.openLevel(s)
	}
	if result != done {
		return result
	}
	q.c.Confirm()
	e, d := q.c.Encryption(), q.dir(s.role)
	e.Opened[d]++
	if q.t.trials > 0 {
		q.t.trials--
	}
	if s.kind != initial && e.State != dissect.KeyVerified {
		e.State, e.Reason = dissect.KeyVerified, ""
	}
	if s.kind != oneRTT && !q.replied {
		var h header
		if readLong(s.packet, true, &h) == nil {
			q.learnEnds(s.role, &h)
			q.replied = s.role == server
		}
	}
	if q.spaces[spaceOf(s.kind)][s.role].replayed(number) {
		q.row.Duplicates++
		return done
	}
	q.frames(s, number, plain)
	return done
}

func (q *conn) openInitial(s sealed) ([]byte, uint64, outcome) {
	if len(q.initials) == 0 {
		if q.hasClient { // 0-RTT arrived first
			q.addInitial(initialKeysOf(s.version, q.odcid))
		}
		if len(q.initials) == 0 {
			return nil, 0, later
		}
	}
	q.initialOf(s.version)
	sp := &q.spaces[spaceInitial][s.role]
	for i := len(q.initials) - 1; i >= 0; i-- {
		if k := q.initials[i]; k.version == s.version {
			if plain, _, n, ok := q.t.openWith(k.keys[s.role], sp, s.packet, s.number); ok {
				return plain, n, done
			}
		}
	}
	return nil, 0, failed
}

// labelOf is the label of the secret for a kind of packet.
func labelOf(k kind, r role) secrets.Label {
	switch {
	case k == zeroRTT:
		return secrets.ClientEarlyTraffic
	case k == handshakePacket && r == client:
		return secrets.ClientHandshakeTraffic
	case k == handshakePacket:
		return secrets.ServerHandshakeTraffic
	case r == client:
		return secrets.ClientTraffic
	}
	return secrets.ServerTraffic
}

// ring returns the keys of a kind of packet and creates them on first use. A nil ring with later
// means that the client's random may still arrive.
func (q *conn) ring(k kind, r role, version uint32) (*ring, outcome) {
	g := &q.rings[k][r]
	if g.cur != nil {
		return g, done
	}
	if !q.searched {
		if q.t.set.store() == nil {
			return nil, failed
		}
		return nil, later
	}
	if !g.built || g.version != version {
		suite := q.suite
		if k == zeroRTT { // selected before
			suite = 0
		}
		g.build(version, suite, q.secrets, labelOf(k, r))
	}
	if len(g.tries) == 0 {
		return nil, failed
	}
	return g, done
}

// first makes k, which decrypted a packet, the only keys.
func (g *ring) first(k *secrets.PacketKeys) { g.cur, g.tries = k, nil }

func (q *conn) openLevel(s sealed) ([]byte, uint64, outcome) {
	if s.kind == zeroRTT && s.role == server {
		return nil, 0, failed
	}
	g, result := q.ring(s.kind, s.role, s.version)
	if g == nil {
		return nil, 0, result
	}
	sp := &q.spaces[spaceOf(s.kind)][s.role]
	if g.cur != nil {
		if plain, _, n, ok := q.t.openWith(g.cur, sp, s.packet, s.number); ok {
			return plain, n, done
		}
		return nil, 0, failed
	}
	for _, k := range g.tries {
		if plain, _, n, ok := q.t.openWith(k, sp, s.packet, s.number); ok {
			g.first(k)
			return plain, n, done
		}
	}
	q.tried = true
	return nil, 0, failed
}

// openOne decrypts a 1-RTT packet.
func (q *conn) openOne(s sealed) ([]byte, uint64, outcome) {
	g := &q.rings[oneRTT][s.role]
	if g.cur == nil {
		return q.openFirst(s)
	}
	sp := &q.spaces[spaceApp][s.role]
	u, ok := q.t.unmask(g.cur, s.packet, s.number)
	if !ok {
		return nil, 0, failed
	}
	number := secrets.FullNumber(sp.expected, u.truncated, u.n)
	if u.first&keyPhase == g.phase {
		if plain, ok := q.t.try(g.cur, number, s.packet); ok {
			if number < g.began {
				g.began = number
			}
			return plain, number, done
		}
	}
	return q.openHard(s, g, sp, u, number)
}

// openHard decrypts a 1-RTT packet for which the current keys and the expected number fail:
// retryIfChanged a key update, from before one, or after many lost packets.
func (q *conn) openHard(s sealed, g *ring, sp *space, u unmasked, number uint64) ([]byte, uint64, outcome) {
	if u.first&reservedOne != 0 {
		return nil, 0, failed // authentic packets have zeros here, RFC 9000 section 17.3.1
	}
	if u.first&keyPhase != g.phase {
		if g.prev != nil && number < g.began {
			if plain, ok := q.t.try(g.prev, number, s.packet); ok {
				return plain, number, done
			}
		}
		if g.next == nil {
			g.next = g.cur.Next()
		}
		if plain, ok := q.t.try(g.next, number, s.packet); ok {
			q.updated(g, s.role, 1, number, u)
			return plain, number, done
		}
		if g.prev != nil {
			if plain, ok := q.t.try(g.prev, number, s.packet); ok {
				return plain, number, done
			}
		}
	}
	if q.t.trials >= searchBudget {
		return nil, 0, failed
	}
	k := g.cur
	if u.first&keyPhase != g.phase {
		k = g.next
	}
	if other := secrets.FullNumber(sp.top, u.truncated, u.n); other != number {
		if plain, ok := q.t.try(k, other, s.packet); ok {
			if k == g.next {
				q.updated(g, s.role, 1, other, u)
			}
			return plain, other, done
		}
	}
	if plain, n, ok := q.t.search(k, u, s.packet, number); ok {
		if k == g.next {
			q.updated(g, s.role, 1, n, u)
		}
		return plain, n, done
	}
	for i := 1; i <= maxPhases; i++ { // several updates within the lost packets
		k = k.Next()
		q.t.trials++
		if i%2 == 1 {
			continue // the other phase bit
		}
		if plain, ok := q.t.try(k, number, s.packet); ok {
			by := i
			if u.first&keyPhase != g.phase {
				by++
			}
			g.next = k
			q.updated(g, s.role, by, number, u)
			g.prev = nil
			return plain, number, done
		}
	}
	return nil, 0, failed
}

// updated switches to the keys in g.next.
func (q *conn) updated(g *ring, r role, by int, number uint64, u unmasked) {
	g.prev, g.cur, g.next = g.cur, g.next, nil
	g.phase, g.began = u.first&keyPhase, number
	if r == client {
		q.row.ClientKeyUpdates += int64(by)
	} else {
		q.row.ServerKeyUpdates += int64(by)
	}
}

// openFirst decrypts the first 1-RTT packet of a side.
func (q *conn) openFirst(s sealed) ([]byte, uint64, outcome) {
	g, result := q.ring(oneRTT, s.role, q.version)
	if g == nil {
		return nil, 0, result
	}
	sp := &q.spaces[spaceApp][s.role]
	for _, k := range g.tries {
		plain, u, n, ok := q.t.openWith(k, sp, s.packet, s.number)
		expected := n
		if !ok && possible(u) && q.t.trials < searchBudget {
			plain, n, ok = q.t.search(k, u, s.packet, expected)
		}
		if ok {
			g.first(k)
			g.phase, g.began = u.first&keyPhase, n
			return plain, n, done
		}
		if !possible(u) || q.t.trials >= searchBudget {
			continue
		}
		for i, x := 1, k; i <= maxPhases; i++ { // earlier packets were not captured
			x = x.Next()
			if u.first&keyPhase == 0 == (i%2 == 1) {
				continue
			}
			q.t.trials++
			if plain, n, ok = q.t.search(x, u, s.packet, expected); ok {
				g.first(k)
				g.next = x
				q.updated(g, s.role, i, n, u)
				g.prev = nil
				return plain, n, done
			}
		}
	}
	q.tried = true
	return nil, 0, failed
}

// possible reports whether a short header may be valid.
func possible(u unmasked) bool { return u.n > 0 && u.first&reservedOne == 0 }

// waits reports whether application data has to wait for the server's encrypted extensions: they
// say whether it accepts 0-RTT, and which protocol it selected.
func (q *conn) waits() bool {
	if q.extensions || q.impatient || q.t.set.store() == nil || q.guessed && !q.atStart {
		return false
	}
	if !q.searched {
		return true
	}
	g, _ := q.ring(handshakePacket, server, q.version)
	return g != nil
}

// keep stores a packet until more is known.
func (q *conn) keep(s sealed) {
	if len(q.kept) >= maxKept || q.keptBytes+len(s.packet) > maxKeptBytes || !q.c.Hold(len(s.packet)) {
		if q.impatient {
			q.unread(q.dir(s.role))
			return
		}
		q.impatient = true
		q.retry()
		switch q.open(s) {
		case failed:
			q.failed(s)
		case later:
			q.keep(s)
		}
		return
	}
	q.keptBytes += len(s.packet)
	s.packet = append([]byte(nil), s.packet...)
	q.kept = append(q.kept, kept{s})
}

// retryIfChanged retries the kept packets if something new is known.
func (q *conn) retryIfChanged() {
	if q.busy {
		return
	}
	for q.changed {
		q.changed = false
		q.refresh()
		q.retry()
	}
}

// retry decrypts the kept packets in their original order.
func (q *conn) retry() {
	if q.busy || len(q.kept) == 0 {
		return
	}
	q.busy = true
	in := q.in
	q.in = nil
	list := q.kept
	q.kept = nil
	left := list[:0]
	for _, k := range list {
		result := q.open(k.sealed)
		if result == later {
			left = append(left, k)
			continue
		}
		if result == failed {
			q.failed(k.sealed)
		}
		q.keptBytes -= len(k.packet)
		q.c.Release(len(k.packet))
		if q.changed {
			q.changed = false
			q.refresh()
			q.changed = true // it may now be possible to decrypt earlier ones
		}
	}
	clear(list[len(left):])
	q.kept = append(left, q.kept...)
	q.in, q.busy = in, false
}
