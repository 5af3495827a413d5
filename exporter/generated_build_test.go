package exporter

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/samples/frames"
)

// piece is a packet of a conversation on its way into a generated capture.
type piece struct {
	no    int   // of the packet in its conversation; -1: forged
	at    int64 // ns
	order int64 // place in the capture, as a time
	iface int

	proto, ttl byte
	id         uint16
	src, dst   netip.AddrPort

	flags    byte // and the following: of TCP
	seq, ack uint32
	window   uint16
	options  string

	payload string
	bad     bool   // its checksum is wrong
	vlan    uint16 // 0: none
	tunnel  int    // see enclose; 0: none
	vni     byte   // of VXLAN
	frag    int    // payload bytes of a fragment; 0: whole. Negative: the last one comes first
	forged  bool   // the second of several fragments comes with other bytes, too
	cut     int    // bytes after the IP header that were captured; 0: all
	raw     []byte // IP payload of another protocol
}

// conversation is one connection of a sample, or the datagrams of two ends.
type conversation struct {
	name   string
	pieces []piece
}

func (c *conversation) tcp() bool { return len(c.pieces) > 0 && c.pieces[0].proto == 6 }

// generatedFrom are the samples whose conversations generated captures have.
var generatedFrom = []string{"http1.pcapng", "http2.pcap", "redis.pcap", "postgresql.pcapng", "dns.pcap", "sip.pcapng", "grpc.pcapng", "mysql.pcapng", "memcached.pcapng",
	"mongodb.pcapng", "amqp.pcapng", "kafka.pcapng", "nats.pcapng", "mqtt.pcapng", "ldap.pcapng", "smtp.pcapng", "snmp.pcapng", "ntp.pcapng", "radius.pcapng", "thrift.pcapng",
	"stomp.pcapng", "imap.pcapng", "cassandra.pcapng", "diameter.pcapng", "tls.pcapng", "modbus.pcapng", "tds.pcapng", "stun.pcapng"}

// conversations are those of the samples that are captured from their beginning, in whole packets.
var conversations = sync.OnceValues(func() (list []*conversation, err error) {
	for _, name := range generatedFrom {
		data, err := os.ReadFile(filepath.Join("../samples", name))
		if err != nil {
			return nil, err
		}
		found, of := []*conversation{}, map[[2]netip.AddrPort]*conversation{}
		unfit := map[*conversation]bool{}
		for _, p := range ethernet(data) {
			x, ok := pieceOf(p)
			if !ok {
				continue
			}
			key := [2]netip.AddrPort{x.src, x.dst}
			if x.dst.Compare(x.src) < 0 {
				key = [2]netip.AddrPort{x.dst, x.src}
			}
			c := of[key]
			if c == nil {
				c = &conversation{name: fmt.Sprint(name, " ", len(found))}
				of[key], found = c, append(found, c)
			}
			first := len(c.pieces) == 0
			if syn := x.proto == 6 && x.flags&0x12 == 2; syn != first && x.proto == 6 || p.size != len(p.data) || !first && x.proto != c.pieces[0].proto || x.dst.Addr().IsMulticast() {
				unfit[c] = true
			}
			x.no = len(c.pieces)
			c.pieces = append(c.pieces, x)
		}
		for _, c := range found {
			if !unfit[c] && len(c.pieces) >= 2 && len(c.pieces) <= 150 {
				list = append(list, c)
			}
		}
	}
	return list, nil
})

// pieceOf reads a frame.
func pieceOf(p aPacket) (x piece, ok bool) {
	ip, be := ipAt(p.data), binary.BigEndian
	if ip == nil {
		return x, false
	}
	x = piece{at: p.at, proto: protoOf(ip), ttl: ip[8]}
	size, head := int(be.Uint16(ip[2:])), int(ip[0]&15)*4
	src, _ := netip.AddrFromSlice(ip[12:16])
	dst, _ := netip.AddrFromSlice(ip[16:20])
	if x.id = be.Uint16(ip[4:]); ip[0]>>4 == 6 {
		size, head, x.ttl, x.id = int(be.Uint16(ip[4:]))+40, 40, ip[7], 0
		src, _ = netip.AddrFromSlice(ip[8:24])
		dst, _ = netip.AddrFromSlice(ip[24:40])
	}
	if size > len(ip) || x.proto != 6 && x.proto != 17 || size < head+8 {
		return x, false
	}
	b := ip[head:size]
	x.src, x.dst = netip.AddrPortFrom(src, be.Uint16(b)), netip.AddrPortFrom(dst, be.Uint16(b[2:]))
	if x.proto == 17 {
		x.payload = string(b[8:])
		return x, true
	}
	n := int(b[12]>>4) * 4
	x.seq, x.ack, x.flags, x.window, x.options, x.payload = be.Uint32(b[4:]), be.Uint32(b[8:]), b[13], be.Uint16(b[14:]), string(b[20:n]), string(b[n:])
	return x, true
}

