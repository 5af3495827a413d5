package layers

import (
	"encoding/binary"
)

// Link types of captures.
const (
	linkNull     = 0
	linkEthernet = 1
	linkLoop     = 108
	linkSLL      = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// EtherTypes.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeTEB  = 0x6558
	typeVLAN = 0x8100
	typeIPv6 = 0x86dd
	typeMPLS = 0x8847
	typeQinQ = 0x88a8
)

var (
	ethernet = []spec{{"eth.dst", 0, 6, mac}, {"eth.src", 6, 6, mac}, {"eth.type", 12, 2, hexed}}
	vlan     = []spec{{"vlan.priority", 0, 2, bits(13, 7)}, {"vlan.id", 0, 2, bits(0, 0xfff)}, {"vlan.etype", 2, 2, hexed}}
	mpls     = []spec{{"mpls.label", 0, 4, bits(12, 0xfffff)}, {"mpls.exp", 0, 4, bits(9, 7)}, {"mpls.bottom", 0, 4, bits(8, 1)}, {"mpls.ttl", 0, 4, bits(0, 255)}}
	sll      = []spec{{"sll.pkttype", 0, 2, dec}, {"sll.hatype", 2, 2, dec}, {"sll.halen", 4, 2, dec}, {"sll.etype", 14, 2, hexed}}
	sll2     = []spec{{"sll.etype", 0, 2, hexed}, {"sll.ifindex", 4, 4, dec}, {"sll.hatype", 8, 2, dec}, {"sll.pkttype", 10, 1, dec}, {"sll.halen", 11, 1, dec}}
	ipv4     = []spec{{"ip.version", 0, 1, bits(4, 15)}, {"ip.hdr_len", 0, 1, times4(0)}, {"ip.dsfield", 1, 1, hexed}, {"ip.len", 2, 2, dec}, {"ip.id", 4, 2, hexed}, {"ip.flags", 6, 1, bits(5, 7)},
		{"ip.frag_offset", 6, 2, fragment}, {"ip.ttl", 8, 1, dec}, {"ip.proto", 9, 1, dec}, {"ip.checksum", 10, 2, hexed}, {"ip.src", 12, 4, address}, {"ip.dst", 16, 4, address}}
	ipv6 = []spec{{"ipv6.version", 0, 1, bits(4, 15)}, {"ipv6.plen", 4, 2, dec}, {"ipv6.nxt", 6, 1, dec}, {"ipv6.hlim", 7, 1, dec}, {"ipv6.src", 8, 16, address}, {"ipv6.dst", 24, 16, address}}
	arp  = []spec{{"arp.hw.type", 0, 2, dec}, {"arp.proto.type", 2, 2, hexed}, {"arp.hw.size", 4, 1, dec}, {"arp.proto.size", 5, 1, dec}, {"arp.opcode", 6, 2, dec},
		{"arp.src.hw_mac", 8, 6, mac}, {"arp.src.proto_ipv4", 14, 4, address}, {"arp.dst.hw_mac", 18, 6, mac}, {"arp.dst.proto_ipv4", 24, 4, address}}
	tcp = []spec{{"tcp.srcport", 0, 2, dec}, {"tcp.dstport", 2, 2, dec}, {"tcp.seq_raw", 4, 4, dec}, {"tcp.ack_raw", 8, 4, dec}, {"tcp.hdr_len", 12, 1, times4(4)},
		{"tcp.flags", 12, 2, tcpFlags}, {"tcp.window_size_value", 14, 2, dec}, {"tcp.checksum", 16, 2, hexed}, {"tcp.urgent_pointer", 18, 2, dec}}
	udp    = []spec{{"udp.srcport", 0, 2, dec}, {"udp.dstport", 2, 2, dec}, {"udp.length", 4, 2, dec}, {"udp.checksum", 6, 2, hexed}}
	icmp   = []spec{{"icmp.type", 0, 1, dec}, {"icmp.code", 1, 1, dec}, {"icmp.checksum", 2, 2, hexed}}
	icmpv6 = []spec{{"icmpv6.type", 0, 1, dec}, {"icmpv6.code", 1, 1, dec}, {"icmpv6.checksum", 2, 2, hexed}}
	sctp   = []spec{{"sctp.srcport", 0, 2, dec}, {"sctp.dstport", 2, 2, dec}, {"sctp.verification_tag", 4, 4, hexed}, {"sctp.checksum", 8, 4, hexed}}
	gre    = []spec{{"gre.flags_and_version", 0, 2, hexed}, {"gre.proto", 2, 2, hexed}}
	vxlan  = []spec{{"vxlan.flags", 0, 2, hexed}, {"vxlan.gbp", 2, 2, dec}, {"vxlan.vni", 4, 3, dec}}
	geneve = []spec{{"geneve.version", 0, 1, bits(6, 3)}, {"geneve.proto_type", 2, 2, hexed}, {"geneve.vni", 4, 3, hexed}}
)

