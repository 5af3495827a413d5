package tls

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
)

// Limits of one DTLS conversation.
const (
	maxFragmented = 4  // messages of one side that are reassembled at the same time
	maxPieces     = 64 // separate pieces of one message
)

const (
	dtlsHeader       = 13
	fragmentHeader   = 12
	recordCID        = 25 // RFC 9146
	recordACK        = 26 // RFC 9147
	unifiedHeaderBit = 0x20
)

// datagrams reads DTLS 1.0 to 1.2 (RFC 6347) and the unencrypted part of DTLS 1.3 (RFC 9147).
type datagrams struct {
	conn
	seen  [2]uint64 // by direction: message numbers below 64 that were already read
	parts [2][]*fragmented
	last  []byte // random of the latest ClientHello with a row
	ids   [2]int // bytes of the connection ids in a role's records; -1 if none was agreed
}

// fragmented is a handshake message that arrives in pieces.
type fragmented struct {
	number uint16
	typ    uint8
	body   []byte
	have   []span // ascending, disjoint
}

type span struct{ from, to int }

// Read implements dissect.Dissector.
func (k *datagrams) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 {
		return 0, nil
	}
	at := 0
	for at < len(in.Data) {
		n, err := k.record(in, at)
		if err != nil {
			return at, err
		}
		at += n
	}
	return at, nil
}

// dtlsRecord is the header of a record in plaintext form.
type dtlsRecord struct {
	typ     uint8
	version uint16
	epoch   uint16
	size    int
}

func dtlsHeaderOf(b []byte) dtlsRecord {
	r := cursor.New(b)
	h := dtlsRecord{typ: r.Uint8(), version: r.Uint16(), epoch: r.Uint16()}
	r.Skip(6)
	h.size = int(r.Uint16())
	return h
}

func dtlsVersion(v uint16) bool { return v == 0xfeff || v == 0xfefd || v == 0xfefc || v == 0x0100 }

// record reads one record and returns its size.
func (k *datagrams) record(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if b[0]&0xe0 == unifiedHeaderBit {
		return k.unified(in, at)
	}
	if b[0] < recordCCS || b[0] > recordACK {
		return 0, fmt.Errorf("reading datagram: its first byte 0x%02x is not that of a DTLS record (20 to 63, RFC 7983 section 7)", b[0])
	}
	if len(b) < dtlsHeader {
		return 0, fmt.Errorf("reading record header: %d bytes, a header needs %d", len(b), dtlsHeader)
	}
	h := dtlsHeaderOf(b)
	if !dtlsVersion(h.version) {
		return 0, fmt.Errorf("reading record header: 0x%04x is no DTLS version", h.version)
	}
	head := dtlsHeader
	if h.typ == recordCID {
		head = k.headerCID(in.Dir, b, &h)
	}
	whole := head + h.size
	if whole > len(b) {
		return 0, fmt.Errorf("reading record: length %d in a datagram with %d bytes left", h.size, len(b)-dtlsHeader)
	}
	s := &k.sides[in.Dir]
	if h.epoch > 0 || h.typ == recordData || h.typ == recordCID || h.typ == recordACK {
		if !k.openRecord(s, in, at, head, whole, h) {
			k.encrypted(s, in, at, whole, h)
		}
		return whole, nil
	}
	body := b[dtlsHeader:whole]
	switch h.typ {
	case recordHandshake:
		k.fragments(in, at, whole, h, body)
	case recordCCS:
		if k.hs != nil || !k.done { // else it is a retransmission
			k.changeCipher(s, in, at, whole)
			s.encrypted = false // the epochs show it
		}
	case recordAlert:
		k.ensureHandshake()
		k.cite(in, at, at+whole)
		k.alert(in, body)
	case recordHeartbeat:
		k.heartbeat(k.role(in.Dir), body, len(body))
	}
	return whole, nil
}

