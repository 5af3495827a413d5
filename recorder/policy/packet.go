package policy

import (
	"encoding/binary"
	"net/netip"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// packet has the fields that rules examine.
type packet struct {
	src, dst netip.Addr
	protocol uint8
	ports    [2]uint16 // source, destination
	ported   bool
	unread   bool // it may have ports, but they cannot be read
	payload  []byte
	inner    []byte // the nested packet
}

// hasPort reports whether one of the packet's ports is in a list.
func (p *packet) hasPort(list []Ports) workload.Verdict {
	switch {
	case p.unread:
		return workload.Maybe
	case !p.ported:
		return workload.No
	}
	for _, x := range list {
		for _, n := range p.ports {
			if x.From <= n && n <= x.To {
				return workload.Yes
			}
		}
	}
	return workload.No
}

// Protocols and types that are parsed.
const (
	hopByHop = 0
	icmp4    = 1
	ipip     = 4
	tcp      = 6
	udp      = 17
	dccp     = 33
	ip6in    = 41
	routing  = 43
	fragment = 44
	gre      = 47
	esp      = 50
	ah       = 51
	icmp6    = 58
	destOpts = 60
	mobility = 135
	sctp     = 132
	udpLite  = 136

	etherIPv4   = 0x0800
	etherIPv6   = 0x86DD
	etherBridge = 0x6558 // an Ethernet frame in GRE or Geneve
)

// fragments remembers the ports of fragmented datagrams: only the first fragment has them.
type fragments struct{ now, before map[fragmentOf][2]uint16 }

type fragmentOf struct {
	src, dst netip.Addr
	id       uint32
	protocol uint8
}

const maxFragments = 4096

func (f *fragments) put(k fragmentOf, ports [2]uint16) {
	if f.now == nil || len(f.now) >= maxFragments {
		f.before, f.now = f.now, make(map[fragmentOf][2]uint16)
	}
	f.now[k] = ports
}

func (f *fragments) get(k fragmentOf) ([2]uint16, bool) {
	ports, ok := f.now[k]
	if !ok {
		ports, ok = f.before[k]
	}
	return ports, ok
}

// parse reads the fields of an IP packet that rules need. A packet that cannot be parsed is
// marked unread.
func (f *fragments) parse(ip []byte) packet {
	if len(ip) < 20 {
		return packet{unread: true, payload: ip}
	}
	switch ip[0] >> 4 {
	case 4:
		at := int(ip[0]&15) * 4
		if at < 20 || at > len(ip) {
			return packet{unread: true, payload: ip}
		}
		p := packet{src: netip.AddrFrom4([4]byte(ip[12:16])), dst: netip.AddrFrom4([4]byte(ip[16:20])), protocol: ip[9]}
		frag := binary.BigEndian.Uint16(ip[6:])
		k := fragmentOf{p.src, p.dst, uint32(binary.BigEndian.Uint16(ip[4:])), p.protocol}
		f.transport(&p, ip[at:], frag&0x1FFF, frag&0x2000 != 0, k)
		return p
	case 6:
		if len(ip) >= 40 {
			return f.parse6(ip)
		}
	}
	return packet{unread: true, payload: ip}
}

func (f *fragments) parse6(ip []byte) packet {
	p := packet{src: netip.AddrFrom16([16]byte(ip[8:24])), dst: netip.AddrFrom16([16]byte(ip[24:40])), protocol: ip[6]}
	at := 40
	var offset uint16
	more := false
	var id uint32
	for range 12 { // headers before the transport header
		if at+8 > len(ip) {
			break
		}
		size := 0
		switch p.protocol {
		case hopByHop, routing, destOpts, mobility:
			size = int(ip[at+1])*8 + 8
		case fragment:
			frag := binary.BigEndian.Uint16(ip[at+2:])
			offset, more, id, size = frag>>3, frag&1 != 0, binary.BigEndian.Uint32(ip[at+4:]), 8
		case ah:
			size = int(ip[at+1])*4 + 8
		default:
			f.transport(&p, ip[at:], offset, more, fragmentOf{p.src, p.dst, id, p.protocol})
			return p
		}
		p.protocol = ip[at]
		if at += size; offset != 0 {
			break // the next header is in the first fragment
		}
	}
	p.payload = ip[min(at, len(ip)):]
	if offset != 0 {
		f.transport(&p, p.payload, offset, more, fragmentOf{p.src, p.dst, id, p.protocol})
	} else {
		p.unread = p.protocol != 59 // nothing follows
	}
	return p
}

// transport parses the bytes after the IP header.
func (f *fragments) transport(p *packet, b []byte, offset uint16, more bool, k fragmentOf) {
	p.payload = b
	if p.protocol == ah && offset == 0 && len(b) >= 12 { // IPv4
		size := int(b[1])*4 + 8
		p.protocol, b = b[0], b[min(size, len(b)):]
		k.protocol, p.payload = p.protocol, b
	}
	head := 0
	switch p.protocol {
	case tcp:
		head = 20
		if offset == 0 && len(b) > 12 {
			head = max(int(b[12]>>4)*4, 20)
		}
	case udp, udpLite:
		head = 8
	case sctp, dccp:
		head = 12
	default:
		if offset == 0 {
			p.carried(b)
		}
		return
	}
	if offset != 0 {
		p.ports, p.ported = f.get(k)
		p.unread = !p.ported
		return
	}
	if len(b) < 4 {
		p.unread = true
		return
	}
	p.ports, p.ported = [2]uint16{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}, true
	p.payload = b[min(head, len(b)):]
	if more {
		f.put(k, p.ports)
	}
	if p.protocol == udp {
		p.tunnel()
	}
}

// carried parses protocols that carry packets.
func (p *packet) carried(b []byte) {
	switch p.protocol {
	case ipip, ip6in:
		p.inner = b
	case icmp4, icmp6:
		// An error quotes the packet that caused it.
		if len(b) > 8 && (p.protocol == icmp4 && (b[0] == 3 || b[0] == 4 || b[0] == 5 || b[0] == 11 || b[0] == 12) || p.protocol == icmp6 && b[0] >= 1 && b[0] <= 4) {
			p.inner = b[8:]
		}
	case gre:
		p.unread = true
		if len(b) < 4 || b[1]&7 != 0 {
			return
		}
		at := 4
		for _, bit := range []byte{0x80, 0x20, 0x10} { // checksum, key, sequence
			if b[0]&bit != 0 {
				at += 4
			}
		}
		p.carry(binary.BigEndian.Uint16(b[2:]), b[min(at, len(b)):])
	case esp:
		// Its content is encrypted, so no rule on ports or bytes applies to it.
	}
}

// carry parses the payload of an EtherType.
func (p *packet) carry(ether uint16, b []byte) {
	switch ether {
	case etherIPv4, etherIPv6:
		p.inner, p.unread = b, false
	case etherBridge:
		ip, other := behindEthernet(b)
		p.inner, p.unread = ip, ip == nil && other
	}
}

// tunnel parses tunnels over UDP, by their registered ports and the one Linux uses.
func (p *packet) tunnel() {
	b := p.payload
	switch p.ports[1] {
	case 4789, 8472: // VXLAN
		if len(b) >= 8 && b[0]&8 != 0 {
			if ip, _ := behindEthernet(b[8:]); ip != nil {
				p.inner = ip
			}
		}
	case 6081: // Geneve
		if at := 8; len(b) >= at && b[0]>>6 == 0 {
			at += int(b[0]&0x3F) * 4
			unread := p.unread
			p.carry(binary.BigEndian.Uint16(b[2:]), b[min(at, len(b)):])
			p.unread = unread
		}
	}
}

// behindEthernet finds the IP packet in a frame. If there is none, carries reports whether
// the frame may carry packets in a form that is not parsed here.
func behindEthernet(frame []byte) (ip []byte, carries bool) {
	at := 12
	for range 5 { // tags
		if at+2 > len(frame) {
			return nil, true
		}
		switch binary.BigEndian.Uint16(frame[at:]) {
		case 0x8100, 0x88A8, 0x9100:
			at += 4
		case etherIPv4, etherIPv6:
			return frame[at+2:], false
		case 0x0806, 0x8035, 0x88CC, 0x888E, 0x8809: // ARP, RARP, LLDP, 802.1X, slow protocols
			return nil, false
		case 0x8864: // PPP
			if at+10 <= len(frame) {
				switch binary.BigEndian.Uint16(frame[at+8:]) {
				case 0x21, 0x57:
					return frame[at+10:], false
				}
			}
			return nil, true
		case 0x8847, 0x8848: // MPLS: labels up to the last one, then usually IP
			for at += 2; at+4 < len(frame); at += 4 {
				if frame[at+2]&1 != 0 {
					if v := frame[at+4] >> 4; v == 4 || v == 6 {
						return frame[at+4:], false
					}
					break
				}
			}
			return nil, true
		default:
			return nil, binary.BigEndian.Uint16(frame[at:]) >= 0x600 // a lower value is a length: bridge protocols
		}
	}
	return nil, true
}
