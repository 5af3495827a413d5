package tds

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const (
	headSize   = 8
	recordHead = 5 // of TLS
	maxRecord  = recordHead + 1<<14 + 2048
	lostAll    = 1 << 62 // more than any message has
	eom        = 0x01    // of a packet's status: the last one of its message
	maxStatus  = 0x1f
)

// SMP, [MC-SMP] section 2.2.
const (
	smp      = 0x53
	smpSize  = 16
	smpSyn   = 1
	smpFin   = 4
	smpData  = 8
	smpFlags = 15
)

// isRecord reports whether b begins with a record of TLS.
func isRecord(b []byte) bool {
	return len(b) >= 3 && b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 3 && b[2] <= 4
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	at, err := in.Each(func(at int) (int, error) { return k.next(in, at) })
	if err == nil && at == len(in.Data) && in.End && k.tunnel != nil {
		k.tunnel.End(in.Dir, k.c.Now())
	}
	return at, err
}

// next reads a packet, or a piece of a record of TLS.
func (k *conn) next(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	switch left := &k.records[in.Dir]; {
	case k.sealed && k.tunnel != nil && (isRecord(b) || *left == lostAll):
		*left = lostAll // everything that follows is TLS
		k.tunnel.Carry(in, at, len(in.Data))
		return len(b), nil
	case *left > 0:
		n := min(*left, len(b))
		*left -= n
		k.carry(in, at, at+n)
		return n, nil
	case b[0] >= 0x14 && b[0] <= 0x17:
		if len(b) < recordHead {
			return 0, nil
		}
		n := recordHead + int(binary.BigEndian.Uint16(b[3:]))
		if !isRecord(b) || n > maxRecord {
			return 0, fmt.Errorf("reading a record of TLS: %.5x is not one", b)
		}
		k.sealedLogin(in, at, b)
		*left = n
		return k.next(in, at)
	case b[0] == smp:
		return k.multiplexed(in, at)
	}
	size, err := packetSize(in.Dir, b)
	if err != nil || size == 0 {
		return 0, err
	}
	if len(b) < size {
		k.c.Need(in.Dir, size)
		return 0, nil
	}
	return size, k.packet(k.main, in, at, at, at+size)
}

// carry passes bytes to TLS. Those of a handshake that was not captured are accounted for only.
func (k *conn) carry(in *dissect.Input, from, to int) {
	if k.tunnel != nil {
		k.tunnel.Carry(in, from, to)
	}
}