// unified reads a record of DTLS 1.3, RFC 9147 section 4.
func (k *datagrams) unified(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	const withID, longNumber, withLength = 0x10, 0x08, 0x04
	h := dtlsRecord{typ: recordData, version: 0xfefd, epoch: uint16(b[0] & 3)}
	head, whole := 2, len(b)
	if b[0]&longNumber != 0 {
		head++
	}
	if b[0]&withID != 0 {
		if n := k.ids[k.role(in.Dir)]; n >= 0 {
			head += n
		} else { // only the hellos contain its length
			head = len(b)
		}
	}
	if b[0]&withLength != 0 && head < len(b) {
		r := cursor.New(b)
		r.Skip(head)
		size := int(r.Uint16())
		head += 2
		if whole = head + size; r.Short() || whole > len(b) {
			return 0, fmt.Errorf("reading record of DTLS 1.3: length %d in a datagram with %d bytes left", size, r.Left())
		}
	}
	h.size = whole
	s := &k.sides[in.Dir]
	if !k.openUnified(s, in, at, min(head, whole), whole, h) {
		k.encrypted(s, in, at, whole, h)
	}
	return whole, nil
}

// encrypted skips an encrypted record, which may end a side's handshake.
func (k *datagrams) encrypted(s *side, in *dissect.Input, at, n int, h dtlsRecord) {
	if k.hs == nil {
		if k.done {
			return
		}
		k.newShake()
		k.hs.row.Midstream = true
		k.hs.recordVersion(h.version)
	}
	hs, side := k.hs, k.role(in.Dir)
	switch {
	case hs.row.Midstream:
		k.cite(in, at, at+min(n, dtlsHeader))
		hs.fin[side] = true
	case hs.version13() || h.typ == recordHandshake || h.typ == recordCID:
		if s.flight < maxFlight {
			s.flight += n
			k.cite(in, at, at+n)
		}
		hs.fin[side] = !hs.version13() || side == client
	case h.typ == recordAlert && !hs.fin[side]:
		k.cite(in, at, at+n)
		hs.alert("encrypted", !hs.gap, side) // after a loss, perhaps that of the end
	case hs.server: // the messages that ended its handshake are missing
		hs.fin[side] = true
	}
	k.finishIfDone()
}

// fragments reads the handshake messages of an unencrypted record.
func (k *datagrams) fragments(in *dissect.Input, at, whole int, h dtlsRecord, body []byte) {
	r := cursor.New(body)
	given := false
	for r.Left() > 0 {
		typ, size, number, from, n := r.Uint8(), int(r.Uint24()), r.Uint16(), int(r.Uint24()), int(r.Uint24())
		piece := r.Bytes(n)
		if r.Short() || from+n > size {
			k.ensureHandshake()
			k.hs.malformed = true
			k.c.Anomaly("malformed", fmt.Sprintf("reading handshake message %s: piece of %d bytes at %d of %d", handshake.Message(typ), n, from, size), 0)
			break
		}
		if !k.open(in, typ, number, from == 0, piece) {
			continue
		}
		if !given {
			k.hs.recordVersion(h.version)
			k.cite(in, at, at+whole)
			given = true
		}
		k.piece(in, typ, number, from, size, piece)
	}
	if !given && k.hs != nil {
		k.cite(in, at, at+whole)
	}
}

// open ensures that a handshake is in progress. A first ClientHello with a new random begins
// another one, and so does any first one under encryption, because some stacks reuse their
// random in a renegotiation. It returns false if the message is a retransmission of an ended
// handshake.
func (k *datagrams) open(in *dissect.Input, typ uint8, number uint16, start bool, body []byte) bool {
	first := typ == handshake.TypeClientHello && number == 0 && start && len(body) >= 34
	if k.hs != nil {
		if !first || !k.hs.client && !k.hs.row.Midstream || string(body[2:34]) == string(k.hs.det.ClientRandom) {
			return true
		}
		k.finish("")
	} else if k.done && (!first || !k.inRecord && string(body[2:34]) == string(k.last)) {
		return false
	}
	if first {
		k.last = append(k.last[:0], body[2:34]...)
	}
	k.newShake()
	k.hs.row.Renegotiation = k.inRecord
	k.seen = [2]uint64{}
	for d := range k.parts {
		k.forget(d)
	}
	switch typ {
	case handshake.TypeServerHello, handshake.TypeHelloVerifyRequest:
		k.client = in.Dir.Other()
	case handshake.TypeClientHello:
		k.client = in.Dir
	}
	return true
}

