package quic

import (
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
)

const (
	maxID      = 20 // bytes of a connection id, RFC 9000 section 17.2
	minSealed  = 20 // packet number and payload of any protected packet: 4 bytes for the number, and a tag
	tagBytes   = 16
	minDCID    = 8    // of a client's first packet, RFC 9000 section 7.2
	minInitial = 1200 // bytes of a datagram with a client's Initial, RFC 9000 section 14.1
)

// kind is the type of a packet.
type kind uint8

const (
	initial kind = iota
	zeroRTT
	handshakePacket
	oneRTT
	retry
	negotiation
	foreign // long header of an unsupported version
)

// header is the unencrypted part of a packet. Its slices alias the datagram.
type header struct {
	kind       kind
	version    uint32
	dcid, scid []byte
	token      []byte // of an Initial
	number     int    // where the packet number begins
	size       int    // bytes of the whole packet
}

var (
	errShort    = errors.New("reading packet header: it ends early")
	errIDLength = errors.New("reading packet header: a connection id is longer than 20 bytes")
)

// varint reads a number of RFC 9000 section 16; n is 0 if b is too short.
func varint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}

// readVarint is varint on a cursor.
func readVarint(r *cursor.Cursor) uint64 {
	v, n := varint(r.Rest())
	if n == 0 {
		r.Skip(r.Left() + 1)
		return 0
	}
	r.Skip(n)
	return v
}

// longTypes are the packet types by their bits in a long header. Version 2 uses other bits, RFC
// 9369 section 3.2.
var longTypes = [2][4]kind{
	{initial, zeroRTT, handshakePacket, retry},
	{retry, initial, zeroRTT, handshakePacket},
}

// readLong reads a long header. If whole is false, the packet was truncated and size may exceed
// the datagram.
func readLong(b []byte, whole bool, h *header) error {
	*h = header{}
	r := cursor.New(b)
	first := r.Uint8()
	h.version = r.Uint32()
	if isGoogle(h.version) && h.version>>24 == 'Q' && googleNumber(h.version) < 50 {
		lengths := r.Uint8() // two lengths in one byte, as in drafts before 22
		h.dcid, h.scid = r.Bytes(oldLength(lengths>>4)), r.Bytes(oldLength(lengths&15))
	} else {
		h.dcid = r.Bytes(int(r.Uint8()))
		h.scid = r.Bytes(int(r.Uint8()))
	}
	if r.Short() {
		return errShort
	}
	h.size = len(b)
	if h.version == 0 {
		h.kind = negotiation
		if n := r.Left(); n == 0 || n%4 != 0 {
			return fmt.Errorf("reading version negotiation: %d bytes of versions are not a multiple of 4", n)
		}
		return nil
	}
	if !readable(h.version) {
		h.kind = foreign
		return nil
	}
	if len(h.dcid) > maxID || len(h.scid) > maxID {
		return errIDLength
	}
	two := 0
	if h.version == version2 {
		two = 1
	}
	h.kind = longTypes[two][first>>4&3]
	if h.kind == retry {
		if r.Left() < tagBytes {
			return errShort
		}
		h.token = b[r.Used() : len(b)-tagBytes]
		return nil
	}
	if h.kind == initial {
		n := readVarint(&r)
		if n > uint64(len(b)) {
			return errShort
		}
		h.token = r.Bytes(int(n))
	}
	length := readVarint(&r)
	if r.Short() {
		return errShort
	}
	h.number = r.Used()
	if length < minSealed || length > 1<<16 {
		return fmt.Errorf("reading packet header: length %d is outside %d to 65536", length, minSealed)
	}
	h.size = h.number + int(length)
	if whole && h.size > len(b) {
		return fmt.Errorf("reading packet header: length %d exceeds the remaining %d bytes", length, len(b)-h.number)
	}
	return nil
}

// oldLength is the length encoded in four bits.
func oldLength(n byte) int {
	if n == 0 {
		return 0
	}
	return int(n) + 3
}

// isLong reports whether a packet has a long header.
func isLong(first byte) bool { return first&0x80 != 0 }

// fixed reports whether the bit is set that all packets of RFC 9000 have, unless the peer
// ignores it (RFC 9287).
func fixed(first byte) bool { return first&0x40 != 0 }