func (s *splitter) link(link uint32) {
	switch link {
	case linkEthernet:
		s.ethernet()
	case linkSLL:
		if b := s.header("sll", 16, sll); b != nil {
			s.hardware(b[6:14], int(binary.BigEndian.Uint16(b[4:])), s.at-10)
			s.ether(binary.BigEndian.Uint16(b[14:]))
		}
	case linkSLL2:
		if b := s.header("sll", 20, sll2); b != nil {
			s.hardware(b[12:20], int(b[11]), s.at-8)
			s.ether(binary.BigEndian.Uint16(b))
		}
	case linkNull, linkLoop:
		if b := s.header("null", 4, nil); b != nil {
			family := binary.BigEndian.Uint32(b)
			if link == linkNull && family > 0xffff {
				family = binary.LittleEndian.Uint32(b)
			}
			s.field("null.family", bits(0, 0xffffffff)([]byte{byte(family >> 24), byte(family >> 16), byte(family >> 8), byte(family)}), s.at-4, s.at)
			s.ip()
		}
	case linkIPv4, linkIPv6, 12, 14, 101: // raw IP has several numbers
		s.ip()
	}
}

// hardware adds the address of a cooked header, if it is one of Ethernet.
func (s *splitter) hardware(b []byte, size, start int) {
	if size == 6 {
		s.field("sll.src.eth", mac(b[:6]), start, start+6)
	}
}

func (s *splitter) ethernet() {
	b := s.header("eth", 14, ethernet)
	if b == nil {
		return
	}
	kind := binary.BigEndian.Uint16(b[12:])
	if kind < 0x600 { // a length
		f := s.out[len(s.out)-1].Fields
		f[len(f)-1].Name = "eth.len"
		s.limit(s.at, int(kind))
		return
	}
	s.ether(kind)
}

// ether reads what an EtherType says.
func (s *splitter) ether(kind uint16) {
	for len(s.out) < maxLayers {
		switch kind {
		case typeVLAN, typeQinQ:
			b := s.header("vlan", 4, vlan)
			if b == nil {
				return
			}
			kind = binary.BigEndian.Uint16(b[2:])
		case typeMPLS:
			b := s.header("mpls", 4, mpls)
			if b == nil {
				return
			}
			if b[2]&1 != 0 {
				s.ip()
				return
			}
		case typeIPv4, typeIPv6:
			s.ip()
			return
		case typeTEB:
			s.ethernet()
			return
		case typeARP:
			if s.at+28 <= s.end && s.data[s.at+4] == 6 && s.data[s.at+5] == 4 {
				s.header("arp", 28, arp)
				s.end = s.at
			}
			return
		default:
			return
		}
	}
}

func (s *splitter) ip() {
	if s.at >= s.end {
		return
	}
	switch s.data[s.at] >> 4 {
	case 4:
		s.ipv4()
	case 6:
		s.ipv6()
	}
}

func (s *splitter) ipv4() {
	start := s.at
	size := 4 * int(s.data[start]&15)
	if size < 20 {
		return
	}
	b := s.header("ip", size, ipv4)
	if b == nil {
		return
	}
	if n := int(binary.BigEndian.Uint16(b[2:])); n >= size { // 0: the network adapter cuts the segment
		s.limit(start, n)
	}
	if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return // only the first fragment has the next header
	}
	s.transport(b[9])
}

func (s *splitter) ipv6() {
	b := s.header("ipv6", 40, ipv6)
	if b == nil {
		return
	}
	if n := int(binary.BigEndian.Uint16(b[4:])); n > 0 {
		s.limit(s.at, n)
	}
	next := b[6]
	for len(s.out) < maxLayers && s.at+8 <= s.end {
		size, name := 8*(int(s.data[s.at+1])+1), ""
		switch next {
		case 0:
			name = "ipv6.hopopts"
		case 43:
			name = "ipv6.routing"
		case 60:
			name = "ipv6.dstopts"
		case 44:
			name, size = "ipv6.fraghdr", 8
		}
		if name == "" {
			break
		}
		x := s.header(name, size, []spec{{name + ".nxt", 0, 1, dec}})
		if x == nil {
			return
		}
		if next == 44 && binary.BigEndian.Uint16(x[2:])&0xfff8 != 0 {
			return
		}
		next = x[0]
	}
	s.transport(next)
}