// piece reads a handshake message, or adds a piece to one.
func (k *datagrams) piece(in *dissect.Input, typ uint8, number uint16, from, size int, b []byte) {
	if number < 64 {
		if k.seen[in.Dir]&(1<<number) != 0 {
			return // a retransmission
		}
	}
	if len(b) < size {
		b = k.join(in, typ, number, from, size, b)
	}
	if b == nil && size > 0 {
		return
	}
	if number < 64 {
		k.seen[in.Dir] |= 1 << number
	}
	o := of(in)
	o.number = number
	k.message(&k.sides[in.Dir], o, typ, b)
	if typ == handshake.TypeServerHello && k.hs != nil && k.hs.server {
		k.agree()
	}
}

// join adds a piece to its message and returns the message once it is complete.
func (k *datagrams) join(in *dissect.Input, typ uint8, number uint16, from, size int, b []byte) []byte {
	var f *fragmented
	for _, g := range k.parts[in.Dir] {
		if g.number == number && g.typ == typ && len(g.body) == size {
			f = g
		}
	}
	if f == nil {
		if size > maxMessage || len(k.parts[in.Dir]) >= maxFragmented || !k.c.Hold(size) {
			k.hs.malformed = true
			k.c.Anomaly("limit", fmt.Sprintf("handshake message %s of %d bytes in pieces exceeds a limit", handshake.Message(typ), size), int64(len(b)))
			return nil
		}
		f = &fragmented{number: number, typ: typ, body: make([]byte, size)}
		k.parts[in.Dir] = append(k.parts[in.Dir], f)
	}
	copy(f.body[from:], b)
	if !f.add(from, from+len(b)) {
		return nil
	}
	for i, g := range k.parts[in.Dir] {
		if g == f {
			k.c.Release(size)
			k.parts[in.Dir] = append(k.parts[in.Dir][:i], k.parts[in.Dir][i+1:]...)
			break
		}
	}
	return f.body
}

// add records a piece and reports whether the message is complete.
func (f *fragmented) add(from, to int) bool {
	out := f.have[:0:0]
	for _, s := range f.have {
		if s.to < from || s.from > to {
			out = append(out, s)
			continue
		}
		from, to = min(from, s.from), max(to, s.to)
	}
	if len(out) < maxPieces {
		out = append(out, span{from, to})
	}
	f.have = out
	return from == 0 && to == len(f.body)
}

func (k *datagrams) forget(dir int) {
	for _, f := range k.parts[dir] {
		k.c.Release(len(f.body))
	}
	k.parts[dir] = nil
}

// Gap implements dissect.Dissector; datagrams have none.
func (k *datagrams) Gap(*dissect.Input, int64) bool { return true }

// Close implements dissect.Dissector.
func (k *datagrams) Close(why dissect.End) {
	for d := range k.parts {
		if len(k.parts[d]) > 0 && k.hs != nil {
			k.hs.cut = true
		}
		k.forget(d)
	}
	k.conn.Close(why)
}

// detectDTLS accepts whole DTLS records. Either side may send the ClientHello: with WebRTC, both
// are clients until then.
func detectDTLS(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < dtlsHeader {
		return dissect.No
	}
	h := dtlsHeaderOf(b)
	rest := b[dtlsHeader:]
	if !dtlsVersion(h.version) || h.typ > recordCID || h.size == 0 || h.typ != recordCID && h.size > len(rest) {
		return dissect.No
	}
	if h.epoch > 3 || h.typ == recordCCS && h.size > 3 || h.typ == recordAlert && h.epoch == 0 && h.size > 7 {
		return dissect.No
	}
	if h.typ == recordHandshake && h.epoch == 0 {
		if h.size < fragmentHeader {
			return dissect.No
		}
		r := cursor.New(rest)
		typ, size := r.Uint8(), int(r.Uint24())
		r.Skip(2)
		from, n := int(r.Uint24()), int(r.Uint24())
		if typ > 26 || from+n > size || n > h.size-fragmentHeader ||
			(typ == handshake.TypeServerHello || typ == handshake.TypeHelloVerifyRequest) && dir == dissect.ToServer {
			return dissect.No
		}
	}
	if h.typ == recordHeartbeat && h.epoch == 0 {
		return dissect.No
	}
	return dissect.Yes
}
