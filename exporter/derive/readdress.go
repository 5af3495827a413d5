package derive

import (
	"encoding/binary"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp/wire"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// header is an IP header in a packet.
type header struct {
	at, size int // of the fixed part
	proto    byte
	after    int      // the first byte behind the options of IPv4
	place    int      // of the checksum behind it that covers its addresses; 0: none
	ends     [2]place // the source and the destination that the checksum covers
}

// place is where an address is.
type place struct{ at, size int }

// readdress replaces the addresses in the headers of a packet, those quoted by ICMP too, and
// corrects the checksums of IPv4 headers. It returns the headers with a checksum behind them that
// covers their addresses.
func (x *rewriter) readdress(data []byte) []header {
	list := x.headers(data, 0, x.addrs)
	if x.frame.Kind == decode.KindIP && x.frame.FragNos == nil && (x.frame.Proto == 1 || x.frame.Proto == 58) {
		x.quoted(data)
	}
	return list
}

// headers replaces addresses in headers, which are counted from an offset in data.
func (x *rewriter) headers(data []byte, from int, addrs []decode.Address) (list []header) {
	for _, a := range addrs {
		is := place{from + a.At, a.Size}
		if a.At < 0 || is.at+is.size > len(data) {
			continue
		}
		copy(data[is.at:is.at+is.size], x.old[is.at:]) // it may be replaced already, because rows show it
		x.names.replace(data[is.at : is.at+is.size])
		if a.Role == decode.RoleSource {
			h, _ := headerAt(x.old, is)
			list = append(list, h)
		}
		if len(list) == 0 {
			continue
		}
		switch h := &list[len(list)-1]; a.Role {
		case decode.RoleHome:
			h.ends[0] = is
		case decode.RoleLast:
			h.ends[1] = is
		}
	}
	for _, h := range list {
		if h.size == 20 { // RFC 791 section 3.1
			x.adjust(data, h.at+10, false, place{h.at + 12, h.after - h.at - 12})
		}
	}
	return slices.DeleteFunc(list, func(h header) bool { return h.place == 0 || h.place+2 > len(data) })
}

// quoted replaces the addresses in the headers that an error of ICMP quotes, RFC 792 and RFC 4443.
func (x *rewriter) quoted(data []byte) {
	at, errors := cap(data)-cap(x.frame.Payload)+8, []byte{3, 4, 5, 11, 12}
	if x.frame.Proto == 58 {
		errors = []byte{1, 2, 3, 4}
	}
	if at < 8 || at > len(data) || !slices.Contains(errors, data[at-8]) {
		return
	}
	x.quotes = x.quotes[:0]
	x.quoting.Decode(decode.Input{LinkType: decode.LinkRaw, Data: x.old[at:], OrigLen: uint32(len(data) - at)}, &x.quote)
	for _, h := range x.headers(data, at, x.quotes) {
		x.pseudo(data, h)
	}
}

// headerAt is the header with this source address. ok is false if it is not one of IP.
func headerAt(data []byte, src place) (h header, ok bool) {
	h = header{at: src.at - 12, size: 20}
	if src.size == 16 {
		h = header{at: src.at - 8, size: 40}
	}
	if h.at < 0 || h.at+h.size > len(data) || data[h.at]>>4 != map[int]byte{20: 4, 40: 6}[h.size] {
		return header{}, false
	}
	h.ends = [2]place{src, {src.at + src.size, src.size}}
	if h.size == 20 {
		h.after = min(h.at+max(20, int(data[h.at]&15)*4), len(data))
	}
	q, _ := wire.QuoteOf(data[h.at:])
	h.proto = q.Proto
	if offset, known := map[byte]int{6: 16, 17: 6, 58: 2}[q.Proto]; known && q.First {
		h.place = len(data) - len(q.Rest) + offset
	}
	return h, true
}

// adjust corrects the checksum at a place for what changed in other places.
func (x *rewriter) adjust(data []byte, at int, udp bool, changed ...place) {
	if at+2 > len(data) {
		return
	}
	sum := binary.BigEndian.Uint16(data[at:])
	if sum == 0 { // left out, or computed by the network adapter
		return
	}
	binary.BigEndian.PutUint16(data[at:], x.change(data, sum, udp, changed))
}

// change is a checksum after a change of what it covers in some places, each of which begins a 16-bit word of it.
func (x *rewriter) change(data []byte, sum uint16, udp bool, changed []place) uint16 {
	for _, c := range changed {
		s := decode.Sum{Start: c.at, UDP: udp}
		sum = s.Change(sum, c.at, x.old[c.at:c.at+c.size], data[c.at:c.at+c.size])
	}
	return sum
}

// pseudo corrects the checksum that covers the ends of a packet. A sum of the pseudo-header
// alone, which the network adapter completes, is not inverted.
func (x *rewriter) pseudo(data []byte, h header) {
	stated := binary.BigEndian.Uint16(x.old[h.place:])
	if stated != 0 && slices.ContainsFunc(x.sums, func(s decode.Sum) bool { return s.Place == h.place && s.Unfinished }) {
		binary.BigEndian.PutUint16(data[h.place:], ^x.change(data, ^stated, false, h.ends[:]))
		return
	}
	x.adjust(data, h.place, h.proto == 17, h.ends[:]...)
}

// blockAddresses replaces the addresses in an interface description and in a name resolution block:
// options 4 and 5 of the one, and the records and options 3 and 4 of the other (draft-ietf-opsawg-pcapng).
func (x *rewriter) blockAddresses(typ pcapng.BlockType, body []byte, bigEndian bool) {
	order := binary.ByteOrder(binary.LittleEndian)
	if bigEndian {
		order = binary.BigEndian
	}
	four, six, records := uint16(4), uint16(5), false
	switch typ {
	case pcapng.BlockInterface:
		body = body[min(8, len(body)):]
	case pcapng.BlockNames:
		four, six, records = 1, 2, true
	default:
		return
	}
	for len(body) >= 4 {
		code, size := order.Uint16(body), int(order.Uint16(body[2:]))
		body = body[4:]
		switch {
		case code == four && size >= 4 && len(body) >= 4:
			x.names.replace(body[:4])
		case code == six && size >= 16 && len(body) >= 16:
			x.names.replace(body[:16])
		case code == 0 && records: // options follow
			four, six, records = 3, 4, false
		case code == 0:
			return
		}
		body = body[min((size+3)&^3, len(body)):]
	}
}
