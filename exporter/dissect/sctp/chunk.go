package sctp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"net/netip"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Chunks of RFC 9260 section 3.2, RFC 3758 and RFC 8260.
const (
	chunkData             = 0
	chunkInit             = 1
	chunkInitAck          = 2
	chunkSack             = 3
	chunkHeartbeat        = 4
	chunkAbort            = 6
	chunkShutdown         = 7
	chunkShutdownAck      = 8
	chunkError            = 9
	chunkCookieEcho       = 10
	chunkCookieAck        = 11
	chunkShutdownComplete = 14
	chunkIData            = 64
	chunkForward          = 192
	chunkIForward         = 194
)

// Flags of chunks.
const (
	lastPiece  = 0x01 // of DATA: the message ends
	firstPiece = 0x02 // of DATA: a message begins
	unordered  = 0x04 // of DATA
	ownTag     = 0x01 // of ABORT and SHUTDOWN COMPLETE: the packet has the tag that its sender would expect
)

const (
	headSize     = 12 // of a packet
	maxAddresses = 32
	maxChunk     = 16 << 10 // bytes of a chunk that the snap length cut, for detect
	maxPacket    = 1 << 10  // chunks of a packet that are read
)

// packet is a packet whose chunks have the lengths that they state.
type packet struct {
	tag    uint32
	sum    bool // the checksum is wrong
	chunks []chunk
}

// chunk is a chunk; the snap length may have cut the value of the last one.
type chunk struct {
	kind, flags byte
	at          int // of value, in the packet
	size        int // of value on the wire
	value       []byte
}

var errNoChunk = errors.New("reading a packet: no chunk in it")

// parse reads the chunks of a packet.
func parse(in *dissect.Input) (*packet, error) {
	b := in.Data
	if len(b) < headSize+4 {
		return nil, errNoChunk
	}
	cut := int(in.Packet(0).Cut)
	p := &packet{tag: binary.BigEndian.Uint32(b[4:]), sum: cut == 0 && !sound(b)}
	for at := headSize; at+4 <= len(b) && len(p.chunks) < maxPacket; {
		size := int(binary.BigEndian.Uint16(b[at+2:]))
		if size < 4 || size > len(b)+cut-at {
			return nil, fmt.Errorf("reading a chunk of type %d: %d bytes, %d are left", b[at], size, len(b)+cut-at)
		}
		p.chunks = append(p.chunks, chunk{b[at], b[at+1], at + 4, size - 4, b[at+4 : min(at+size, len(b))]})
		at += (size + 3) &^ 3
	}
	return p, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the checksum of a packet with its header, RFC 9260 section 6.8, which is stored in
// little-endian order.
func Checksum(p []byte) uint32 {
	const place = 8
	sum := crc32.Update(0, castagnoli, p[:place])
	sum = crc32.Update(sum, castagnoli, []byte{0, 0, 0, 0})
	return crc32.Update(sum, castagnoli, p[place+4:])
}

// sound verifies the checksum of a whole packet: CRC32c (RFC 9260 section 6.8), Adler-32 as RFC 2960 had
// it, or 0, which a network adapter replaces or both sides agreed on (RFC 9653).
func sound(b []byte) bool {
	stated := b[8:headSize]
	if binary.LittleEndian.Uint32(stated) == 0 {
		return true
	}
	if binary.LittleEndian.Uint32(stated) == Checksum(b) {
		return true
	}
	old := adler32.New()
	old.Write(b[:8])
	old.Write(make([]byte, 4))
	old.Write(b[headSize:])
	return binary.BigEndian.Uint32(stated) == old.Sum32()
}

// setup is the content of INIT and INIT ACK, RFC 9260 section 3.3.2.
type setup struct {
	tag, first uint32
	out, in    uint16
	addresses  []string
}

func readSetup(b []byte) (s setup, ok bool) {
	if len(b) < 16 {
		return s, false
	}
	s = setup{tag: binary.BigEndian.Uint32(b), out: binary.BigEndian.Uint16(b[8:]), in: binary.BigEndian.Uint16(b[10:]), first: binary.BigEndian.Uint32(b[12:])}
	for b = b[16:]; len(b) >= 4; {
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			break
		}
		if a, ok := netip.AddrFromSlice(b[4:size]); ok && (kind == 5 || kind == 6) && len(s.addresses) < maxAddresses {
			s.addresses = append(s.addresses, a.String())
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return s, s.tag != 0
}

// sizes are the least values of chunks, and the only ones of those without content.
var sizes = map[byte]struct{ least, most int }{
	chunkData: {13, 1 << 16}, chunkInit: {16, 1 << 16}, chunkInitAck: {16, 1 << 16}, chunkSack: {12, 1 << 16}, chunkHeartbeat: {4, 1 << 16}, chunkHeartbeat + 1: {4, 1 << 16},
	chunkAbort: {0, 1 << 16}, chunkShutdown: {4, 4}, chunkShutdownAck: {0, 0}, chunkError: {4, 1 << 16}, chunkCookieEcho: {1, 1 << 16}, chunkCookieAck: {0, 0},
	chunkShutdownComplete: {0, 0}, chunkIData: {17, 1 << 16}, chunkForward: {4, 1 << 16}, chunkIForward: {4, 1 << 16},
}

// flagsOf are the flags that a chunk may have.
func flagsOf(kind byte) byte {
	switch kind {
	case chunkData, chunkIData:
		return 0x0f // RFC 7053 adds one
	case chunkAbort, chunkShutdownComplete:
		return ownTag
	}
	return 0
}

// detect accepts a packet whose chunks have lengths that fit. Only a client sends INIT and COOKIE ECHO
// first, only a server answers them.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < headSize+4 {
		return dissect.No
	}
	at := headSize
	for at+4 <= len(head) {
		kind, size := head[at], int(binary.BigEndian.Uint16(head[at+2:]))
		limit, known := sizes[kind]
		named := tables()["chunk"][int64(kind)] != ""
		if size < 4 || size > maxChunk && at+size > len(head) || known && (size-4 < limit.least || size-4 > limit.most) || named && head[at+1]&^flagsOf(kind) != 0 || !named && at == headSize {
			return dissect.No
		}
		at += (size + 3) &^ 3
	}
	switch kind := head[headSize]; {
	case (kind == chunkInit || kind == chunkCookieEcho) && dir == dissect.ToClient, (kind == chunkInitAck || kind == chunkCookieAck) && dir == dissect.ToServer:
		return dissect.No
	case at <= len(head)+3 && binary.BigEndian.Uint32(head[8:]) != 0 && sound(head):
		return dissect.Yes
	}
	return dissect.Likely // the snap length or the network adapter
}
