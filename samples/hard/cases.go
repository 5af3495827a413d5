package hard

import (
	"bytes"
	"encoding/binary"
	"strings"
)

func outOfOrder() []packet {
	c := newConversation(8080)
	c.open()
	c.say(0, request)
	a, b, d := c.next(1, ack, head+bodyA), c.next(1, ack, bodyB), c.next(1, psh|ack, bodyC)
	c.add(a, d, b)
	c.close()
	return c.packets
}

func retransmission() []packet {
	c := newConversation(8080)
	c.open()
	seq := c.seq[0]
	c.say(0, request)
	c.add(c.segment(0, psh|ack, seq, c.seq[1], request)) // again, nobody had acknowledged it
	c.say(1, response)
	c.close()
	return c.packets
}

// overlapConflict sends a piece of the body, and then other bytes for the same place together with the rest.
func overlapConflict() []packet {
	c := newConversation(8080)
	c.open()
	c.say(0, request)
	c.say(1, head+bodyA)
	at := c.seq[1]
	c.say(1, bodyB)
	c.add(c.segment(1, psh|ack, at, c.seq[0], strings.ToUpper(bodyB)+bodyC))
	c.seq[1] += uint32(len(bodyC))
	c.close()
	return c.packets
}

func wrapAround() []packet {
	c := newConversation(8080)
	c.seq = [2]uint32{1<<32 - 20, 1<<32 - 80}
	c.open()
	c.say(0, request)
	c.say(1, head+bodyA)
	c.say(1, bodyB+bodyC)
	c.close()
	return c.packets
}

// midStream begins inside a response; a whole exchange follows on the same connection.
func midStream() []packet {
	c := newConversation(8080)
	c.seq = [2]uint32{777_000, 888_000}
	c.say(1, bodyB+bodyC)
	c.say(0, request)
	c.say(1, response)
	c.close()
	return c.packets
}

func gap() []packet {
	c := newConversation(8080)
	c.open()
	c.say(0, request)
	c.say(1, head+bodyA)
	c.next(1, ack, bodyB) // never captured, though acknowledged
	c.say(1, bodyC)
	c.add(c.next(0, ack, ""))
	c.say(0, request)
	c.say(1, response)
	c.close()
	return c.packets
}

// snapLength keeps the first bytes of each frame: 130 reach into the response's body, 100 end
// inside the headers of both messages.
func snapLength(keep int) []packet {
	list := exchange().packets
	for i, p := range list {
		if len(p.frame) > keep {
			list[i] = packet{p.frame[:keep], len(p.frame)}
		}
	}
	return list
}

func oneSided() []packet {
	var out []packet
	for _, p := range exchange().packets {
		if bytes.Equal(p.frame[26:30], addr(server4)) { // the source address
			out = append(out, p)
		}
	}
	return out
}

func reset() []packet {
	c := newConversation(8080)
	c.open()
	c.say(0, request)
	c.add(c.next(1, ack, ""), c.next(1, rst|ack, ""))
	return c.packets
}

// dnsPair is a question for TXT records and an answer of about 700 bytes.
func dnsPair() (question, answer []byte) {
	name := "\x05large\x07example\x00"
	tail := "\x00\x10\x00\x01"
	question = []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + tail)
	answer = []byte("\x12\x34\x85\x80\x00\x01\x00\x03\x00\x00\x00\x00" + name + tail)
	for _, letter := range []string{"a", "b", "c"} {
		answer = append(answer, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\xc9\xc8"+strings.Repeat(letter, 200)...)
	}
	return question, answer
}

// fragments4 sends the answer in three pieces, the last one first, or without the middle one.
func fragments4(whole bool) []packet {
	q, a := dnsPair()
	datagram := udp(server4, client4, 53, clientPort, a)
	piece := func(from, to int, more bool) packet {
		return packet{frame: ethernet(0x0800, ip4(server4, client4, 17, 99, from, more, datagram[from:to]))}
	}
	list := []packet{{frame: ethernet(0x0800, ip4(client4, server4, 17, 98, 0, false, udp(client4, server4, clientPort, 53, q)))},
		piece(480, len(datagram), false), piece(0, 240, true)}
	if whole {
		list = append(list, piece(240, 480, true))
	}
	return list
}

