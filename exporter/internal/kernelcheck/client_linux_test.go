package kernelcheck

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// bodySize is the length of the body of a case's request. The ambiguous bytes are in it.
const bodySize = 64

// client plays one case and makes every packet itself.
type client struct {
	*stage
	*peer
	server netip.AddrPort
	isn    uint32 // of the test
	head   []byte // of the request
	text   []byte // head and body as sent by an honest client
	id     uint32
	opts   []byte // options of the SYN
	copies copies
	decoy  bool // a SYN-ACK that never arrives comes before that of dial
}

// copies are the versions of each body byte in captured segments and fragments.
type copies [bodySize]string

// note adds the bytes of a segment or fragment from body offset at on.
func (v *copies) note(at int, data []byte) {
	for i, b := range data {
		if k := at + i; k >= 0 && k < bodySize && strings.IndexByte(v[k], b) < 0 {
			v[k] += string([]byte{b})
		}
	}
}

// how changes one segment.
type how struct {
	hidden  bool // not in the capture
	decoy   bool // in the capture only: the server never receives it
	badSum  bool // wrong TCP checksum
	badIP   bool // wrong IPv4 header checksum
	flags   byte // in addition to ACK and PSH
	noAck   bool
	seq     int64  // moves the sequence number
	ackMove int64  // moves the acknowledgement
	window  uint16 // 0 is 65,000
	zeroWin bool
	urgent  uint16
	options []byte
	ttl     byte
}

func (s *stage) newClient(no int, v6 bool) *client {
	from, to := netip.AddrPortFrom(client4, uint16(10000+no)), netip.AddrPortFrom(server4, serverPort)
	if v6 {
		from, to = netip.AddrPortFrom(client6, uint16(10000+no)), netip.AddrPortFrom(server6, serverPort)
	}
	c := &client{stage: s, peer: &peer{client: from, record: true}, server: to, isn: uint32(no)*7919 + 1_000_000, id: uint32(no) * 50}
	c.head = fmt.Appendf(nil, "POST /case%d HTTP/1.1\r\nHost: judge\r\nContent-Length: %d\r\n\r\n", no, bodySize)
	body := bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz0123456789"), 2)[:bodySize]
	c.text = append(append([]byte(nil), c.head...), body...)
	s.on[from] = c.peer
	return c
}

// at is the stream offset of a body offset.
func (c *client) at(n int) int { return len(c.head) + n }

// other is a run of one letter that replaces honest text.
func other(letter string, n int) []byte { return []byte(strings.Repeat(letter, n)) }

// emit captures a packet and passes it to the kernel, or does only one of these.
func (c *client) emit(packet []byte, h how) {
	if !h.hidden && c.record {
		c.out.write(packet)
	}
	if !h.decoy {
		c.inject(packet)
	}
}

// segment sends data at offset off of the stream.
func (c *client) segment(off int, data []byte, h how) {
	flags := h.flags | ack_
	if h.noAck {
		flags &^= ack_
	}
	if !h.hidden && c.record {
		c.copies.note(int(int64(off)+h.seq)-len(c.head), data)
	}
	window := h.window
	if window == 0 && !h.zeroWin {
		window = 65000
	}
	seq := uint32(int64(c.isn) + 1 + int64(off) + h.seq)
	ack := uint32(int64(c.peer.isn) + 1 + c.peer.said + h.ackMove)
	if h.noAck {
		ack = 0
	}
	l4 := tcpSegment(c.client, c.server, seq, ack, flags, window, h.urgent, h.options, data)
	if h.badSum {
		bare := ^sum(pseudo(c.client.Addr(), c.server.Addr(), protoTCP, len(l4))) // for a network adapter to complete
		for range 2 {
			if l4[16] ^= 0x55; binary.BigEndian.Uint16(l4[16:]) != bare && (l4[16] != 0 || l4[17] != 0) {
				break
			}
			l4[16] ^= 0x0f
		}
	}
	c.id++
	ttl := byte(64)
	if h.ttl != 0 {
		ttl = h.ttl
	}
	packet := ipPacket(c.client.Addr(), c.server.Addr(), protoTCP, uint16(c.id), ttl, l4)
	if h.badIP && c.client.Addr().Is4() {
		packet[10] ^= 0x55
	}
	c.emit(packet, h)
}

// connect is the handshake.
func (c *client) connect(hidden ...bool) {
	h := how{hidden: len(hidden) > 0}
	if h.hidden {
		c.record = false
	}
	c.syn(h)
	c.segment(0, nil, h)
	c.accept()
	c.record = true
}

func (c *client) syn(h how) {
	h.flags, h.noAck, h.options = syn|h.flags, true, c.opts
	h.seq--
	c.segment(0, nil, h)
}

// send sends the honest bytes [from, to) of the body; to = -1 is its end.
func (c *client) send(from, to int, h how) {
	if to < 0 {
		to = bodySize
	}
	c.segment(c.at(from), c.text[c.at(from):c.at(to)], h)
}

// sendHead sends the request's head.
func (c *client) sendHead() { c.segment(0, c.head, how{}) }

// forge sends other bytes in place of [from, to) of the body.
func (c *client) forge(letter string, from, to int, h how) {
	c.segment(c.at(from), other(letter, to-from), h)
}

// finish ends the stream after the body.
func (c *client) finish() {
	c.segment(len(c.text), nil, how{flags: fin})
}

// delivered is the body bytes that the server's sockets delivered.
func (c *client) delivered() string { return bodies(c.got) }

// bodies extracts the bodies of the requests in a stream, like a server.
func bodies(stream []byte) (all string) {
	for {
		_, rest, ok := bytes.Cut(stream, []byte("\r\n\r\n"))
		if !ok {
			return all
		}
		n := min(bodySize, len(rest))
		all += string(rest[:n])
		stream = rest[n:]
	}
}
