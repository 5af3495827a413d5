package wire

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers.
const (
	hopByHop = 0
	ICMP     = 1
	TCP      = 6
	UDP      = 17
	dccp     = 33
	routing  = 43
	fragment = 44
	ah       = 51
	ICMPv6   = 58
	destOpts = 60
	SCTP     = 132
	udpLite  = 136
)

const (
	errorHeader   = 8  // bytes of an error before the packet that it quotes
	ipv4Header    = 20 // without options
	ipv6Header    = 40
	routeHeader   = 8  // before the addresses of a routing header
	maxExtHeaders = 16 // of a quoted IPv6 packet
)

// Quote is what an ICMP error quotes of the packet that caused it: its headers, and as much of its payload as the
// sender of the error included (RFC 792, RFC 1812 section 4.3.2.3, RFC 4443 section 2.4). The sender may be anyone.
type Quote struct {
	Proto    uint8 // of IP, behind extension headers
	Src, Dst netip.Addr
	IPID     uint32 // of IPv4
	First    bool   // Rest begins with the transport header: the packet is no later fragment, and its headers were quoted
	Size     int    // bytes behind the IP headers, by the length that they state; -1 if they state none, or that of a fragment
	Rest     []byte // the rest of the error: of these bytes those that were quoted, and perhaps padding
}

// Ports returns the ports of a transport that has them where TCP does.
func (q *Quote) Ports() (src, dst uint16, ok bool) {
	switch q.Proto {
	case TCP, UDP, SCTP, udpLite, dccp:
		if q.First && len(q.Rest) >= 4 {
			return binary.BigEndian.Uint16(q.Rest), binary.BigEndian.Uint16(q.Rest[2:]), true
		}
	}
	return 0, 0, false
}

// QuoteOf reads the start of an IP packet, which may end anywhere behind the addresses.
func QuoteOf(b []byte) (q Quote, ok bool) {
	switch {
	case len(b) >= ipv4Header && b[0]>>4 == 4:
		q.ipv4(b)
	case len(b) >= ipv6Header && b[0]>>4 == 6:
		q.ipv6(b)
	default:
		return q, false
	}
	return q, true
}

func (q *Quote) ipv4(b []byte) {
	q.Proto, q.IPID = b[9], uint32(binary.BigEndian.Uint16(b[4:]))
	q.Src, q.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	head := int(b[0]&15) * 4
	if head < ipv4Header || head > len(b) {
		return
	}
	place := binary.BigEndian.Uint16(b[6:])
	q.First = place&0x1fff == 0
	q.Size, q.Rest = -1, b[head:]
	if total := int(binary.BigEndian.Uint16(b[2:])); total > 0 && place&0x2000 == 0 { // 0: segmentation offload
		q.Size = max(total-head, 0)
	}
}

func (q *Quote) ipv6(b []byte) {
	q.Proto, q.Src, q.Dst = b[6], netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	q.Size, q.Rest = -1, b[ipv6Header:]
	whole := q.skipExtensions()
	if size := int(binary.BigEndian.Uint16(b[4:])); size > 0 && whole { // 0: a jumbogram, or offload
		q.Size = max(size-(len(b)-ipv6Header-len(q.Rest)), 0)
	}
}

// skipExtensions goes over the extension headers of IPv6 (RFC 8200 section 4), as far as they were quoted. whole is false
// for the first fragment of several.
func (q *Quote) skipExtensions() (whole bool) {
	whole = true
	for range maxExtHeaders {
		b, n := q.Rest, 0
		switch q.Proto {
		case hopByHop, routing, destOpts:
			if len(b) >= 2 {
				n = 8 * (int(b[1]) + 1)
			}
			if q.Proto == routing && n >= routeHeader+16 && n <= len(b) && b[3] > 0 { // segments left
				q.lastHop(b[2], b[routeHeader:n])
			}
		case fragment:
			if len(b) >= 8 && binary.BigEndian.Uint16(b[2:])&0xfff8 == 0 {
				n = 8
				whole = b[3]&1 == 0
			}
		case ah:
			if len(b) >= 2 {
				n = 4 * (int(b[1]) + 2)
			}
		default:
			q.First = true
			return whole
		}
		if n == 0 || n > len(b) {
			break
		}
		q.Proto, q.Rest = b[0], b[n:]
	}
	return whole
}

// lastHop makes the end of a route the destination, which the packet's flow has (RFC 8754 section 5.4).
func (q *Quote) lastHop(kind byte, list []byte) {
	switch kind {
	case 0, 2: // RFC 2460 section 4.4, RFC 6275 section 6.4: in order of travel
		list = list[:len(list)-len(list)%16]
		q.Dst = netip.AddrFrom16([16]byte(list[len(list)-16:]))
	case 4: // RFC 8754 section 2: the last segment comes first
		q.Dst = netip.AddrFrom16([16]byte(list))
	}
}

// Quoted is the packet that an error of ReportOf quotes, if that can be read.
func Quoted(message []byte) (q Quote, ok bool) {
	if len(message) < errorHeader {
		return q, false
	}
	return QuoteOf(message[errorHeader:])
}
