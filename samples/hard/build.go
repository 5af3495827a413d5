package hard

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// The two ends of every conversation.
const (
	client4, server4 = "10.9.0.1", "10.9.0.2"
	client6, server6 = "fd00:9::1", "fd00:9::2"
	clientPort       = 40000
)

// Link types, https://www.ietf.org/archive/id/draft-ietf-opsawg-pcaplinktype-07.html.
const linkEthernet = 1

// TCP flags, RFC 9293 section 3.1.
const (
	fin = 1
	syn = 2
	rst = 4
	psh = 8
	ack = 16
)

// start is the time of every capture's first packet: 2026-01-01T00:00:00Z.
const start = 1_767_225_600_000_000_000

// step is the time between two packets.
const step = 1_000_000

// packet is a frame, with what the file says about it.
type packet struct {
	frame    []byte
	original int // length on the wire; 0 means as captured
}

func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, p := range parts {
		for i := 0; i+1 < len(p); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(p[i:]))
		}
		if len(p)%2 == 1 {
			sum += uint32(p[len(p)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func addr(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// ethernet puts a frame around a payload of the given EtherType.
func ethernet(etherType uint16, payload []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

// vlan is ethernet with one IEEE 802.1Q tag.
func vlan(id uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = binary.BigEndian.AppendUint16(b, 0x0800)
	return ethernet(0x8100, append(b, payload...))
}

// ip4 is an IPv4 packet; offset is in bytes.
func ip4(src, dst string, proto byte, id uint16, offset int, more bool, payload []byte) []byte {
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(h[4:], id)
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], field)
	copy(h[12:], addr(src))
	copy(h[16:], addr(dst))
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, payload...)
}

func ip6(src, dst string, next byte, payload []byte) []byte {
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	copy(h[8:], addr(src))
	copy(h[24:], addr(dst))
	return append(h, payload...)
}

// fragment6 is a fragment header (RFC 8200 section 4.5) before a part of a UDP datagram.
func fragment6(offset int, more bool, id uint32, part []byte) []byte {
	field := uint16(offset)
	if more {
		field |= 1
	}
	b := binary.BigEndian.AppendUint16([]byte{17, 0}, field)
	return append(binary.BigEndian.AppendUint32(b, id), part...)
}

// sum fills in the checksum at place of a transport segment between src and dst.
func sum(src, dst string, proto byte, segment []byte, place int) []byte {
	pseudo := slices.Concat(addr(src), addr(dst), []byte{0, proto}, binary.BigEndian.AppendUint16(nil, uint16(len(segment))))
	binary.BigEndian.PutUint16(segment[place:], checksum(pseudo, segment))
	return segment
}

func udp(src, dst string, sport, dport uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return sum(src, dst, 17, append(append(b, 0, 0), payload...), 6)
}

// conversation makes the packets of one TCP connection over IPv4 and Ethernet.
type conversation struct {
	packets    []packet
	seq        [2]uint32 // next sequence number of client and server
	serverPort uint16
	id         uint16
	wrap       func(ip []byte) []byte
}

func newConversation(port uint16) *conversation {
	return &conversation{seq: [2]uint32{1000, 5000}, serverPort: port, wrap: func(ip []byte) []byte { return ethernet(0x0800, ip) }}
}

// segment makes one segment from the client (0) or the server (1) without moving on.
func (c *conversation) segment(from int, flags byte, seq, ackNo uint32, data string) packet {
	src, dst, sport, dport := client4, server4, uint16(clientPort), c.serverPort
	if from == 1 {
		src, dst, sport, dport = dst, src, dport, sport
	}
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ackNo)
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	c.id++
	return packet{frame: c.wrap(ip4(src, dst, 6, c.id, 0, false, sum(src, dst, 6, append(b, data...), 16)))}
}

// next makes the next segment of a side and moves its sequence number on.
func (c *conversation) next(from int, flags byte, data string) packet {
	ackNo := c.seq[1-from]
	if flags&ack == 0 {
		ackNo = 0
	}
	p := c.segment(from, flags, c.seq[from], ackNo, data)
	c.seq[from] += uint32(len(data))
	if flags&(syn|fin) != 0 {
		c.seq[from]++
	}
	return p
}

func (c *conversation) add(p ...packet) { c.packets = append(c.packets, p...) }

func (c *conversation) open() {
	c.add(c.next(0, syn, ""), c.next(1, syn|ack, ""), c.next(0, ack, ""))
}

func (c *conversation) say(from int, data string) { c.add(c.next(from, psh|ack, data)) }

func (c *conversation) close() {
	c.add(c.next(0, fin|ack, ""), c.next(1, fin|ack, ""), c.next(0, ack, ""))
}
