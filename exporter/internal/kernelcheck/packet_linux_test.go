package kernelcheck

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

const (
	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
)

// TCP flags, RFC 9293 section 3.1.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack_
	urg
)

// sum is the Internet checksum of RFC 1071.
func sum(parts ...[]byte) uint16 {
	var n uint32
	for _, p := range parts {
		for i := 0; i < len(p); i += 2 {
			n += uint32(p[i]) << 8
			if i+1 < len(p) {
				n += uint32(p[i+1])
			}
		}
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return ^uint16(n)
}

func pseudo(src, dst netip.Addr, proto byte, size int) []byte {
	b := append(src.AsSlice(), dst.AsSlice()...)
	if src.Is4() {
		return binary.BigEndian.AppendUint16(append(b, 0, proto), uint16(size))
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(size)), 0, 0, 0, proto)
}

// tcpSegment is a segment with a correct checksum.
func tcpSegment(src, dst netip.AddrPort, seq, ack uint32, flags byte, window, urgent uint16, options, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, byte(5+len(options)/4)<<4, flags)
	b = binary.BigEndian.AppendUint16(b, window)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, urgent)
	b = append(append(b, options...), payload...)
	binary.BigEndian.PutUint16(b[16:], sum(pseudo(src.Addr(), dst.Addr(), protoTCP, len(b)), b))
	return b
}

func udpDatagram(src, dst netip.AddrPort, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	n := sum(pseudo(src.Addr(), dst.Addr(), protoUDP, len(b)), b)
	if n == 0 {
		n = 0xffff
	}
	binary.BigEndian.PutUint16(b[6:], n)
	return b
}

// ipPacket prefixes a transport segment with an IP header.
func ipPacket(src, dst netip.Addr, proto byte, id uint16, ttl byte, l4 []byte) []byte {
	if src.Is4() {
		return ip4(src, dst, proto, id, 0x4000, ttl, l4)
	}
	return ip6(src, dst, proto, ttl, l4)
}

func ip4(src, dst netip.Addr, proto byte, id, frag uint16, ttl byte, l4 []byte) []byte {
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(l4)))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, frag)
	b = append(b, ttl, proto, 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], sum(b))
	return append(b, l4...)
}

func ip6(src, dst netip.Addr, proto, ttl byte, l4 []byte) []byte {
	b := []byte{0x60, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(l4)))
	b = append(b, proto, ttl)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	return append(b, l4...)
}

// fragment is the piece [from, to) of a datagram's payload.
func fragment(src, dst netip.Addr, proto byte, id uint32, from int, more bool, piece []byte) []byte {
	if src.Is4() {
		off := uint16(from / 8)
		if more {
			off |= 0x2000
		}
		return ip4(src, dst, proto, uint16(id), off, 64, piece)
	}
	off := uint16(from)
	if more {
		off |= 1
	}
	h := binary.BigEndian.AppendUint16([]byte{proto, 0}, off)
	h = binary.BigEndian.AppendUint32(h, id)
	return ip6(src, dst, protoFragment, 64, append(h, piece...))
}

// capture is a pcap file of raw IP packets, 10 µs apart by default.
type capture struct {
	buf    bytes.Buffer
	now    int64 // µs
	copies int   // how often each packet is captured
}

func newCapture() *capture {
	c := &capture{now: 1_767_225_600_000_000, copies: 1}
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 262144, 101} {
		c.buf.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	return c
}

func (c *capture) write(packet []byte) {
	for range c.copies {
		c.record(packet)
	}
}

func (c *capture) record(packet []byte) {
	c.now += 10
	for _, v := range []uint32{uint32(c.now / 1e6), uint32(c.now % 1e6), uint32(len(packet)), uint32(len(packet))} {
		c.buf.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	c.buf.Write(packet)
}
