package icmp

import (
	"encoding/binary"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/icmp/wire"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func protoName(p uint8) string {
	switch p {
	case wire.ICMP:
		return "icmp"
	case wire.TCP:
		return "tcp"
	case wire.UDP:
		return "udp"
	case wire.ICMPv6:
		return "icmpv6"
	case wire.SCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// quote reads the start of a packet that an error quotes.
func (m *reader) quote(b []byte) {
	q, ok := wire.QuoteOf(b)
	if !ok {
		return
	}
	row := m.row
	row.QuotedSrc, row.QuotedDst, row.QuotedProto = table.Some(q.Src.String()), table.Some(q.Dst.String()), table.Some(protoName(q.Proto))
	if src, dst, ok := q.Ports(); ok {
		row.QuotedSrcPort, row.QuotedDstPort = table.Some(int32(src)), table.Some(int32(dst))
	}
	if q.First && (q.Proto == wire.ICMP || q.Proto == wire.ICMPv6) {
		m.quotedMessage(q.Proto == wire.ICMPv6, q.Rest)
	}
}

func (m *reader) quotedMessage(v6 bool, b []byte) {
	row := m.row
	if len(b) == 0 {
		return
	}
	row.QuotedType = table.Some(wire.TypeName(v6, b[0]))
	if k := kindOf(v6, b[0]); k.sequence && len(b) >= 8 {
		row.ID = table.Some(int32(binary.BigEndian.Uint16(b[4:])))
		row.Seq = table.Some(int32(binary.BigEndian.Uint16(b[6:])))
		if k.short {
			row.Seq.V >>= 8
		}
	}
}
