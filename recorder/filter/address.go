package filter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// id parses one address or several, all with the qualifiers q.
func (p *parser) id(q qualifier) *cond {
	if !p.enter() {
		return always(false)
	}
	defer p.leave()
	t := p.at()
	switch {
	case t.is("!"):
		p.next()
		return not(p.id(q))
	case t.is("("):
		p.next()
		c := p.id(q)
		for p.err == nil {
			op, ok := p.accept("&&", "||")
			if !ok {
				break
			}
			if op.text == "&&" {
				c = and(c, p.id(q))
			} else {
				c = or(c, p.id(q))
			}
		}
		p.expect(")")
		return c
	}
	p.next()
	if !q.given && p.isAddress(t) {
		return p.fail(t.off, fmt.Sprintf("%v needs a qualifier before it, such as host, net or port", t))
	}
	return p.address(q, t)
}

func (p *parser) isAddress(t token) bool {
	return t.kind != tokKeyword && t.kind != tokOp && t.kind != tokEnd
}

func (p *parser) address(q qualifier, t token) *cond {
	switch t.kind {
	case tokNumber:
		return p.number(q, t)
	case tokIPv4:
		return p.address4(q, t)
	case tokIPv6:
		return p.address6(q, t)
	case tokMAC:
		return p.hostMAC(q, t)
	case tokName:
		return p.name(q, t)
	}
	msg := fmt.Sprintf("%v is not an address, port or protocol", t)
	if t.kind == tokKeyword && q.what == "proto" {
		msg += fmt.Sprintf("; to use the keyword as a name, write \\%s", t.text)
	}
	return p.fail(t.off, msg)
}

// dotted parses the two to four numbers of an IPv4 address and counts the bits they define.
func dotted(s string) (addr uint32, bits int, ok bool) {
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || bits == 32 {
			return 0, 0, false
		}
		addr, bits = addr<<8|uint32(n), bits+8
	}
	return addr << (32 - bits), bits, true
}

func (p *parser) address4(q qualifier, t token) *cond {
	addr, bits, ok := dotted(t.text)
	if !ok {
		return p.fail(t.off, fmt.Sprintf("%s is not an IPv4 address", t.text))
	}
	if among(" port portrange proto ", q.what) && q.what != "" {
		return p.fail(t.off, fmt.Sprintf("%s is an address, but %s needs a number or a name", t.text, q.what))
	}
	mask, masked := prefixMask(bits), false
	switch {
	case p.at().is("/") && p.peek(1).kind == tokNumber:
		p.next()
		n := p.next()
		if n.num > 32 {
			return p.fail(n.off, fmt.Sprintf("the prefix has %d bits; the maximum is 32", n.num))
		}
		mask, masked = prefixMask(int(n.num)), true
	case p.at().is("mask"):
		p.next()
		m := p.next()
		if mask, _, ok = dotted(m.text); m.kind != tokIPv4 || !ok {
			return p.fail(m.off, fmt.Sprintf("%v is not an IPv4 mask", m))
		}
		masked = true
	}
	switch {
	case masked && q.what != "net":
		return p.fail(t.off, "a prefix or mask needs net before the address")
	case addr&^mask != 0:
		return p.fail(t.off, fmt.Sprintf("%s has bits set beyond its mask", t.text))
	case q.proto == "ether":
		return p.fail(t.off, fmt.Sprintf("%s is not an Ethernet address", t.text))
	}
	return p.host4(q, t.off, addr, mask)
}

func (p *parser) address6(q qualifier, t token) *cond {
	addr, err := netip.ParseAddr(t.text)
	if err != nil {
		return p.fail(t.off, fmt.Sprintf("%s is not an IPv6 address", t.text))
	}
	bits := 128
	if p.at().is("/") && p.peek(1).kind == tokNumber {
		p.next()
		n := p.next()
		if n.num > 128 {
			return p.fail(n.off, fmt.Sprintf("the prefix has %d bits; the maximum is 128", n.num))
		}
		bits = int(n.num)
	}
	prefix := netip.PrefixFrom(addr, bits)
	switch {
	case q.what == "port" || q.what == "portrange" || q.what == "proto":
		return p.fail(t.off, fmt.Sprintf("%s is an address, but %s needs a number or a name", t.text, q.what))
	case bits != 128 && q.what != "net":
		return p.fail(t.off, "a prefix needs net before the address")
	case prefix.Masked().Addr() != addr:
		return p.fail(t.off, fmt.Sprintf("%s has bits set beyond its prefix", t.text))
	}
	return p.host6(q, t.off, prefix)
}

// directions joins the conditions for source and destination according to the qualifier.
func directions(dir string, one func(dst bool) *cond) *cond {
	switch dir {
	case "src":
		return one(false)
	case "dst":
		return one(true)
	case "and":
		return and(one(false), one(true))
	}
	return or(one(false), one(true))
}

// host4 matches an IPv4 address or network in IP, ARP and RARP headers.
func (p *parser) host4(q qualifier, off int, addr, mask uint32) *cond {
	in := func(proto uint32, src, dst int) *cond {
		return directions(q.dir, func(isDst bool) *cond {
			at := src
			if isDst {
				at = dst
			}
			return and(p.ofType(off, proto), is(p.netAt(at, 4).masked(mask), addr))
		})
	}
	switch q.proto {
	case "ip":
		return in(etherIPv4, 12, 16)
	case "arp":
		return in(etherARP, 14, 24)
	case "rarp":
		return in(etherRARP, 14, 24)
	case "":
		c := in(etherIPv4, 12, 16)
		if p.labels > 0 {
			return c
		}
		return or(c, in(etherARP, 14, 24), in(etherRARP, 14, 24))
	}
	return p.fail(q.off, fmt.Sprintf("%q cannot have an IPv4 address; only ip, arp and rarp can", q.proto))
}

func (p *parser) host6(q qualifier, off int, addr netip.Prefix) *cond {
	if q.proto != "" && q.proto != "ip6" {
		return p.fail(q.off, fmt.Sprintf("%q cannot have an IPv6 address; only ip6 can", q.proto))
	}
	want := addr.Addr().As16()
	return directions(q.dir, func(isDst bool) *cond {
		at := 8
		if isDst {
			at = 24
		}
		cs := []*cond{p.ofType(off, etherIPv6)}
		for i := 0; i < 16; i += 4 {
			mask := prefixMask(addr.Bits() - 8*i)
			cs = append(cs, is(p.netAt(at+i, 4).masked(mask), be32(want[i:])))
		}
		return and(cs...)
	})
}

// prefixMask has the first n bits set: all for n above 32, none for n below 0.
func prefixMask(n int) uint32 {
	return ^uint32(0) << (32 - min(max(n, 0), 32))
}

func (p *parser) hostMAC(q qualifier, t token) *cond {
	mac, _ := parseMAC(t.text)
	if q.proto != "ether" || q.what != "host" && q.what != "" {
		return p.fail(t.off, fmt.Sprintf("%s is an Ethernet address; write ether host, ether src or ether dst before it", t.text))
	}
	if c := p.needEthernet(t.off, "an Ethernet address"); c != nil {
		return c
	}
	return directions(q.dir, func(isDst bool) *cond { return p.macIs(isDst, mac[:]) })
}
