package keys

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// packetOf makes a TCP packet, over IPv6 with an extension header or over IPv4.
func packetOf(six, fromClient bool, client uint16, seq, ack uint32, data []byte) []byte {
	tcp := make([]byte, 20, 20+len(data))
	ports := [2]uint16{client, 443}
	if !fromClient {
		ports[0], ports[1] = ports[1], ports[0]
	}
	be := binary.BigEndian
	be.PutUint16(tcp, ports[0])
	be.PutUint16(tcp[2:], ports[1])
	be.PutUint32(tcp[4:], seq)
	be.PutUint32(tcp[8:], ack)
	tcp[12] = 5 << 4
	tcp = append(tcp, data...)
	a, b := byte(1), byte(2)
	if !fromClient {
		a, b = b, a
	}
	if six {
		ip := make([]byte, 48)
		ip[0], ip[6], ip[40] = 0x60, 60, 6
		be.PutUint16(ip[4:], uint16(8+len(tcp)))
		ip[23], ip[39] = a, b
		return append(ip, tcp...)
	}
	ip := make([]byte, 20)
	ip[0], ip[9], ip[15], ip[19] = 0x45, 6, a, b
	be.PutUint16(ip[2:], uint16(20+len(tcp)))
	return append(append(ip, tcp...), 0, 0, 0) // Ethernet padding
}

func TestConversationsReassembleStreams(t *testing.T) {
	k := realTalk(t, tls.VersionTLS13, 0)
	for _, v := range []struct {
		name              string
		six, mixed, twice bool
	}{{"in order", false, false, false}, {"IPv6", true, false, false}, {"out of order", false, true, false}, {"duplicated", true, true, true}} {
		t.Run(v.name, func(t *testing.T) {
			c := NewConversations()
			const start = 0xffffff00 // sequence numbers wrap around
			var packets [][]byte
			for i, s := range [][]byte{k.client, k.server} {
				for at := 0; at < len(s); at += 90 {
					p := packetOf(v.six, i == 0, 4000, start+uint32(at), start, s[at:min(at+90, len(s))])
					packets = append(packets, p)
					if v.twice {
						packets = append(packets, p)
					}
				}
			}
			if v.mixed { // in groups of six, except the first packet, which identifies the connection
				for i := 1; i < len(packets); i += 6 {
					group := packets[i:min(i+6, len(packets))]
					rand.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
				}
			}
			for _, p := range packets {
				c.Packet(p, 1, 0)
			}
			client, server, ok := c.Records([32]byte(k.random))
			if !ok || !bytes.Equal(client, k.client) || !bytes.Equal(server, k.server) {
				t.Errorf("%v: %d of %d, %d of %d bytes", ok, len(client), len(k.client), len(server), len(k.server))
			}
		})
	}
}

func TestConversationsStayWithinLimits(t *testing.T) {
	c := NewConversations()
	hello := append([]byte{22, 3, 1, 0, 42, 1, 0, 0, 38, 3, 3}, make([]byte, 36)...)
	big := make([]byte, 60000)
	for i := range 4 * maxFlows {
		binary.BigEndian.PutUint32(hello[11:], uint32(i))
		c.Packet(packetOf(false, true, uint16(i%50000), 1, 1, hello), 1, 0)
		c.Packet(packetOf(false, false, uint16(i%50000), 1, 1, big), 1, 0)
		c.Packet(packetOf(false, false, uint16(i%50000), 70000, 1, big), 1, 0)
	}
	sum := 0
	for _, f := range c.flows {
		for _, s := range f.sides {
			sum += len(s.data)
			for _, w := range s.waiting {
				sum += len(w.data)
			}
		}
	}
	if len(c.flows) > maxFlows || c.kept > maxKept || sum != c.kept || len(c.byRandom) != len(c.flows) || len(c.order) > 2*maxFlows+1 {
		t.Errorf("%d flows, %d randoms, %d in order, %d bytes kept, %d counted", len(c.flows), len(c.byRandom), len(c.order), sum, c.kept)
	}
}

func FuzzPackets(f *testing.F) {
	hello := append([]byte{22, 3, 1, 0, 42, 1, 0, 0, 38, 3, 3}, make([]byte, 36)...)
	f.Add(packetOf(false, true, 1, 1, 1, hello), packetOf(false, false, 1, 1, 1, hello))
	f.Add(packetOf(true, true, 1, 1, 1, hello), packetOf(true, true, 1, 40, 1, hello))
	f.Add(initial(1200), initial(1300))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		c := NewConversations()
		for range 2 {
			c.Packet(a, 1, 0)
			c.Packet(b, 1, 0)
		}
		for r, fl := range c.byRandom {
			if client, _, ok := c.Records(r); !ok || len(client) > maxSide || fl.gone {
				t.Error("a listed connection is gone or too large")
			}
		}
	})
}

// initial makes a datagram that begins like a QUIC Initial packet.
func initial(size int) []byte {
	b := make([]byte, 28+size)
	b[0], b[9], b[15], b[19] = 0x45, udp, 1, 2
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[28:], []byte{0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x00})
	return b
}

func TestQUICStaysWithinLimits(t *testing.T) {
	c := NewConversations()
	p := initial(1200)
	for i := range 3 * maxQUIC {
		binary.BigEndian.PutUint16(p[20:], uint16(i))
		c.Packet(p, 1, 0)
	}
	if len(c.quic) != maxQUIC || len(c.quicOrder) != maxQUIC || len(c.quicRandom) != 0 {
		t.Errorf("%d connections, %d in order, %d randoms", len(c.quic), len(c.quicOrder), len(c.quicRandom))
	}
	var f quicFlow
	for i := range 200 {
		f.frames(0, append([]byte{6, 0x40 + byte(i>>8), byte(i + 1), 0x44, 0}, make([]byte, 1024)...))
	}
	if n := f.crypto[0].held; n > maxCrypto || len(f.crypto[0].data) != 0 {
		t.Errorf("%d bytes are waiting", n)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{6, 0, 2, 1, 0, 0, 1, 2, 0, 0, 1, 0, 0, 0}, []byte{6, 1, 3, 2, 2, 2})
	f.Add([]byte{3, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte{6, 0xff})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var q quicFlow
		for range 3 {
			q.frames(0, a)
			q.frames(1, a)
			q.frames(1, b)
		}
		q.clientRandom()
		for _, p := range q.crypto {
			if len(p.data) > maxCrypto || p.held > maxCrypto {
				t.Error("too much is kept")
			}
		}
	})
}

func BenchmarkPacketWithoutTLS(b *testing.B) {
	c := NewConversations()
	p := packetOf(false, true, 1, 1, 1, make([]byte, 1000))
	for b.Loop() {
		c.Packet(p, 1, 0)
	}
}
