package icmp

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp/wire"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// reader reads one message into a row.
type reader struct {
	cursor.Cursor
	row *Row
	v6  bool
	bad bool // lengths inside the message contradict each other
}

// pairKey has the fields that a request and its reply share.
func (m *reader) pairKey(k kind) uint64 {
	if !k.sequence { // RFC 4620 section 4: the nonce
		m.Skip(4)
		return m.Uint64()
	}
	id := uint64(m.Uint16()) << 16
	if k.short {
		return id | uint64(m.Uint8())
	}
	return id | uint64(m.Uint16())
}

func (m *reader) address() table.Opt[string] {
	n := 4
	if m.v6 {
		n = 16
	}
	a, ok := netip.AddrFromSlice(m.Bytes(n))
	if !ok {
		return table.Opt[string]{}
	}
	return table.Some(a.String())
}

// message reads the fields after the checksum.
func (m *reader) message(typ, code uint8) {
	if m.v6 {
		m.message6(typ)
		return
	}
	row := m.row
	switch typ {
	case wire.Unreachable4, wire.Exceeded4, wire.Parameter4, quench4:
		first, words := m.Uint8(), int(m.Uint8()) // RFC 4884 section 4
		second := m.Uint16()
		if typ == wire.Parameter4 && code == 0 && !m.Short() {
			row.Pointer = table.Some(int64(first))
		}
		if typ == wire.Unreachable4 && code == wire.FragmentationNeeded4 && second > 0 { // RFC 1191 section 4
			row.MTU = table.Some(int64(second))
		}
		if typ == quench4 {
			words = 0
		}
		m.extended(words * 4)
	case redirect4:
		row.Gateway = m.address()
		m.quote(m.Rest())
	case routerAdv4:
		count, size := int(m.Uint8()), m.Uint8()
		row.Lifetime = table.Some(int64(m.Uint16()))
		if count > 0 && size >= 1 {
			row.Gateway = m.address()
		}
	}
}

func (m *reader) message6(typ uint8) {
	row := m.row
	switch typ {
	case wire.Unreachable6, wire.Exceeded6:
		words := int(m.Uint8())
		m.Skip(3)
		m.extended(words * 8)
	case wire.TooBig6:
		row.MTU = table.Some(int64(m.Uint32()))
		m.quote(m.Rest())
	case wire.Parameter6:
		row.Pointer = table.Some(int64(m.Uint32()))
		m.quote(m.Rest())
	case listenQuery6, listenRep6, listenDone6:
		m.Skip(4)
		if g := m.address(); g.OK {
			row.Groups = []string{g.V}
		}
	case listenRep26:
		m.Skip(2)
		m.groups(int(m.Uint16()))
	default:
		m.neighbor(typ)
	}
}

// groups reads the records of RFC 3810 section 5.2.
func (m *reader) groups(n int) {
	row := m.row
	for i := 0; i < n && !m.Short(); i++ {
		typ, extra, sources := m.Uint8(), int(m.Uint8()), int(m.Uint16())
		g := m.address()
		m.Skip(16*sources + 4*extra)
		if m.Short() || len(row.Groups) >= maxList {
			continue
		}
		row.Groups = append(row.Groups, g.V)
		row.GroupActions = append(row.GroupActions, action(typ))
	}
}

func action(typ uint8) string {
	switch typ {
	case 1:
		return "is_include"
	case 2:
		return "is_exclude"
	case 3:
		return "to_include"
	case 4:
		return "to_exclude"
	case 5:
		return "allow_new_sources"
	case 6:
		return "block_old_sources"
	}
	return "type_" + strconv.Itoa(int(typ))
}

// neighbor reads the messages of RFC 4861 section 4.
func (m *reader) neighbor(typ uint8) {
	row := m.row
	switch typ {
	case routerSol6:
		m.Skip(4)
	case routerAdv6:
		m.Skip(1)
		m.flags(m.Uint8(), "managed", "other", "home_agent")
		row.Lifetime = table.Some(int64(m.Uint16()))
		m.Skip(8)
	case neighSol6:
		m.Skip(4)
		row.Target = m.address()
	case neighAdv6:
		m.flags(m.Uint8(), "router", "solicited", "override")
		m.Skip(3)
		row.Target = m.address()
	case redirect6:
		m.Skip(4)
		row.Gateway = m.address()
		row.Target = m.address()
	default:
		return
	}
	m.options()
}

func (m *reader) flags(b uint8, names ...string) {
	for i, n := range names {
		if b&(0x80>>i) != 0 {
			m.row.Flags = append(m.row.Flags, n)
		}
	}
}

