package filter

import (
	"fmt"
	"strings"
)

// needEthernet returns nil for links with six-byte addresses.
func (p *parser) needEthernet(off int, what string) *cond {
	switch p.inner {
	case linkEthernet, linkFDDI, linkTokenRing:
		return nil
	}
	if !p.known {
		return p.failLink(off)
	}
	return p.fail(off, fmt.Sprintf("packets of link type %d do not have %s", p.inner, strings.TrimPrefix(what, "an ")))
}

func (p *parser) macIs(dst bool, mac []byte) *cond {
	at := p.macAt()
	if !dst {
		at += 6
	}
	return areBytes(p.headerAt, at, mac)
}

// macAt is the offset of the destination address in the link header.
func (p *parser) macAt() int {
	switch p.inner {
	case linkFDDI:
		return 1
	case linkTokenRing:
		return 2
	}
	return 0
}

// vlan matches a tag and moves the layout after it.
func (p *parser) vlan(off int, id *token) *cond {
	if p.labels > 0 {
		return p.fail(off, "vlan cannot follow mpls")
	}
	if !p.known {
		return p.failLink(off)
	}
	if p.inner != linkEthernet {
		return p.fail(off, fmt.Sprintf("vlan needs Ethernet packets, not link type %d", p.inner))
	}
	c := or(p.ofType(off, etherVLAN), p.ofType(off, etherQinQ), p.ofType(off, etherQinQOld))
	if id != nil {
		if id.num > maxVLAN {
			return p.fail(id.off, fmt.Sprintf("VLAN %d is out of range; the maximum is %d", id.num, maxVLAN))
		}
		c = and(c, is(p.llcAt(0, 2).masked(maxVLAN), id.num))
	}
	p.payload += 4
	p.typeAt += 4
	return c
}

// mpls matches a label and moves the layout after it.
func (p *parser) mpls(off int, label *token) *cond {
	var c *cond
	switch {
	case !p.known:
		return p.failLink(off)
	case p.labels > 0:
		c = is(p.netAt(-2, 1).masked(1), 0)
	case p.inner == linkEthernet || p.inner == linkCHDLC:
		c = p.ofType(off, etherMPLS)
	case p.inner == linkPPP:
		c = p.ofType(off, 0x281)
	default:
		return p.fail(off, fmt.Sprintf("mpls needs Ethernet, PPP or HDLC packets, not link type %d", p.inner))
	}
	if label != nil {
		if label.num > maxLabel {
			return p.fail(label.off, fmt.Sprintf("MPLS label %d is out of range; the maximum is %d", label.num, maxLabel))
		}
		c = and(c, is(p.netAt(0, 4).masked(0xfffff000), label.num<<12))
	}
	p.net += 4
	p.netOSI += 4
	p.labels++
	return c
}

// pppoes matches a PPPoE session and moves the layout to the PPP header in it.
func (p *parser) pppoes(off int, session *token) *cond {
	c := p.ofType(off, etherPPPoES)
	if session != nil {
		if session.num > 0xffff {
			return p.fail(session.off, fmt.Sprintf("PPPoE session %d is out of range; the maximum is %d", session.num, 0xffff))
		}
		c = and(c, is(p.netAt(0, 4).masked(0xffff), session.num))
	}
	p.header = p.payload + p.net + 6
	p.typeAt, p.payload = p.header, p.header+2
	p.net, p.netOSI = 0, 0
	p.inner = linkPPP
	return c
}

// broadcast and multicast compare the destination of the link or of IP. A capture does not
// contain the netmask of the network, so ip broadcast matches only all ones and all zeros.
func (p *parser) broadcast(off int, word string) *cond {
	switch word {
	case "", "ether":
		if p.inner == linkArcnet || p.inner == linkArcnetLinux {
			return is(p.headerAt(1, 1), 0)
		}
		if c := p.needEthernet(off, "broadcast addresses"); c != nil {
			return c
		}
		return p.macIs(true, []byte{255, 255, 255, 255, 255, 255})
	case "ip":
		at := p.netAt(16, 4)
		return and(p.ofType(off, etherIPv4), or(is(at, 0), is(at, 0xffffffff)))
	}
	return p.fail(off, fmt.Sprintf("%q has no broadcast; only ether and ip do", word))
}

func (p *parser) multicast(off int, word string) *cond {
	switch word {
	case "", "ether":
		if p.inner == linkArcnet || p.inner == linkArcnetLinux {
			return is(p.headerAt(1, 1), 0)
		}
		if c := p.needEthernet(off, "multicast addresses"); c != nil {
			return c
		}
		return hasBit(p.headerAt(p.macAt(), 1), 1)
	case "ip":
		return and(p.ofType(off, etherIPv4), isAtLeast(p.netAt(16, 1), 224))
	case "ip6":
		return and(p.ofType(off, etherIPv6), is(p.netAt(24, 1), 255))
	}
	return p.fail(off, fmt.Sprintf("%q has no multicast; only ether, ip and ip6 do", word))
}

// direction reads the direction that some link types keep in their header.
func (p *parser) direction(off int, outbound bool) *cond {
	if !p.known {
		return p.failLink(off)
	}
	var c *cond
	switch p.inner {
	case linkSLL:
		c = is(p.headerAt(0, 2), 4)
	case linkSLL2:
		c = is(p.headerAt(10, 1), 4)
	case linkPPPD:
		if !outbound {
			return is(p.headerAt(0, 1), 0)
		}
		return is(p.headerAt(0, 1), 1)
	case linkSLIP:
		c = not(is(p.headerAt(0, 1), 0))
	default:
		return p.fail(off, fmt.Sprintf("packets of link type %d have no direction; inbound and outbound need Linux cooked packets, pppd or SLIP", p.inner))
	}
	if !outbound {
		return not(c)
	}
	return c
}
