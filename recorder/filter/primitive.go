package filter

import (
	"fmt"
	"strconv"
	"strings"
)

// IP protocols, and OSI network layer protocol identifiers.
const (
	ipICMP   = 1
	ipIGMP   = 2
	ipTCP    = 6
	ipIGRP   = 9
	ipUDP    = 17
	ipFrag   = 44
	ipESP    = 50
	ipAH     = 51
	ipICMP6  = 58
	ipPIM    = 103
	ipVRRP   = 112
	ipSCTP   = 132
	osiCLNP  = 0x81
	osiESIS  = 0x82
	osiISIS  = 0x83
	maxPort  = 65535
	maxVLAN  = 4095
	maxLabel = 1<<20 - 1
)

// qualifier is the part before an address: ip src net. Addresses after and, or inherit it
// from the previous one.
type qualifier struct {
	given bool
	proto string // a protocol word, or empty
	dir   string // src, dst, or, and, or empty
	what  string // host, net, port, portrange, proto, or empty
	off   int
}

// ofType matches packets whose link header names the protocol.
func (p *parser) ofType(off int, proto uint32) *cond {
	if !p.known {
		return p.failLink(off)
	}
	c, msg := p.layout.ofType(proto)
	if c == nil {
		return p.fail(off, msg)
	}
	return c
}

// protocol matches a protocol keyword without qualifiers.
func (p *parser) protocol(off int, word string) *cond {
	switch word {
	case "tcp":
		return p.ipProto(off, ipTCP)
	case "udp":
		return p.ipProto(off, ipUDP)
	case "sctp":
		return p.ipProto(off, ipSCTP)
	case "pim":
		return p.ipProto(off, ipPIM)
	case "ah":
		return p.ipProto(off, ipAH)
	case "esp":
		return p.ipProto(off, ipESP)
	case "icmp":
		return p.ip4Proto(off, ipICMP)
	case "igmp":
		return p.ip4Proto(off, ipIGMP)
	case "igrp":
		return p.ip4Proto(off, ipIGRP)
	case "vrrp", "carp":
		return p.ip4Proto(off, ipVRRP)
	case "icmp6":
		return p.ip6Proto(off, ipICMP6)
	case "clnp":
		return p.osiProto(off, osiCLNP)
	case "esis":
		return p.osiProto(off, osiESIS)
	case "isis":
		return p.osiProto(off, osiISIS)
	case "ether":
		return p.fail(off, `"ether" needs host, src, dst, proto, broadcast, multicast or [offset] after it`)
	}
	if n, ok := etherTypeOf(word); ok {
		return p.ofType(off, n)
	}
	return p.isisProto(off, word)
}

func (p *parser) ipProto(off int, n uint32) *cond { return or(p.ip4Proto(off, n), p.ip6Proto(off, n)) }

func (p *parser) ip4Proto(off int, n uint32) *cond {
	return and(p.ofType(off, etherIPv4), is(p.netAt(9, 1), n))
}

// ip6Proto also looks after one fragment header.
func (p *parser) ip6Proto(off int, n uint32) *cond {
	next := p.netAt(6, 1)
	return and(p.ofType(off, etherIPv6), or(is(next, n), and(is(next, ipFrag), is(p.netAt(40, 1), n))))
}

func (p *parser) osiProto(off int, n uint32) *cond {
	switch p.inner {
	case linkFrameRelay:
		return is(p.headerAt(2, 2), 0x0300|n)
	case linkCHDLC:
		return and(p.ofType(off, sapOSI<<8|sapOSI), is(p.osiAt(1), n))
	}
	return and(p.ofType(off, sapOSI), is(p.osiAt(0), n))
}

// isisProto matches the kinds of IS-IS PDU.
func (p *parser) isisProto(off int, word string) *cond {
	const (
		hello1, hello2, helloPTP = 15, 16, 17
		lsp1, lsp2               = 18, 20
		csnp1, csnp2             = 24, 25
		psnp1, psnp2             = 26, 27
	)
	var kinds []uint32
	switch word {
	case "l1":
		kinds = []uint32{psnp1, csnp1, lsp1, hello1, helloPTP}
	case "l2":
		kinds = []uint32{psnp2, csnp2, lsp2, hello2, helloPTP}
	case "iih":
		kinds = []uint32{helloPTP, hello1, hello2}
	case "lsp":
		kinds = []uint32{lsp1, lsp2}
	case "snp":
		kinds = []uint32{psnp2, psnp1, csnp1, csnp2}
	case "csnp":
		kinds = []uint32{csnp1, csnp2}
	case "psnp":
		kinds = []uint32{psnp1, psnp2}
	}
	var cs []*cond
	for _, k := range kinds {
		cs = append(cs, and(p.osiProto(off, osiISIS), is(p.osiAt(4), k)))
	}
	return or(cs...)
}

