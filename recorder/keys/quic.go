package keys

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of the kept data of QUIC.
const (
	maxQUIC       = 1024 // connections
	maxCrypto     = 8 << 10
	maxPieces     = 32   // of the handshake that arrived early
	maxKeptPacket = 6    // of a side, to prove keys with
	maxDatagram   = 1600 // of a packet that is kept
)

// quicFlow is the kept part of a QUIC connection: enough to know its client random and suite, and
// some packets of each side.
type quicFlow struct {
	key     flowKey
	version uint32
	dcid    []byte                 // from which the initial keys are derived
	initial [2]*secrets.PacketKeys // client's, server's
	crypto  [2]pieces
	idSize  [2]int // of the connection id in packets that a side sends; -1 if unknown
	random  [32]byte
	known   bool
	suite   *secrets.Suite
	kept    [2][]quicPacket
}

// quicPacket is a packet that the initial keys do not open.
type quicPacket struct {
	handshake bool
	numberAt  int
	data      []byte
}

// pieces joins data by offset.
type pieces struct {
	data    []byte
	waiting []piece
	held    int // bytes in waiting
}

type piece struct {
	at   uint64
	data []byte
}

func (p *pieces) add(at uint64, data []byte) {
	if at+uint64(len(data)) > maxCrypto || len(p.waiting) >= maxPieces || p.held+len(data) > maxCrypto {
		return
	}
	p.held += len(data)
	p.waiting = append(p.waiting, piece{at, slices.Clone(data)})
	for i := 0; i < len(p.waiting); i++ {
		w, have := p.waiting[i], uint64(len(p.data))
		if w.at > have {
			continue
		}
		if w.at+uint64(len(w.data)) > have {
			p.data = append(p.data, w.data[have-w.at:]...)
		}
		p.held -= len(w.data)
		p.waiting = slices.Delete(p.waiting, i, i+1)
		i = -1
	}
}

// longHeader is the header of a long packet, RFC 9000 section 17.2.
type longHeader struct {
	version    uint32
	typ        byte // as in version 1: 0 initial, 2 handshake
	dcid, scid []byte
	numberAt   int
	end        int
}

func readLong(b []byte) (h longHeader, ok bool) {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return h, false
	}
	h.version = binary.BigEndian.Uint32(b[1:])
	h.typ = b[0] >> 4 & 3
	if h.version == secrets.QUICv2 {
		h.typ = (h.typ + 3) & 3 // RFC 9369 section 3.2
	}
	at := 5
	for _, id := range []*[]byte{&h.dcid, &h.scid} {
		if at >= len(b) || int(b[at]) > 20 || at+1+int(b[at]) > len(b) {
			return h, false
		}
		*id = b[at+1 : at+1+int(b[at])]
		at += 1 + int(b[at])
	}
	if h.typ == 3 {
		return h, false // a Retry has no protected payload
	}
	if h.typ == 0 {
		n, size := varint(b[at:])
		if size == 0 || n > uint64(len(b)-at-size) {
			return h, false
		}
		at += size + int(n)
	}
	n, size := varint(b[at:])
	if size == 0 || n > uint64(len(b)-at-size) {
		return h, false
	}
	h.numberAt = at + size
	h.end = h.numberAt + int(n)
	return h, true
}

// varint reads a number, RFC 9000 section 16. Size 0 means that it is incomplete.
func varint(b []byte) (n uint64, size int) {
	if len(b) == 0 {
		return 0, 0
	}
	size = 1 << (b[0] >> 6)
	if len(b) < size {
		return 0, 0
	}
	n = uint64(b[0] & 0x3f)
	for _, c := range b[1:size] {
		n = n<<8 | uint64(c)
	}
	return n, size
}

// datagram adds a UDP datagram. Most are not QUIC, which one byte or a map lookup shows.
func (c *Conversations) datagram(key flowKey, b []byte) {
	if len(b) < 21 || b[0]&0x40 == 0 {
		return
	}
	h, long := readLong(b)
	side := 0
	f := c.quic[key]
	if f == nil {
		if f = c.quic[flowKey{key.to, key.from}]; f != nil {
			side = 1
		} else if f = c.beginQUIC(key, h, long, len(b)); f == nil {
			return
		}
	}
	for long {
		f.long(side, h, b[:h.end])
		if !f.known {
			if r, ok := f.clientRandom(); ok {
				f.random, f.known = r, true
				c.quicRandom[r] = f
			}
		}
		b = b[h.end:]
		h, long = readLong(b)
	}
	if n := f.idSize[side]; n >= 0 && len(b) > n+21 && b[0]&0xc0 == 0x40 {
		f.keep(side, quicPacket{false, 1 + n, b})
	}
}

func (c *Conversations) beginQUIC(key flowKey, h longHeader, long bool, size int) *quicFlow {
	const least = 1200 // RFC 9000 section 14.1
	if !long || h.typ != 0 || size < least || len(h.dcid) < 8 {
		return nil
	}
	f := &quicFlow{key: key, version: h.version, idSize: [2]int{-1, -1}}
	if !f.keys(h.dcid) {
		return nil
	}
	if len(c.quicOrder) >= maxQUIC {
		old := c.quicOrder[0]
		c.quicOrder = append(c.quicOrder[:0], c.quicOrder[1:]...)
		delete(c.quic, old.key)
		if c.quicRandom[old.random] == old {
			delete(c.quicRandom, old.random)
		}
	}
	c.quic[key] = f
	c.quicOrder = append(c.quicOrder, f)
	return f
}