// generatedStart is the time at which generated captures begin.
const generatedStart = int64(1_750_000_000e9)

// placed is a copy of a conversation as the one with the number k of a capture.
func (c *conversation) placed(k int, six bool) *conversation {
	to := &conversation{c.name, slices.Clone(c.pieces)}
	client, server := netip.AddrFrom4([4]byte{10, 0, byte(k), 1}), netip.AddrFrom4([4]byte{10, 0, byte(k), 2})
	if six {
		client, server = netip.MustParseAddr(fmt.Sprintf("fd00::%x:1", k+1)), netip.MustParseAddr(fmt.Sprintf("fd00::%x:2", k+1))
	}
	start, from := c.pieces[0].at, c.pieces[0].src
	for i := range to.pieces {
		p := &to.pieces[i]
		ends := [2]netip.Addr{server, client}
		if p.src == from {
			ends = [2]netip.Addr{client, server}
		}
		if six {
			p.id = 0
		}
		p.src, p.dst = netip.AddrPortFrom(ends[0], p.src.Port()), netip.AddrPortFrom(ends[1], p.dst.Port())
		p.at += generatedStart - start + int64(k)*3_000_000
		p.order = p.at
	}
	return to
}

// frames are the packets of a piece on the wire.
func (p *piece) frames() (list [][]byte) {
	be := binary.BigEndian
	body := p.raw
	switch {
	case body != nil:
	case p.proto == 6:
		body = be.AppendUint16(be.AppendUint16(nil, p.src.Port()), p.dst.Port())
		body = be.AppendUint32(be.AppendUint32(body, p.seq), p.ack)
		body = be.AppendUint16(append(body, byte(5+len(p.options)/4)<<4, p.flags), p.window)
		body = append(append(append(body, 0, 0, 0, 0), p.options...), p.payload...)
		be.PutUint16(body[16:], p.sum(body))
	default:
		body = be.AppendUint16(be.AppendUint16(nil, p.src.Port()), p.dst.Port())
		body = append(append(be.AppendUint16(body, uint16(8+len(p.payload))), 0, 0), p.payload...)
		be.PutUint16(body[6:], cmp.Or(p.sum(body), 0xffff))
	}
	size := (max(p.frag, -p.frag) + 7) &^ 7
	if size == 0 || size >= len(body) {
		return [][]byte{p.link(p.ip(body, 0, false, false))}
	}
	for off := 0; off < len(body); off += size {
		end := min(off+size, len(body))
		if p.forged && off == size && end < len(body) { // the last one would end the datagram
			list = append(list, p.link(p.ip([]byte(otherText(string(body[off:end]))), off, true, end < len(body))))
		}
		list = append(list, p.link(p.ip(body[off:end], off, true, end < len(body))))
	}
	if p.frag < 0 {
		slices.Reverse(list)
	}
	return list
}

// sum is the checksum of a segment or datagram.
func (p *piece) sum(body []byte) uint16 {
	s := ^frames.Sum(p.src.Addr().AsSlice(), p.dst.Addr().AsSlice(), []byte{0, p.proto}, binary.BigEndian.AppendUint16(nil, uint16(len(body))), body)
	if p.bad {
		s += 0x1234
	}
	return s
}

// ip is an IP packet with a part of the body.
func (p *piece) ip(body []byte, off int, fragment, more bool) []byte {
	be := binary.BigEndian
	place := uint16(off)
	if more {
		place |= 1
	}
	if p.src.Addr().Is6() {
		proto, head := p.proto, []byte(nil)
		if fragment {
			head = append(be.AppendUint16([]byte{proto, 0}, place), byte(p.no>>8), byte(p.no), byte(p.order>>8), byte(p.order))
			proto = 44
		}
		b := append(be.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(head)+len(body))), proto, p.ttl)
		return slices.Concat(b, p.src.Addr().AsSlice(), p.dst.Addr().AsSlice(), head, body)
	}
	place = place>>3 | place&1<<13
	id := p.id
	if fragment && id == 0 {
		id = uint16(p.order>>4) ^ uint16(p.no) | 1
	}
	b := be.AppendUint16([]byte{0x45, 0}, uint16(20+len(body)))
	b = append(be.AppendUint16(be.AppendUint16(b, id), place), p.ttl, p.proto, 0, 0)
	b = slices.Concat(b, p.src.Addr().AsSlice(), p.dst.Addr().AsSlice())
	be.PutUint16(b[10:], ^frames.Sum(b))
	return append(b, body...)
}