// port matches a range of ports, of one transport or of all three.
func (p *parser) port(q qualifier, off int, low, high uint32, transport string) *cond {
	if high < low {
		low, high = high, low
	}
	if high > maxPort {
		return p.fail(off, fmt.Sprintf("port %d is out of range; the maximum is %d", high, maxPort))
	}
	if q.proto != "" {
		if transport != "" && transport != q.proto {
			return p.fail(off, fmt.Sprintf("this port name belongs to %s, not to %s", transport, q.proto))
		}
		transport = q.proto
	}
	var protos []uint32
	switch transport {
	case "tcp":
		protos = []uint32{ipTCP}
	case "udp":
		protos = []uint32{ipUDP}
	case "sctp":
		protos = []uint32{ipSCTP}
	case "":
		protos = []uint32{ipSCTP, ipTCP, ipUDP}
	default:
		return p.fail(q.off, fmt.Sprintf("%q has no ports; only tcp, udp and sctp do", q.proto))
	}
	in := func(proto *cond, at func(int, uint8) load) *cond {
		ports := directions(q.dir, func(dst bool) *cond {
			l := at(0, 2)
			if dst {
				l = at(2, 2)
			}
			if low == high && q.what == "port" {
				return is(l, low)
			}
			return and(isAtLeast(l, low), not(isAbove(l, high)))
		})
		return and(proto, ports)
	}
	var six, four []*cond
	for _, n := range protos {
		six = append(six, in(is(p.netAt(6, 1), n), p.transport6At))
		four = append(four, in(and(is(p.netAt(9, 1), n), p.firstFragment()), p.transport4At))
	}
	return or(and(p.ofType(off, etherIPv6), or(six...)), and(p.ofType(off, etherIPv4), or(four...)))
}

// firstFragment matches packets with a transport header after the IPv4 header.
func (p *parser) firstFragment() *cond { return not(hasBit(p.netAt(6, 2), 0x1fff)) }

// number matches an address that is one number: port 80, proto 6, net 10.
func (p *parser) number(q qualifier, t token) *cond {
	n := t.num
	switch q.what {
	case "port", "portrange":
		return p.port(q, t.off, n, n, "")
	case "proto":
		return p.proto(q, t.off, n)
	}
	if q.proto == "ether" {
		return p.fail(t.off, fmt.Sprintf("%s is not an Ethernet address", t.text))
	}
	mask := ^uint32(0)
	if q.what == "net" {
		for n != 0 && n>>24 == 0 {
			n, mask = n<<8, mask<<8
		}
	}
	return p.host4(q, t.off, n, mask)
}

func (p *parser) proto(q qualifier, off int, n uint32) *cond {
	switch q.proto {
	case "":
		return p.ipProto(off, n)
	case "ip":
		return p.ip4Proto(off, n)
	case "ip6":
		return p.ip6Proto(off, n)
	case "ether":
		return p.ofType(off, n)
	case "iso":
		return p.osiProto(off, n)
	case "isis":
		return and(p.osiProto(off, osiISIS), is(p.osiAt(4), n))
	}
	return p.fail(q.off, fmt.Sprintf("proto cannot follow %q; it can follow ip, ip6, ether, iso and isis", q.proto))
}

// name parses a name in the place of an address: port http, proto gre.
func (p *parser) name(q qualifier, t token) *cond {
	switch q.what {
	case "port":
		n, transport, ok := portOf(t.text)
		if !ok {
			return p.fail(t.off, fmt.Sprintf("unknown port name %q; write the number", t.text))
		}
		return p.port(q, t.off, n, n, transport)
	case "portrange":
		return p.portRange(q, t)
	case "proto":
		return p.protoName(q, t)
	}
	return p.fail(t.off, fmt.Sprintf("%q is a name, and host and network names are not looked up; write the address", t.text))
}

func (p *parser) portRange(q qualifier, t token) *cond {
	low, high, ok := strings.Cut(t.text, "-")
	a, err1 := strconv.ParseUint(low, 10, 32)
	b, err2 := strconv.ParseUint(high, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return p.fail(t.off, fmt.Sprintf("%q is not a port range; write, for example, 8000-8080", t.text))
	}
	return p.port(q, t.off, uint32(a), uint32(b), "")
}

func (p *parser) protoName(q qualifier, t token) *cond {
	var n uint32
	ok := false
	switch q.proto {
	case "", "ip", "ip6":
		n, ok = protocolOf(t.text)
	case "ether":
		n, ok = etherTypeOf(t.text)
	case "iso":
		n, ok = map[string]uint32{"esis": osiESIS, "isis": osiISIS, "clnp": osiCLNP}[t.text]
	}
	if !ok {
		return p.fail(t.off, fmt.Sprintf("unknown protocol name %q; write the number", t.text))
	}
	return p.proto(q, t.off, n)
}
