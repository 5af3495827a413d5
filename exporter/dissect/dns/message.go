package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// span is a piece of a message's text.
type span struct{ from, to int }

type question struct {
	name        span
	typ, class  uint16
	unicastWish bool
}

type record struct {
	section int // 1 answer, 2 authority, 3 additional
	name    span
	typ     uint16
	class   uint16
	ttl     uint32
	ttlText span
	value   span
	addr    netip.Addr // of A and AAAA
}

type edns struct {
	seen    bool
	size    uint16
	version uint8
	ext     uint8 // upper bits of the rcode
	do      bool
	options []span
}

// message is a decoded message. It is reused: text grows in one buffer, and spans point into it.
type message struct {
	header
	data      []byte
	mdns      bool
	utf8      bool // names are text (RFC 6762 section 16, RFC 4795 section 2), else bytes
	text      []byte
	questions []question
	records   []record
	edns      edns
	end       int    // bytes decoded so far
	problem   string // the damage at end; empty if there is none
	odd       string // the problem inside a record's data
	limited   bool   // over maxText: later records are not shown
	known     [4]knownName
	nKnown    int
}

// knownName is a name that was read before, because most names of an answer are pointers to one.
type knownName struct {
	off  int
	name span
}

// read reads a message of at least headerSize bytes.
func (m *message) read(data []byte, mdns bool) {
	m.header = readHeader(data)
	m.data, m.mdns = data, mdns
	m.text, m.questions, m.records = m.text[:0], m.questions[:0], m.records[:0]
	m.edns = edns{options: m.edns.options[:0]}
	m.end, m.problem, m.odd, m.limited, m.nKnown = headerSize, "", "", false, 0
	for i := range m.count[0] {
		if !m.question() {
			m.problem = fmt.Sprintf("reading question %d of %d at %d: %s", i+1, m.count[0], m.end, m.problem)
			return
		}
	}
	for section := 1; section <= 3; section++ {
		for i := range m.count[section] {
			if !m.record(section) {
				m.problem = fmt.Sprintf("reading record %d of %d of section %d at %d: %s", i+1, m.count[section], section, m.end, m.problem)
				return
			}
		}
	}
}

func (m *message) str(s span) []byte { return m.text[s.from:s.to] }

func (m *message) question() bool {
	name, off := m.name(m.end)
	if off < 0 || off+4 > len(m.data) {
		m.fault(off)
		return false
	}
	q := question{name: name, typ: binary.BigEndian.Uint16(m.data[off:]), class: binary.BigEndian.Uint16(m.data[off+2:])}
	if m.mdns && q.class&classTop != 0 {
		q.unicastWish, q.class = true, q.class&^classTop
	}
	if m.full() {
		m.limited = true
	} else {
		m.questions = append(m.questions, q)
	}
	m.end = off + 4
	return true
}

// fault records why a name, or the fields after it, could not be read.
func (m *message) fault(off int) {
	if off < 0 {
		m.problem = "invalid name"
	} else {
		m.problem = "the message ends within it"
	}
}

func (m *message) full() bool { return len(m.text) > maxText }

func (m *message) record(section int) bool {
	if m.full() { // continue without text, so that the end of the message is still checked
		m.limited = true
		return m.skipRecord()
	}
	name, off := m.name(m.end)
	if off < 0 || off+10 > len(m.data) {
		m.fault(off)
		return false
	}
	r := record{section: section, name: name, typ: binary.BigEndian.Uint16(m.data[off:]),
		class: binary.BigEndian.Uint16(m.data[off+2:]), ttl: binary.BigEndian.Uint32(m.data[off+4:])}
	size := int(binary.BigEndian.Uint16(m.data[off+8:]))
	off += 10
	if size > len(m.data)-off {
		m.problem = fmt.Sprintf("the data needs %d bytes, only %d remain", size, len(m.data)-off)
		return false
	}
	m.end = off + size
	if r.typ == typeOPT && section == 3 {
		m.opt(r.class, r.ttl, m.data[off:m.end])
		return true
	}
	if m.mdns {
		r.class &^= classTop
	}
	if section == 1 {
		at := len(m.text)
		m.text = strconv.AppendUint(m.text, uint64(r.ttl), 10)
		r.ttlText = span{at, len(m.text)}
	}
	m.value(&r, off, m.end)
	m.records = append(m.records, r)
	return true
}

