package frames

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
)

// UDP writes a datagram.
func (t *Views) UDP(src, dst, payload string) {
	a, b := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	t.IP(a.Addr(), b.Addr(), 17, datagram(a.Port(), b.Port(), payload))
}

// Views builds a capture of one HTTP exchange on a node: each packet as seen on the
// client's side and, a moment later or earlier, behind the translation.
type Views struct {
	Buf  bytes.Buffer
	Time uint32 // µs
	ID   uint16
	VLAN uint16                                                    // VLAN of frames; 0: packets are raw IP
	TTL  byte                                                      // of packets; 0: 64
	Sum  func(src, dst netip.Addr, proto byte, body []byte) uint16 // checksum of TCP or UDP; nil: none
}

// NewViews begins a capture of raw IP.
func NewViews() *Views { return NewViewsIn(0) }

// NewViewsIn begins a capture in a VLAN; 0 means raw IP.
func NewViewsIn(vlan uint16) *Views {
	t := &Views{VLAN: vlan}
	link := uint32(101)
	if vlan != 0 {
		link = 1
	}
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 262144, link} {
		t.Buf.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	return t
}

// TCP writes one TCP packet; stamp is its time stamp option, 0 for none.
func (t *Views) TCP(src, dst string, flags byte, seq, ack, stamp uint32, payload string) {
	a, b := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	var opts []byte
	if stamp != 0 {
		opts = append([]byte{1, 1, 8, 10}, binary.BigEndian.AppendUint32(nil, stamp)...)
		opts = append(opts, 0, 0, 0, 0)
	}
	tcp := binary.BigEndian.AppendUint16(nil, a.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, b.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, seq)
	tcp = binary.BigEndian.AppendUint32(tcp, ack)
	tcp = append(tcp, byte(5+len(opts)/4)<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	t.IP(a.Addr(), b.Addr(), 6, append(append(tcp, opts...), payload...))
}

// IP writes an IPv4 packet.
func (t *Views) IP(src, dst netip.Addr, proto byte, body []byte) {
	t.ID++
	if t.Sum != nil {
		binary.BigEndian.PutUint16(body[map[byte]int{6: 16, 17: 6}[proto]:], t.Sum(src, dst, proto, body))
	}
	ip := []byte{0x45, 0}
	ip = binary.BigEndian.AppendUint16(ip, uint16(20+len(body)))
	ip = binary.BigEndian.AppendUint16(ip, t.ID)
	ip = append(ip, 0x40, 0, cmp.Or(t.TTL, 64), proto, 0, 0)
	ip = append(append(ip, src.AsSlice()...), dst.AsSlice()...)
	ip = append(ip, body...)
	if t.VLAN != 0 {
		ip = Ethernet(0x800, []uint16{t.VLAN}, ip)
	}
	t.Time += 10
	for _, v := range []uint32{1_700_000_000, t.Time, uint32(len(ip)), uint32(len(ip))} {
		t.Buf.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	t.Buf.Write(ip)
}

// Exchange writes one HTTP exchange as two views show it.
func (t *Views) Exchange(client, dialled, seenClient, seenServer string, isn, stamp uint32) {
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	up := func(flags byte, seq, ack uint32, data string) {
		t.TCP(client, dialled, flags, seq, ack, stamp, data)
		t.TCP(seenClient, seenServer, flags, seq, ack, stamp, data)
	}
	down := func(flags byte, seq, ack uint32, data string) { // the translation is reversed on the way back
		t.TCP(seenServer, seenClient, flags, seq, ack, stamp, data)
		t.TCP(dialled, client, flags, seq, ack, stamp, data)
	}
	n, m := uint32(len(ask)), uint32(len(answer))
	up(0x02, isn, 0, "")
	down(0x12, 500, isn+1, "")
	up(0x10, isn+1, 501, "")
	up(0x18, isn+1, 501, ask)
	down(0x18, 501, isn+1+n, answer)
	up(0x11, isn+1+n, 501+m, "")
	down(0x11, 501+m, isn+2+n, "")
}
