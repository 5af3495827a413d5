package derive

import (
	"encoding/binary"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// header is an IP header in a packet.
type header struct {
	at, size int // of the fixed part
	proto    byte
	place    int // of the checksum behind it that covers its addresses; 0: none
}

// place is where an address is.
type place struct{ at, size int }

// readdress replaces the addresses in the headers of a packet, those quoted by ICMP too, and
// corrects the checksums of IPv4 headers. It returns the headers with a checksum behind them that
// covers their addresses.
func (x *rewriter) readdress(data []byte) (list []header) {
	for _, a := range x.addrs {
		if a.at >= 0 && a.at+a.size <= len(data) {
			x.names.replace(data[a.at : a.at+a.size])
		}
	}
	for i := 0; i+1 < len(x.addrs); i += 2 {
		if h, ok := headerAt(x.old, x.addrs[i]); ok {
			x.header(data, h)
			list = append(list, h)
		}
	}
	if x.frame.Kind == decode.KindIP && x.frame.FragNos == nil && (x.frame.Proto == 1 || x.frame.Proto == 58) {
		x.quoted(data)
	}
	return slices.DeleteFunc(list, func(h header) bool { return h.place == 0 || h.place+2 > len(data) })
}

// header corrects the checksum of a header of IPv4, RFC 791 section 3.1.
func (x *rewriter) header(data []byte, h header) {
	if h.size == 20 {
		x.adjust(data, h.at+10, h.at+12, h.at+20, false)
	}
}

// quoted replaces the addresses in the header that an error of ICMP quotes, RFC 792 and RFC 4443.
func (x *rewriter) quoted(data []byte) {
	at := cap(data) - cap(x.frame.Payload) + 8
	first, errors := place{at + 12, 4}, []byte{3, 4, 5, 11, 12}
	if x.frame.Proto == 58 {
		first, errors = place{at + 8, 16}, []byte{1, 2, 3, 4}
	}
	if at < 8 || first.at+2*first.size > len(data) || !slices.Contains(errors, data[at-8]) {
		return
	}
	h, ok := headerAt(x.old, first)
	if !ok {
		return
	}
	for _, at := range [2]int{first.at, first.at + first.size} {
		copy(data[at:at+first.size], x.old[at:]) // it may be replaced already, because rows show it
		x.names.replace(data[at : at+first.size])
	}
	x.header(data, h)
	if h.place > 0 && h.place+2 <= len(data) {
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
		return h, false
	}
	next := h.at + h.size
	if h.size == 20 {
		next = h.at + int(data[h.at]&15)*4
		if binary.BigEndian.Uint16(data[h.at+6:])&0x1fff != 0 { // not the first fragment
			return h, true
		}
		h.proto = data[h.at+9]
	} else if h.proto, next = skipExtensions(data, data[h.at+6], next); next == 0 {
		return h, true
	}
	if offset, known := map[byte]int{6: 16, 17: 6, 58: 2}[h.proto]; known {
		h.place = next + offset
	}
	return h, true
}

// skipExtensions goes over the extension headers of IPv6, RFC 8200 section 4. next is 0 if what is
// behind them is not there or in another fragment.
func skipExtensions(data []byte, proto byte, at int) (upper byte, next int) {
	for range 16 {
		if at+8 > len(data) {
			return proto, 0
		}
		switch proto {
		case 0, 43, 60:
			proto, at = data[at], at+8+8*int(data[at+1])
		case 44:
			if binary.BigEndian.Uint16(data[at+2:])&^7 != 0 {
				return proto, 0
			}
			proto, at = data[at], at+8
		default:
			return proto, at
		}
	}
	return proto, 0
}

// adjust corrects the checksum at a place for what changed in data[from:to].
func (x *rewriter) adjust(data []byte, at, from, to int, udp bool) {
	if at+2 > len(data) || to > len(data) {
		return
	}
	s := decode.Sum{Start: from, UDP: udp}
	stated := binary.BigEndian.Uint16(data[at:])
	if stated == 0 { // left out, or computed by the network adapter
		return
	}
	binary.BigEndian.PutUint16(data[at:], s.Change(stated, from, x.old[from:to], data[from:to]))
}

// pseudo corrects the checksum that covers the addresses of a header. A sum of the pseudo-header
// alone, which the network adapter completes, is not inverted.
func (x *rewriter) pseudo(data []byte, h header) {
	from, to := h.at+12, h.at+20
	if h.size == 40 {
		from, to = h.at+8, h.at+40
	}
	stated := binary.BigEndian.Uint16(x.old[h.place:])
	if stated != 0 && slices.ContainsFunc(x.sums, func(s decode.Sum) bool { return s.Place == h.place && s.Unfinished }) {
		s := decode.Sum{Start: from}
		binary.BigEndian.PutUint16(data[h.place:], ^s.Change(^stated, from, x.old[from:to], data[from:to]))
		return
	}
	x.adjust(data, h.place, from, to, h.proto == 17)
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
