package icmp

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// IP protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMPv6   = 58
	protoDstOpts  = 60
	protoSCTP     = 132
	protoUDPLite  = 136
)

func protoName(p uint8) string {
	switch p {
	case protoICMP:
		return "icmp"
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoICMPv6:
		return "icmpv6"
	case protoSCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// quote reads the start of a packet that an error quotes. The quote may end anywhere.
func (m *reader) quote(b []byte) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		m.quote4(b)
	case len(b) >= 40 && b[0]>>4 == 6:
		m.quote6(b)
	}
}

func (m *reader) quote4(b []byte) {
	m.ends(b[12:16], b[16:20])
	m.row.QuotedProto = table.Some(protoName(b[9]))
	head := int(b[0]&15) * 4
	if head < 20 || head > len(b) || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 { // only the first fragment has ports
		return
	}
	m.quotedTransport(b[9], b[head:])
}

func (m *reader) quote6(b []byte) {
	m.ends(b[8:24], b[24:40])
	next := b[6]
	b = b[40:]
	for range maxNested {
		n := 0
		switch next {
		case protoHopByHop, protoRouting, protoDstOpts:
			if len(b) >= 2 {
				n = 8 * (int(b[1]) + 1)
			}
		case protoFragment:
			if len(b) >= 8 && binary.BigEndian.Uint16(b[2:])&0xfff8 == 0 {
				n = 8
			}
		case protoAH:
			if len(b) >= 2 {
				n = 4 * (int(b[1]) + 2)
			}
		default:
			m.row.QuotedProto = table.Some(protoName(next))
			m.quotedTransport(next, b)
			return
		}
		if n == 0 || n > len(b) {
			break
		}
		next, b = b[0], b[n:]
	}
	m.row.QuotedProto = table.Some(protoName(next))
}

func (m *reader) ends(src, dst []byte) {
	s, _ := netip.AddrFromSlice(src)
	d, _ := netip.AddrFromSlice(dst)
	m.row.QuotedSrc, m.row.QuotedDst = table.Some(s.String()), table.Some(d.String())
}

func (m *reader) quotedTransport(proto uint8, b []byte) {
	row := m.row
	switch proto {
	case protoTCP, protoUDP, protoSCTP, protoUDPLite:
		if len(b) >= 4 {
			row.QuotedSrcPort = table.Some(int32(binary.BigEndian.Uint16(b)))
			row.QuotedDstPort = table.Some(int32(binary.BigEndian.Uint16(b[2:])))
		}
	case protoICMP, protoICMPv6:
		if len(b) == 0 {
			return
		}
		v6 := proto == protoICMPv6
		row.QuotedType = table.Some(TypeName(v6, b[0]))
		if k := kindOf(v6, b[0]); k.sequence && len(b) >= 8 {
			row.ID = table.Some(int32(binary.BigEndian.Uint16(b[4:])))
			row.Seq = table.Some(int32(binary.BigEndian.Uint16(b[6:])))
			if k.short {
				row.Seq.V >>= 8
			}
		}
	}
}