func (m *message) skipRecord() bool {
	off := skipName(m.data, m.end)
	if off < 0 || off+10 > len(m.data) {
		m.fault(off)
		return false
	}
	size := int(binary.BigEndian.Uint16(m.data[off+8:]))
	if off += 10 + size; off > len(m.data) {
		m.problem = fmt.Sprintf("the data needs %d bytes, only %d remain", size, len(m.data)-off+size)
		return false
	}
	m.end = off
	return true
}

// name reads the name at off into the text, without the last dot, and returns the offset after
// it, or -1 if it is invalid. Dots and backslashes inside labels are escaped with a backslash;
// control characters and bytes above 0x7e become \DDD (RFC 1035 section 5.1). In multicast DNS
// and LLMNR, valid UTF-8 is not escaped.
func (m *message) name(off int) (span, int) {
	if off+1 < len(m.data) && m.data[off] >= 0xc0 {
		to := int(m.data[off]&0x3f)<<8 | int(m.data[off+1])
		for i := range m.nKnown {
			if m.known[i].off == to {
				return m.known[i].name, off + 2
			}
		}
	}
	start := len(m.text)
	next := m.appendName(off, len(m.data))
	if next < 0 {
		m.text = m.text[:start]
		return span{}, -1
	}
	s := span{start, len(m.text)}
	if m.nKnown < len(m.known) {
		m.known[m.nKnown] = knownName{off, s}
		m.nKnown++
	}
	return s, next
}

// appendName is name for a part of the message that ends at end; pointers may lead outside it.
func (m *message) appendName(off, end int) int {
	b, next, limit, wire, first := m.data[:end], -1, off, 0, true
	for jumps := 0; off < len(b); {
		c := int(b[off])
		switch {
		case c == 0:
			if first {
				m.text = append(m.text, '.')
			}
			if next < 0 {
				next = off + 1
			}
			return next
		case c < 64:
			if wire += c + 1; wire >= maxNameWire || off+1+c > len(b) {
				return -1
			}
			if !first {
				m.text = append(m.text, '.')
			}
			first = false
			m.text = appendLabel(m.text, b[off+1:off+1+c], m.utf8)
			off += c + 1
		case c >= 0xc0:
			if off+1 >= len(b) {
				return -1
			}
			if next < 0 {
				next = off + 2
			}
			to := (c&0x3f)<<8 | int(b[off+1])
			// Pointers must lead backwards, before the name itself, which excludes loops.
			if jumps++; to >= limit || to < headerSize || jumps > maxPointers {
				return -1
			}
			off, limit = to, to
		default:
			return -1
		}
	}
	return -1
}

func appendLabel(dst, label []byte, text bool) []byte {
	plain := true
	for _, c := range label {
		if c <= ' ' || c >= 0x7f || c == '.' || c == '\\' {
			plain = false
			break
		}
	}
	if plain {
		return append(dst, label...)
	}
	if text {
		return appendEscaped(dst, label, '.')
	}
	for _, c := range label {
		switch {
		case c == '.' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c >= 0x7f:
			dst = appendDDD(dst, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendEscaped writes text as in zone files: special characters and bytes that are not UTF-8
// are escaped (RFC 1035 section 5.1).
func appendEscaped(dst, b []byte, special byte) []byte {
	for len(b) > 0 {
		c := b[0]
		switch {
		case c == special || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == 0x7f:
			dst = appendDDD(dst, c)
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(b)
			if r == utf8.RuneError && n == 1 {
				dst = appendDDD(dst, c)
			} else {
				dst = append(dst, b[:n]...)
				b = b[n:]
				continue
			}
		default:
			dst = append(dst, c)
		}
		b = b[1:]
	}
	return dst
}

func appendDDD(dst []byte, c byte) []byte {
	return append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}