// transport reads what a protocol number says.
func (s *splitter) transport(proto byte) {
	switch proto {
	case 1:
		s.ping("icmp", icmp, 8, 0)
	case 58:
		s.ping("icmpv6", icmpv6, 128, 129)
	case 4, 41:
		s.ip()
	case 6:
		s.tcp()
	case 17:
		s.udp()
	case 47:
		s.gre()
	case 132:
		s.header("sctp", 12, sctp)
	}
}

// ping adds an ICMP message. The numbers of echoes are request and reply.
func (s *splitter) ping(name string, specs []spec, request, reply byte) {
	b := s.header(name, 4, specs)
	if b == nil || b[0] != request && b[0] != reply || s.at+4 > s.end {
		return
	}
	prefix := name + "."
	if name == "icmpv6" {
		prefix += "echo."
		s.field(prefix+"identifier", hexed(s.data[s.at:s.at+2]), s.at, s.at+2)
		s.field(prefix+"sequence_number", dec(s.data[s.at+2:s.at+4]), s.at+2, s.at+4)
	} else {
		s.field(prefix+"ident", dec(s.data[s.at:s.at+2]), s.at, s.at+2)
		s.field(prefix+"seq", dec(s.data[s.at+2:s.at+4]), s.at+2, s.at+4)
	}
	s.at += 4
	s.out[len(s.out)-1].End = s.at
}

func (s *splitter) gre() {
	if s.at+4 > s.end {
		return
	}
	flags, size := binary.BigEndian.Uint16(s.data[s.at:]), 4
	at := map[string]int{}
	for _, x := range []struct {
		bit  uint16
		name string
	}{{0x8000, "gre.checksum"}, {0x2000, "gre.key"}, {0x1000, "gre.sequence_number"}} {
		if flags&x.bit != 0 {
			at[x.name] = size
			size += 4
		}
	}
	if flags&0x4007 != 0 { // source routing, or another version
		return
	}
	start := s.at
	b := s.header("gre", size, gre)
	if b == nil {
		return
	}
	for _, name := range []string{"gre.key", "gre.sequence_number"} {
		if i, ok := at[name]; ok {
			s.field(name, dec(b[i:i+4]), start+i, start+i+4)
		}
	}
	s.ether(binary.BigEndian.Uint16(b[2:]))
}

func (s *splitter) udp() {
	start := s.at
	b := s.header("udp", 8, udp)
	if b == nil {
		return
	}
	from, to := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if n := int(binary.BigEndian.Uint16(b[4:])); n >= 8 {
		s.limit(start, n)
	}
	switch {
	case to == 4789 || to == 8472:
		if s.at+8 <= s.end && s.data[s.at]&8 != 0 {
			s.header("vxlan", 8, vxlan)
			s.ethernet()
			return
		}
	case to == 6081:
		if s.at+8 <= s.end {
			if g := s.header("geneve", 8+4*int(s.data[s.at]&63), geneve); g != nil {
				s.ether(binary.BigEndian.Uint16(g[2:]))
				return
			}
		}
	}
	s.application(from, to, false)
}

// Kinds of TCP options.
const (
	optMSS       = 2
	optWindow    = 3
	optSACK      = 5
	optTimestamp = 8
)

func (s *splitter) tcp() {
	if s.at+20 > s.end {
		return
	}
	size := 4 * int(s.data[s.at+12]>>4)
	if size < 20 {
		return
	}
	start := s.at
	b := s.header("tcp", size, tcp)
	if b == nil {
		return
	}
	for i := 20; i < size; {
		kind := b[i]
		if kind == 0 {
			break
		}
		if kind == 1 {
			i++
			continue
		}
		if i+2 > size || b[i+1] < 2 || i+int(b[i+1]) > size {
			break
		}
		n := int(b[i+1])
		at := start + i
		switch {
		case kind == optMSS && n == 4:
			s.field("tcp.options.mss_val", dec(b[i+2:i+4]), at+2, at+4)
		case kind == optWindow && n == 3:
			s.field("tcp.options.wscale.shift", dec(b[i+2:i+3]), at+2, at+3)
		case kind == optTimestamp && n == 10:
			s.field("tcp.options.timestamp.tsval", dec(b[i+2:i+6]), at+2, at+6)
			s.field("tcp.options.timestamp.tsecr", dec(b[i+6:i+10]), at+6, at+10)
		case kind == optSACK:
			for k := 2; k+8 <= n; k += 8 {
				s.field("tcp.options.sack_le", dec(b[i+k:i+k+4]), at+k, at+k+4)
				s.field("tcp.options.sack_re", dec(b[i+k+4:i+k+8]), at+k+4, at+k+8)
			}
		}
		i += n
	}
	s.application(binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true)
}