func (f *quicFlow) keys(dcid []byte) bool {
	client, server, err := secrets.QUICInitial(f.version, dcid)
	if err != nil {
		return false
	}
	f.dcid, f.initial = slices.Clone(dcid), [2]*secrets.PacketKeys{client, server}
	return true
}

func (f *quicFlow) long(side int, h longHeader, b []byte) {
	if h.version != f.version {
		return
	}
	// The other side uses this side's source id as its destination id.
	f.idSize[1-side] = len(h.scid)
	switch h.typ {
	case 0:
		plain, ok := openPacket(f.initial[side], b, h.numberAt)
		if !ok && side == 0 && !f.known && !bytes.Equal(h.dcid, f.dcid) && f.keys(h.dcid) { // after a Retry
			plain, ok = openPacket(f.initial[side], b, h.numberAt)
		}
		if ok {
			f.frames(side, plain)
		}
	case 2:
		f.keep(side, quicPacket{true, h.numberAt, b})
	}
}

func (f *quicFlow) keep(side int, p quicPacket) {
	if len(p.data) > maxDatagram {
		return // several datagrams that the kernel will split
	}
	n := 0
	for _, k := range f.kept[side] {
		if k.handshake == p.handshake {
			n++
		}
	}
	if n < maxKeptPacket {
		p.data = slices.Clone(p.data)
		f.kept[side] = append(f.kept[side], p)
	}
}

// openPacket opens a packet with a small packet number, as at the beginning of a connection.
func openPacket(k *secrets.PacketKeys, b []byte, numberAt int) ([]byte, bool) {
	first, number, size, err := k.Unmask(b, numberAt)
	if err != nil {
		return nil, false
	}
	header := slices.Clone(b[:numberAt+size])
	header[0] = first
	for i := range size {
		header[numberAt+i] = byte(number >> (8 * (size - 1 - i)))
	}
	plain, err := k.Open(nil, uint64(number), header, b[numberAt+size:])
	return plain, err == nil
}

// frames collects the data of CRYPTO frames in an initial packet, RFC 9000 section 19.
func (f *quicFlow) frames(side int, b []byte) {
	for len(b) > 0 {
		typ := b[0]
		b = b[1:]
		switch typ {
		case 0, 1: // PADDING, PING
		case 2, 3: // ACK
			var v [4]uint64
			for i := range v {
				n, size := varint(b)
				if size == 0 {
					return
				}
				v[i], b = n, b[size:]
			}
			left := v[2] * 2
			if typ == 3 {
				left += 3
			}
			for ; left > 0; left-- {
				_, size := varint(b)
				if size == 0 {
					return
				}
				b = b[size:]
			}
		case 6:
			at, n1 := varint(b)
			n, n2 := varint(b[n1:])
			if n1 == 0 || n2 == 0 || n > uint64(len(b)-n1-n2) {
				return
			}
			f.crypto[side].add(at, b[n1+n2:][:n])
			b = b[n1+n2+int(n):]
		default:
			return
		}
	}
	if side == 1 && f.suite == nil {
		m := f.crypto[1].data // type, length, version, random, session id, suite
		if len(m) > 39 && m[0] == 2 && len(m) >= 41+int(m[38]) && !bytes.Equal(m[6:38], helloRetry[:]) {
			f.suite = secrets.SuiteOf(binary.BigEndian.Uint16(m[39+int(m[38]):]))
		}
	}
}

func (f *quicFlow) clientRandom() (random [32]byte, ok bool) {
	m := f.crypto[0].data
	if len(m) < 38 || m[0] != 1 {
		return random, false
	}
	return [32]byte(m[6:38]), true
}

// opensPacket reports whether a secret opens a captured QUIC packet.
func (c *Conversations) opensPacket(s secrets.Secret) bool {
	if len(s.ID) != 32 {
		return false
	}
	c.mu.Lock()
	f := c.quicRandom[[32]byte(s.ID)]
	if f == nil || f.suite == nil {
		c.mu.Unlock()
		return false
	}
	side, handshake := 0, false
	switch s.Label {
	case secrets.ServerHandshakeTraffic:
		side, handshake = 1, true
	case secrets.ClientHandshakeTraffic:
		handshake = true
	case secrets.ServerTraffic:
		side = 1
	case secrets.ClientTraffic:
	default:
		c.mu.Unlock()
		return false
	}
	version, suite, kept := f.version, f.suite, slices.Clone(f.kept[side])
	c.mu.Unlock()
	k, err := secrets.QUICKeys(version, suite, s.Value)
	if err != nil {
		return false
	}
	for _, p := range kept {
		if p.handshake == handshake {
			if _, ok := openPacket(k, p.data, p.numberAt); ok {
				return true
			}
		}
	}
	return false
}
