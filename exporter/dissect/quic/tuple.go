package quic

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	maxConns = 8 // concurrent connections of one 5-tuple; a further one ends the oldest
	minShort = 1 + minSealed
)

// tuple reads the datagrams between two ports: usually those of one connection, sometimes those
// of several connections that share the ports.
type tuple struct {
	c      *dissect.Conn
	set    *settings
	conns  []*conn // the newest last
	guess  *budget // for keys tried on packets of connections without a captured handshake
	trials int     // see search

	plain, head []byte // of the packet being decrypted
	p           dissect.Packet
	uncut       bool        // the datagram combines several, see segment
	from        dissect.Dir // of the first datagram
	read        bool        // it was read
}

var errPadding = errors.New("the bytes after the last packet of the datagram are not a packet")

// Read implements dissect.Dissector.
func (t *tuple) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 {
		return 0, nil
	}
	t.p, t.uncut = in.Packet(0), false
	if !t.read {
		t.from, t.read = in.Dir, true
	}
	at := 0
	var last *conn
	for at < len(in.Data) {
		n, q, err := t.packet(in, at)
		if err != nil {
			if at > 0 && zeros(in.Data[at:]) { // some senders pad datagrams after the packets
				at = len(in.Data)
				break
			}
			return at, err
		}
		if q != nil {
			last = q
		}
		at += n
	}
	if last != nil {
		last.settle()
	}
	return at, nil
}

// prove confirms that an Initial which nothing could authenticate began a QUIC connection, if the other side answers with
// its ids. One sender alone may have invented them.
func (t *tuple) prove(dir dissect.Dir, belongs bool) {
	if belongs && dir != t.from {
		t.c.Confirm()
	}
}

func zeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// packet reads the packet at in.Data[at] and returns its length.
func (t *tuple) packet(in *dissect.Input, at int) (int, *conn, error) {
	b := in.Data[at:]
	if !isLong(b[0]) {
		if at == 0 && detectPublic(b) == dissect.Yes {
			return len(b), t.public(in), nil
		}
		return t.short(in, at)
	}
	var h header
	if err := readLong(b, t.p.Cut == 0, &h); err != nil {
		if t.p.Cut > 0 && errors.Is(err, errShort) {
			return len(b), t.cutShort(in, at), nil
		}
		return 0, nil, err
	}
	if h.kind != initial {
		t.c.Confirm()
	}
	switch h.kind {
	case negotiation:
		q := t.negotiated(in, at, &h)
		return len(b), q, nil
	case foreign:
		q := t.foreign(in, at, &h)
		return len(b), q, nil
	case retry:
		q := t.retried(in, at, &h)
		return len(b), q, nil
	}
	n := min(h.size, len(b))
	q := t.find(in.Dir, b[:n], &h)
	t.prove(in.Dir, q.knows(in.Dir, &h))
	q.protected(in, at, n, &h)
	return n, q, nil
}

// cutShort counts a packet with a header that the capture truncated.
func (t *tuple) cutShort(in *dissect.Input, at int) *conn {
	q := t.newest()
	q.cite(in, at, len(in.Data))
	q.snapped = true
	q.unread(in.Dir)
	return q
}

// newest is the latest connection of the 5-tuple. It is created if there is none.
func (t *tuple) newest() *conn {
	if len(t.conns) == 0 {
		q := t.add(dissect.ToServer)
		q.row.Midstream = true
	}
	return t.conns[len(t.conns)-1]
}

// current is the connection of packets with an unknown id: the latest one. A packet of an
// unsupported version that no server answered may be noise, and takes nothing of others.
func (t *tuple) current() *conn {
	for i := len(t.conns) - 1; i >= 0; i-- {
		if q := t.conns[i]; q.other == 0 || q.row.ServerOther > 0 {
			return q
		}
	}
	return t.conns[len(t.conns)-1]
}

// add starts a connection with a client that sends in direction client.
func (t *tuple) add(client dissect.Dir) *conn {
	const late = 3_000_000_000 // ns within which packets of a closed connection may still arrive
	for len(t.conns) > 0 && t.conns[0].closedAt != 0 && t.p.Time-t.conns[0].closedAt > late {
		t.conns[0].close(dissect.EndFin)
		t.conns = append(t.conns[:0], t.conns[1:]...)
	}
	if len(t.conns) >= maxConns {
		t.c.Anomaly("limit", fmt.Sprintf("more than %d connections of one 5-tuple are open: the oldest was closed", maxConns), 0)
		t.conns[0].close(dissect.EndEvicted)
		t.conns = append(t.conns[:0], t.conns[1:]...)
	}
	q := newConn(t, client)
	t.conns = append(t.conns, q)
	return q
}

