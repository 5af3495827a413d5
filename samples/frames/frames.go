// Package frames makes packets byte by byte for tests of what captures rarely have: wrong checksums,
// fragments, tags, packets seen on both sides of an address translation, segments of recorders.
package frames

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// Sum is the sum of RFC 1071, not inverted.
func Sum(parts ...[]byte) uint16 {
	n := uint32(0)
	for i, b := range slices.Concat(parts...) {
		n += uint32(b) << (8 * (1 - i%2))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

// Checksum is the checksum of a segment or datagram of even length.
func Checksum(src, dst netip.Addr, proto byte, body []byte) uint16 {
	return ^Sum(src.AsSlice(), dst.AsSlice(), []byte{0, proto}, binary.BigEndian.AppendUint16(nil, uint16(len(body))), body)
}

// AppendIPv4 appends Ethernet and IPv4 headers for a payload of n bytes.
func AppendIPv4(to []byte, proto byte, src, dst uint32, id, frag uint16, n int) []byte {
	to = append(to, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0)
	to = binary.BigEndian.AppendUint16(to, uint16(20+n))
	to = binary.BigEndian.AppendUint16(to, id)
	to = binary.BigEndian.AppendUint16(to, frag)
	to = append(to, 64, proto, 0, 0)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(to, src), dst)
}

// AppendTCP appends a frame with a TCP segment.
func AppendTCP(to []byte, src, dst uint32, sport, dport uint16, seq, ack uint32, flags byte, id int, payload []byte) []byte {
	to = AppendIPv4(to, 6, src, dst, uint16(id%65535)+1, 0, 20+len(payload))
	to = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(to, sport), dport)
	to = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(to, seq), ack)
	to = append(to, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(to, payload...)
}

// AppendUDP appends a frame with a datagram.
func AppendUDP(to []byte, src, dst uint32, sport, dport uint16, payload []byte) []byte {
	return append(AppendIPv4(to, 17, src, dst, 0, 0, 8+len(payload)), datagram(sport, dport, payload)...)
}

// datagram is a UDP header without a checksum, and a payload.
func datagram[T string | []byte](sport, dport uint16, payload T) []byte {
	u := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
	u = append(binary.BigEndian.AppendUint16(u, uint16(8+len(payload))), 0, 0)
	return append(u, payload...)
}

// IPv4 is a packet between two hosts of 10.0.0.0/24.
func IPv4(proto byte, id, frag uint16, src, dst byte, body []byte) []byte {
	const ethernet, network = 14, 10 << 24
	return append(AppendIPv4(nil, proto, network|uint32(src), network|uint32(dst), id, frag, len(body))[ethernet:], body...)
}

// UDP is a datagram between two hosts of 10.0.0.0/24.
func UDP(id uint16, src, dst byte, sport, dport uint16, data []byte) []byte {
	return IPv4(17, id, 0, src, dst, datagram(sport, dport, data))
}

// ICMPError is an error of host from to host 1 of 10.0.0.0/24 about a packet.
func ICMPError(from, typ, code byte, quote []byte) []byte {
	b := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, quote...)
	binary.BigEndian.PutUint16(b[2:], ^Sum(b))
	return IPv4(1, 900, 0, from, 1, b)
}

// Ethernet is a frame with VLAN tags around a packet.
func Ethernet(kind uint16, tags []uint16, body []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	for _, t := range tags {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), t)
	}
	return append(binary.BigEndian.AppendUint16(b, kind), body...)
}

// Query is a DNS question for an address.
func Query(id uint16, name string) string {
	m := append(binary.BigEndian.AppendUint16(nil, id), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for label := range strings.SplitSeq(name, ".") {
		m = append(append(m, byte(len(label))), label...)
	}
	return string(append(m, 0, 0, 1, 0, 1))
}

// Reply is the answer to a DNS question: 192.0.2.last.
func Reply(query string, last byte) string {
	m := []byte(query)
	m[2], m[3], m[7] = 0x81, 0x80, 1
	return string(append(m, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last))
}