// packetSize checks the head of a packet. It is 0 if b is too short.
func packetSize(dir dissect.Dir, b []byte) (int, error) {
	if len(b) < headSize {
		return 0, nil
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	switch _, request := requestTypes[b[0]]; {
	case dir == dissect.ToServer && !request, dir == dissect.ToClient && b[0] != typeResponse && b[0] != typePrelogin:
		return 0, fmt.Errorf("reading a packet: type %#x goes %s", b[0], dir)
	case size < headSize || size > maxPacket+1:
		return 0, fmt.Errorf("reading a packet: length %d is outside %d to %d", size, headSize, maxPacket)
	case b[1] > maxStatus:
		return 0, fmt.Errorf("reading a packet: status %#x", b[1])
	}
	return size, nil
}

// multiplexed reads a packet of SMP, with the packet of TDS that it carries.
func (k *conn) multiplexed(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if len(b) < smpSize {
		return 0, nil
	}
	flags, id, size := b[1], binary.LittleEndian.Uint16(b[2:]), int64(binary.LittleEndian.Uint32(b[4:]))
	switch {
	case flags == 0 || flags > smpFlags || size < smpSize || size > smpSize+maxPacket+1 || flags&smpData == 0 && size != smpSize:
		return 0, fmt.Errorf("reading a packet of SMP: flags %#x, length %d", flags, size)
	case int64(len(b)) < size:
		k.c.Need(in.Dir, int(size))
		return 0, nil
	}
	s := k.sessions[id]
	if s == nil {
		if len(k.sessions) >= maxSessions {
			k.c.Anomaly("limit", "too many sessions of MARS in one connection", size)
			return int(size), nil
		}
		if k.sessions == nil {
			k.sessions = map[uint16]*session{}
		}
		s = k.newSession()
		s.id = table.Some(int32(id))
		k.sessions[id] = s
	}
	if flags&smpFin != 0 && in.Dir == dissect.ToClient {
		k.end(s, "no_response")
		delete(k.sessions, id)
	}
	if size == smpSize {
		return smpSize, nil
	}
	inner, err := packetSize(in.Dir, b[smpSize:size])
	if err == nil && int64(inner) != size-smpSize {
		err = fmt.Errorf("reading a packet of SMP: %d bytes hold a packet of %d", size-smpSize, inner)
	}
	if err != nil {
		return 0, err
	}
	return int(size), k.packet(s, in, at, at+smpSize, at+int(size))
}

// packet reads a packet at in.Data[at:to]; the citation begins at from.
func (k *conn) packet(s *session, in *dissect.Input, from, at, to int) error {
	head, payload := in.Data[at:at+headSize], in.Data[at+headSize:to]
	if head[0] == typePrelogin && (k.tunnel != nil || isRecord(payload)) {
		if k.tunnel == nil {
			if k.tunnel = k.c.NewTunnel("tls", nil); k.tunnel == nil {
				return nil
			}
			k.sealed = k.mustSeal
		}
		k.tunnel.Carry(in, at+headSize, to)
		return nil
	}
	if in.Dir == dissect.ToServer {
		return k.requestPacket(s, in, from, to, head, payload)
	}
	return k.responsePacket(s, in, from, to, head, payload)
}

// sealedLogin records that the client sends a login in TLS whose response is not encrypted.
func (k *conn) sealedLogin(in *dissect.Input, at int, b []byte) {
	const application = 0x17
	if in.Dir != dissect.ToServer || b[0] != application || k.sealed || k.main.queue.Front() != nil {
		return
	}
	c := k.begin(k.main)
	c.kind, c.whole, c.sealed = typeLogin, true, true
	c.row.Type = table.Some(requestTypes[typeLogin])
	c.x.Request(in, at, min(at+recordHead, len(in.Data)))
	k.main.queue.Push(c, in.Packet(at).Ack, callCost)
}

// begin makes a call of a session.
func (k *conn) begin(s *session) *call {
	row := &Row{Session: s.id, User: table.NonEmpty(k.user), Application: table.NonEmpty(k.application), Client: table.NonEmpty(k.client),
		Driver: table.NonEmpty(k.driver), Server: table.NonEmpty(k.server), Database: table.NonEmpty(k.database), Version: table.NonEmpty(k.version)}
	return &call{s: s, row: row}
}

// Gap implements dissect.Dissector. In a connection that is all TLS, the bytes are missing there.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	switch left := &k.records[in.Dir]; {
	case *left == lostAll:
		k.tunnel.Gap(in.Dir, missing, k.c.Now())
		return true
	case int64(*left) >= missing && len(in.Data) == 0:
		*left -= int(missing)
		if k.tunnel != nil {
			k.tunnel.Gap(in.Dir, missing, k.c.Now())
		}
		return true
	}
	return false
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.records[dir] = 0
	if dir == dissect.ToClient {
		k.database = "" // a lost response may have changed it
	}
	if k.tunnel != nil && !k.sealed {
		k.tunnel.Gap(dir, lostAll, k.c.Now())
	}
	for _, s := range k.all() {
		s.queue.Resync(dir, why)
		c := s.request.call
		if dir == dissect.ToServer {
			s.request.call, s.request.buf = nil, nil
			s.request.rows = tokens{}
			if c != nil {
				c.lose(why)
			}
			continue
		}
		if c = s.response.call; c != nil {
			c.lose(why)
			k.emit(c, string(why))
		}
		s.response.call, s.response.open, s.response.words = nil, false, tokens{}
	}
}

func (c *call) lose(why dissect.Loss) {
	c.gap, c.bad = c.gap || why == dissect.LossGap, c.bad || why == dissect.LossMalformed
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.prepBytes + len(k.user) + len(k.application) + len(k.client) + len(k.driver) + len(k.server) + len(k.database)
	for _, s := range k.all() {
		n += int(sessionCost) + cap(s.request.buf) + s.request.rows.kept() + s.response.words.kept()
		if c := s.response.call; c != nil {
			n += cap(c.preview) + max(callCost-c.waiting.Cost(), 0)
		}
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.tunnel != nil && k.tunnel.Shed() {
		return true
	}
	for _, s := range k.all() {
		if s.queue.Shed() {
			return true
		}
	}
	return false
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for _, s := range k.all() {
		if c := s.response.call; c != nil && why == dissect.EndFin {
			k.emit(c, "cut")
		}
		k.end(s, why.CallError())
	}
	if k.tunnel != nil {
		k.tunnel.Close(why, k.c.Now())
	}
}

// end emits the calls of a session.
func (k *conn) end(s *session, why string) {
	if c := s.response.call; c != nil {
		k.emit(c, why)
	}
	for len(s.queue.All()) > 0 {
		c := s.queue.All()[0]
		word := why
		if c.kind == typeLogin && k.c.Info.OpenedBy != "" && k.alone {
			word = ""
		}
		k.emit(c, word)
	}
}
