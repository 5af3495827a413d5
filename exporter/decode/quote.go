package decode

// Quote is what an ICMP error quotes of the packet that caused it: its headers, and as much of its payload as the
// sender of the error included (RFC 792, RFC 1812 section 4.3.2.3, RFC 4443 section 2.4). The sender may be anyone.
type Quote struct {
	Version  uint8 // 4 or 6
	Proto    uint8 // of IP, behind extension headers
	Src, Dst Addr
	IPID     uint32 // of IPv4
	First    bool   // Rest begins with the transport header: the packet is no later fragment, and its headers were quoted
	Size     int    // bytes behind the IP headers, by the length that they state; -1 if they state none, or that of a fragment
	Rest     []byte // the rest of the error: of these bytes those that were quoted, and perhaps padding
}

// Ports returns the ports of a transport that has them where TCP does.
func (q *Quote) Ports() (src, dst uint16, ok bool) {
	switch q.Proto {
	case protoTCP, protoUDP, protoSCTP, protoUDPLite, protoDCCP:
		if q.First && len(q.Rest) >= 4 {
			return be16(q.Rest), be16(q.Rest[2:]), true
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
	q.Version, q.Proto, q.IPID = 4, b[9], uint32(be16(b[4:]))
	q.Src.set4(b[12:])
	q.Dst.set4(b[16:])
	head := int(b[0]&15) * 4
	if head < ipv4Header || head > len(b) {
		return
	}
	fragment := be16(b[6:])
	q.First = fragment&0x1fff == 0
	q.Size, q.Rest = -1, b[head:]
	if total := int(be16(b[2:])); total > 0 && fragment&0x2000 == 0 { // 0: segmentation offload
		q.Size = max(total-head, 0)
	}
}

func (q *Quote) ipv6(b []byte) {
	q.Version, q.Proto, q.Src, q.Dst = 6, b[6], Addr(b[8:24]), Addr(b[24:40])
	size, all := int(be16(b[4:])), len(b)-ipv6Header
	q.Size, q.Rest, q.First = -1, b[ipv6Header:], true
	defer func() {
		if size > 0 { // 0: a jumbogram, or offload
			q.Size = max(size-(all-len(q.Rest)), 0)
		}
	}()
	for range maxExtHeaders {
		b, n := q.Rest, 0
		switch q.Proto {
		case protoHopByHop, protoRouting, protoDestOpts:
			if len(b) >= 2 {
				n = 8 * (int(b[1]) + 1)
			}
		case protoFragment:
			if len(b) >= 8 && be16(b[2:])&0xfff8 == 0 {
				n = 8
				if b[3]&1 != 0 {
					size = 0
				}
			}
		case protoAH:
			if len(b) >= 2 {
				n = 4 * (int(b[1]) + 2)
			}
		default:
			return
		}
		if n == 0 || n > len(b) {
			break
		}
		q.Proto, q.Rest = b[0], b[n:]
	}
	q.First = false
}