// link puts an IP packet into a frame.
func (p *piece) link(ip []byte) []byte {
	kind := uint16(0x0800)
	if p.src.Addr().Is6() {
		kind = 0x86dd
	}
	var tags []uint16
	if p.vlan != 0 {
		tags = []uint16{p.vlan}
	}
	if p.tunnel == 0 {
		return frames.Ethernet(kind, tags, ip)
	}
	return frames.Ethernet(0x0800, tags, enclose(p.tunnel, kind, ip, p))
}

// The tunnels.
const (
	tunnelVXLAN = 1 + iota
	tunnelGRE
	tunnelIPIP
	tunnelGTP
	tunnels = iota
)

// enclose puts an IP packet into a tunnel between two hosts.
func enclose(tunnel int, kind uint16, ip []byte, p *piece) []byte {
	be, outer := binary.BigEndian, piece{ttl: 64, id: p.id + 1, proto: 17, src: netip.MustParseAddrPort("192.168.9.1:2152"), dst: netip.MustParseAddrPort("192.168.9.2:2152")}
	if !strings.HasSuffix(p.src.Addr().String(), "1") { // of the servers
		outer.src, outer.dst = outer.dst, outer.src
	}
	udp := func(port uint16, head ...byte) []byte {
		b := be.AppendUint16(be.AppendUint16(nil, port), port)
		return slices.Concat(be.AppendUint16(b, uint16(8+len(head)+len(ip))), []byte{0, 0}, head, ip)
	}
	switch tunnel {
	case tunnelVXLAN:
		ip = frames.Ethernet(kind, nil, ip)
		return outer.ip(udp(4789, 8, 0, 0, 0, 0, 0, 7+p.vni, 0), 0, false, false)
	case tunnelGRE:
		outer.proto = 47
		return outer.ip(append(be.AppendUint16([]byte{0, 0}, kind), ip...), 0, false, false)
	case tunnelIPIP:
		if outer.proto = 4; kind == 0x86dd {
			outer.proto = 41
		}
		return outer.ip(ip, 0, false, false)
	}
	return outer.ip(udp(2152, 0x30, 0xff, byte(len(ip)>>8), byte(len(ip)), 0, 0, 0, 5), 0, false, false)
}

// composed is a capture with 4 interfaces of the pieces, and the piece of each packet.
func composed(list []*conversation) (data []byte, of []sourced) {
	var all []sourced
	for k, c := range list {
		for i := range c.pieces {
			all = append(all, sourced{k, &c.pieces[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b sourced) int { return cmp.Compare(a.piece.order, b.piece.order) })
	w := frames.NewFile()
	for range 4 { // times in ns
		w.Block(1, []byte{1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0})
	}
	for _, x := range all {
		for _, b := range x.piece.frames() {
			n := len(b)
			if head := 54; x.piece.cut > 0 {
				n = min(n, head+x.piece.cut)
			}
			var body []byte
			for _, v := range []uint32{uint32(x.piece.iface), uint32(x.piece.at >> 32), uint32(x.piece.at), uint32(n), uint32(len(b))} {
				body = binary.LittleEndian.AppendUint32(body, v)
			}
			w.Block(6, append(body, b[:n]...))
			of = append(of, x)
		}
	}
	return w.Buf.Bytes(), of
}

// sourced is a piece of the conversation with a number.
type sourced struct {
	conv  int
	piece *piece
}

// conversationNamed finds "sample number" or, for IPv6, "sample number six".
func conversationNamed(t testing.TB, name string, k int) *conversation {
	list, err := conversations()
	if err != nil {
		t.Fatal(err)
	}
	plain, six := strings.CutSuffix(name, " six")
	i := slices.IndexFunc(list, func(c *conversation) bool { return c.name == plain })
	if i < 0 {
		t.Fatalf("no conversation %q", name)
	}
	return list[i].placed(k, six)
}