func fragments6() []packet {
	q, a := dnsPair()
	datagram := udp(server6, client6, 53, clientPort, a)
	piece := func(from, to int, more bool) packet {
		return packet{frame: ethernet(0x86dd, ip6(server6, client6, 44, fragment6(from, more, 99, datagram[from:to])))}
	}
	return []packet{{frame: ethernet(0x86dd, ip6(client6, server6, 17, udp(client6, server6, clientPort, 53, q)))},
		piece(480, len(datagram), false), piece(0, 240, true), piece(240, 480, true)}
}

// vlanVXLAN carries the exchange in VXLAN (RFC 7348), network 42, between two hosts of VLAN 100.
func vlanVXLAN() []packet {
	c := newConversation(8080)
	c.wrap = func(inner []byte) []byte {
		head := []byte{8, 0, 0, 0, 0, 0, 42, 0}
		return vlan(100, ip4("192.0.2.1", "192.0.2.2", 17, 7, 0, false, udp("192.0.2.1", "192.0.2.2", 50000, 4789, append(head, ethernet(0x0800, inner)...))))
	}
	c.open()
	c.say(0, request)
	c.say(1, response)
	c.close()
	return c.packets
}

// truncated ends in the middle of its last packet.
func truncated() []byte {
	b := pcap(exchange().packets)
	return b[:len(b)-30]
}

// corruptBlock has one packet block whose two lengths are wrong; what follows is whole.
func corruptBlock() []byte {
	w := newNG(binary.LittleEndian)
	w.iface("eth0")
	list := exchange().packets
	w.packets(0, list)
	from := len(w.b)
	w.packet(0, list[len(list)-1])
	binary.LittleEndian.PutUint32(w.b[from+4:], 0x7ffffff0)
	binary.LittleEndian.PutUint32(w.b[len(w.b)-4:], 3)
	other := newConversation(8081)
	other.open()
	other.say(0, request)
	other.say(1, response)
	other.close()
	w.packets(0, other.packets)
	return w.b
}

// sections has two sections in different byte orders; the second one's interface 0 is another one.
func sections() []byte {
	list := exchange().packets
	one := newNG(binary.LittleEndian)
	one.iface("first")
	one.packets(0, list[:4])
	two := &ng{order: binary.BigEndian, at: one.at}
	two.section()
	two.iface("second")
	two.packets(0, list[4:])
	return append(one.b, two.b...)
}

func bigEndian() []byte {
	w := newNG(binary.BigEndian)
	w.iface("eth0")
	w.packets(0, exchange().packets)
	return w.b
}

func simplePackets() []byte {
	w := newNG(binary.LittleEndian)
	w.iface("eth0")
	for _, p := range exchange().packets {
		w.simple(p)
	}
	return w.b
}

func names() []byte {
	w := newNG(binary.LittleEndian)
	w.iface("eth0")
	w.names(server4, "orders.example")
	w.packets(0, exchange().packets)
	return w.b
}

func secrets() []byte {
	w := newNG(binary.LittleEndian)
	w.iface("eth0")
	w.secrets("CLIENT_RANDOM " + strings.Repeat("00", 32) + " " + strings.Repeat("11", 48) + "\n")
	w.packets(0, exchange().packets)
	return w.b
}

// drops says three packets were lost before the response, and 17 in all by its end.
func drops() []byte {
	w := newNG(binary.LittleEndian)
	w.iface("eth0")
	for i, p := range exchange().packets {
		if i == 4 {
			w.packet(0, p, w.option(4, w.AppendUint64(nil, 3))) // epb_dropcount
			continue
		}
		w.packet(0, p)
	}
	w.statistics(0, 25, 17)
	return w.b
}

func zeroLength() []byte {
	w := newNG(binary.LittleEndian)
	w.iface("eth0")
	w.packet(0, packet{})
	w.packet(0, packet{original: 1500})
	w.packets(0, exchange().packets)
	w.packet(0, packet{frame: []byte{2}})
	return w.b
}

func empty() []byte {
	w := newNG(binary.LittleEndian)
	w.iface("eth0")
	return w.b
}
