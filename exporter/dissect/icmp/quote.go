package icmp

import (
	"encoding/binary"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// IP protocol numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
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

// quote reads the start of a packet that an error quotes.
func (m *reader) quote(b []byte) {
	q, ok := decode.QuoteOf(b)
	if !ok {
		return
	}
	row := m.row
	row.QuotedSrc, row.QuotedDst, row.QuotedProto = table.Some(q.Src.String()), table.Some(q.Dst.String()), table.Some(protoName(q.Proto))
	if src, dst, ok := q.Ports(); ok {
		row.QuotedSrcPort, row.QuotedDstPort = table.Some(int32(src)), table.Some(int32(dst))
	}
	if q.First && (q.Proto == protoICMP || q.Proto == protoICMPv6) {
		m.quotedMessage(q.Proto == protoICMPv6, q.Rest)
	}
}

func (m *reader) quotedMessage(v6 bool, b []byte) {
	row := m.row
	if len(b) == 0 {
		return
	}
	row.QuotedType = table.Some(TypeName(v6, b[0]))
	if k := kindOf(v6, b[0]); k.sequence && len(b) >= 8 {
		row.ID = table.Some(int32(binary.BigEndian.Uint16(b[4:])))
		row.Seq = table.Some(int32(binary.BigEndian.Uint16(b[6:])))
		if k.short {
			row.Seq.V >>= 8
		}
	}
}

// Report says what became of a packet that an error quotes.
type Report struct {
	Why     string // the code in words, or the type if the codes have no names
	Refused bool   // the destination or a router rejected the packet, and would reject it again
}

// ReportOf is the report of a message, if it says that a packet was not delivered (RFC 792, RFC 4443 section 3). Source
// quench is none: it asks for fewer packets.
func ReportOf(v6 bool, typ, code uint8) (r Report, ok bool) {
	if v6 {
		ok, r.Refused = typ >= unreachable6 && typ <= parameter6, typ == unreachable6 || typ == parameter6
	} else {
		ok = typ == unreachable4 || typ == exceeded4 || typ == parameter4
		r.Refused = ok && typ != exceeded4 && (typ != unreachable4 || code != fragmentationNeeded4)
	}
	if !ok {
		return r, false
	}
	if r.Why = codeName(v6, typ, code); r.Why == "" {
		r.Why = TypeName(v6, typ)
	}
	return r, true
}

// Quoted is the packet that an error of ReportOf quotes, if that can be read.
func Quoted(message []byte) (q decode.Quote, ok bool) {
	if len(message) < errorHeader {
		return q, false
	}
	return decode.QuoteOf(message[errorHeader:])
}