// options reads the options of neighbor discovery.
func (m *reader) options() {
	for m.Left() > 0 && !m.Short() {
		typ, units := m.Uint8(), int(m.Uint8())
		if m.Short() {
			return
		}
		if units == 0 { // RFC 4861 section 4.6: such a message must be dropped
			m.bad = true
			return
		}
		b := m.Bytes(8*units - 2)
		if m.Short() {
			return
		}
		m.option(typ, b)
	}
}

func (m *reader) option(typ uint8, b []byte) {
	row := m.row
	c := cursor.New(b)
	switch typ {
	case 1, 2:
		if len(b) == 6 { // Ethernet and similar link layers
			row.LinkAddress = table.Some(net.HardwareAddr(b).String())
		} else {
			row.LinkAddress = table.Some(hex.EncodeToString(b[:min(len(b), maxHex)]))
		}
	case 3:
		bits := int(c.Uint8())
		c.Skip(13)
		m.prefix("prefix", c.Bytes(16), bits)
	case 4:
		c.Skip(6)
		m.quote(c.Rest())
	case 5:
		c.Skip(2)
		row.MTU = table.Some(int64(c.Uint32()))
	case 14:
		m.list("nonce", b)
	case 24: // RFC 4191 section 2.3: the prefix may be shorter than an address
		bits := int(c.Uint8())
		c.Skip(5)
		var p [16]byte
		copy(p[:], c.Rest())
		m.prefix("route", p[:], bits)
	case 25:
		c.Skip(6)
		for c.Left() >= 16 {
			m.add("rdnss=" + netip.AddrFrom16([16]byte(c.Bytes(16))).String())
		}
	case 31:
		c.Skip(6)
		m.list("dnssl", c.Rest())
	default:
		m.list("option"+strconv.Itoa(int(typ)), b)
	}
	m.bad = m.bad || c.Short()
}

func (m *reader) prefix(name string, b []byte, bits int) {
	if len(b) != 16 || bits > 128 {
		m.bad = true
		return
	}
	m.add(name + "=" + netip.PrefixFrom(netip.AddrFrom16([16]byte(b)), bits).String())
}

// list adds an option as hexadecimal digits.
func (m *reader) list(name string, b []byte) {
	m.add(name + "=" + hex.EncodeToString(b[:min(len(b), maxHex)]))
}

func (m *reader) add(s string) {
	if len(m.row.Options) < maxList {
		m.row.Options = append(m.row.Options, s)
	}
}

// oldQuote is the length of the quoted packet if a router without the length field appends
// extension objects, RFC 4884 section 5.5.
const oldQuote = 128

// oldExtension reports whether extension objects follow a quoted packet without a length.
// Version and checksum must be correct, because any packet may be that long.
func (m *reader) oldExtension() bool {
	const header, object = 4, 4
	b := m.Rest()
	if len(b) < oldQuote+header+object {
		return false
	}
	b = b[oldQuote:]
	return b[0]>>4 == 2 && b[2]|b[3] != 0 && checksum(b) == 0xffff
}

// extended reads a quoted packet of size bytes and the extension objects after it. If size is 0,
// the rest is the packet, unless old extension objects follow it.
func (m *reader) extended(size int) {
	if size == 0 && m.oldExtension() {
		size = oldQuote
	}
	if size == 0 || size > m.Left() {
		m.bad = m.bad || size > m.Left()
		m.quote(m.Rest())
		return
	}
	m.quote(m.Bytes(size))
	if m.Left() == 0 {
		return
	}
	if m.Uint8()>>4 != 2 { // RFC 4884 section 7
		m.bad = true
		return
	}
	m.Skip(3)
	for m.Left() > 0 && !m.Short() {
		n, class, ctype := int(m.Uint16()), int(m.Uint8()), int(m.Uint8())
		if n < 4 {
			m.bad = true
			return
		}
		b := m.Bytes(n - 4)
		if m.Short() {
			return
		}
		if class == 1 && ctype == 1 { // RFC 4950 section 3
			m.labels(b)
		} else {
			m.list("object"+strconv.Itoa(class)+"."+strconv.Itoa(ctype), b)
		}
	}
}

// labels adds an MPLS label stack: label, traffic class, bottom of stack, time to live.
func (m *reader) labels(b []byte) {
	c := cursor.New(b)
	for c.Left() >= 4 {
		v := c.Uint32()
		m.add("mpls=" + strconv.Itoa(int(v>>12)) + "/" + strconv.Itoa(int(v>>9&7)) + "/" + strconv.Itoa(int(v>>8&1)) + "/" + strconv.Itoa(int(v&0xff)))
	}
}