// find returns the connection of a packet with a long header. It is created if none matches.
func (t *tuple) find(dir dissect.Dir, packet []byte, h *header) *conn {
	for i := len(t.conns) - 1; i >= 0; i-- {
		if q := t.conns[i]; q.knows(dir, h) {
			return q
		}
	}
	if h.kind == initial {
		if q := t.first(dir, packet, h); q != nil {
			return q
		}
	}
	for i := len(t.conns) - 1; i >= 0; i-- {
		if q := t.conns[i]; q.answers(dir, h) || h.kind == initial && q.opens(dir, packet, h) {
			return q
		}
	}
	if h.kind == zeroRTT { // it arrived before the Initial
		q := t.add(dir)
		q.begins(h)
		return q
	}
	if len(t.conns) > 0 && h.kind != initial {
		// The id was issued under encryption, or the packet is damaged: one datagram must not
		// create a connection if there is one.
		return t.current()
	}
	var q *conn
	if n := len(t.conns); n > 0 && t.conns[n-1].early() {
		q = t.conns[n-1]
	} else {
		q = t.add(dissect.ToServer)
		q.row.Midstream = true
	}
	q.version = h.version
	q.learn(dir, h)
	return q
}

// opens reports whether the connection has the keys of an Initial packet: the id in it may have
// been issued under encryption.
func (q *conn) opens(dir dissect.Dir, packet []byte, h *header) bool {
	r := q.role(dir)
	for _, k := range q.initials {
		if k.version != h.version || len(packet) < h.size {
			continue
		}
		if _, _, _, ok := q.t.openWith(k.keys[r], &q.spaces[spaceInitial][r], packet, h.number); ok {
			return true
		}
	}
	return false
}

// early reports whether only a few packets with short headers were seen: the connection's first
// packets may arrive late.
func (q *conn) early() bool {
	return !q.hasClient && q.other == 0 && !q.ends[client].known && !q.ends[server].known && q.row.ClientOneRTT+q.row.ServerOneRTT < few
}

// first returns the connection that begins with an Initial packet, or continues with it if the
// server's packets were captured before the client's. It returns nil if the packet's own keys do
// not decrypt it.
func (t *tuple) first(dir dissect.Dir, packet []byte, h *header) *conn {
	keys := initialKeysOf(h.version, h.dcid)
	if keys == nil || len(packet) < h.size {
		return nil
	}
	plain, _, _, ok := t.openWith(keys.keys[client], &space{}, packet, h.number)
	if !ok {
		return nil
	}
	var q *conn
	random := randomIn(plain)
	for i := len(t.conns) - 1; i >= 0 && q == nil; i-- {
		switch x := t.conns[i]; {
		case x.client != dir:
		case x.restarts && !x.answered(): // retry after version negotiation
			q = x
			q.restart()
		case x.hasClient && (random != nil && bytes.Equal(random, x.random) || len(h.scid) > 0 && x.ends[client].is(h.scid)):
			x.alias(h.dcid) // before a Retry, or after it
			x.addInitial(keys)
			return x
		case !x.hasClient && (x.ends[client].is(h.scid) || x.early()): // other packets overtook it
			q = x
		}
	}
	if q == nil {
		q = t.add(dir)
	}
	q.begins(h)
	q.addInitial(keys)
	return q
}

// short reads a packet with a short header, which usually ends the datagram.
func (t *tuple) short(in *dissect.Input, at int) (int, *conn, error) {
	b := in.Data[at:]
	var q *conn
	var idLen int
	for i := len(t.conns) - 1; i >= 0; i-- {
		if n, ok := t.conns[i].addressed(in.Dir, b); ok {
			q, idLen = t.conns[i], n
			t.prove(in.Dir, n > 0)
			break
		}
	}
	if q == nil && len(t.conns) > 0 {
		q = t.current()
		idLen = q.receiver(in.Dir).length()
	}
	if q == nil || q.row.Midstream && !q.guessed {
		if g, ok := t.tryGuess(b); ok {
			if q == nil {
				q = t.add(dissect.ToServer)
				q.row.Midstream = true
			}
			q.guessedBy(g, in.Dir, b)
			idLen = g.idLen
		}
	}
	if q != nil && len(q.secrets) > 0 && len(q.receiver(in.Dir).ids) == 0 {
		q.measure(in.Dir, b)
		idLen = q.receiver(in.Dir).length()
	}
	if q == nil {
		if at > 0 || !fixed(b[0]) {
			return 0, nil, errPadding
		}
		q = t.newest()
	}
	if q.other != 0 {
		q.otherPacket(in, at)
		return len(b), q, nil
	}
	if at > 0 && !fixed(b[0]) && zeros(b) {
		return 0, nil, errPadding
	}
	n := q.segment(q.role(in.Dir), b, idLen)
	h := header{kind: oneRTT, version: q.version, number: 1 + idLen, size: n}
	if t.p.Cut > 0 { // the tag is missing
		h.size += int(t.p.Cut)
	}
	q.protected(in, at, n, &h)
	return n, q, nil
}

// Gap implements dissect.Dissector; datagrams have no gaps.
func (t *tuple) Gap(*dissect.Input, int64) bool { return true }

// Resync implements dissect.Dissector; each datagram is independent.
func (t *tuple) Resync(dissect.Dir, dissect.Loss) {}

// Close implements dissect.Dissector.
func (t *tuple) Close(why dissect.End) {
	t.p = t.c.Now()
	for _, q := range t.conns {
		q.close(why)
	}
	t.conns = nil
}

func (t *tuple) anomaly(kind, format string, args ...any) {
	t.c.Anomaly(kind, fmt.Sprintf(format, args...), 0)
}
