package dns

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	lib "github.com/miekg/dns"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// value writes the data of a record, m.data[from:to], as text.
func (m *message) value(r *record, from, to int) {
	start := len(m.text)
	if !m.readValue(r, from, to) {
		m.text = appendGeneric(m.text[:start], m.data[from:to])
		if from < to && m.odd == "" { // an UPDATE has records without data
			m.odd = "invalid data in a record of type " + typeName(r.typ) + " at " + strconv.Itoa(from)
		}
		if from == to {
			m.text = m.text[:start]
		}
	}
	if len(m.text) > maxText+maxHex { // one record can be far longer as text than as bytes
		m.text, m.limited = clip.Cut(m.text, maxText+maxHex), true
	}
	r.value = span{start, len(m.text)}
}

// readValue writes types that are common or contain names; the library writes the rest.
func (m *message) readValue(r *record, from, to int) bool {
	b := m.data[from:to]
	switch r.typ {
	case typeA:
		if len(b) != 4 {
			return false
		}
		r.addr = netip.AddrFrom4([4]byte(b))
		m.text = r.addr.AppendTo(m.text)
	case typeAAAA:
		if len(b) != 16 {
			return false
		}
		r.addr = netip.AddrFrom16([16]byte(b))
		m.text = r.addr.AppendTo(m.text)
	case typeCNAME, typeNS, typePTR, typeDNAME, typeMB, typeMG, typeMR, typeMD, typeMF:
		return m.appendName(from, to) == to
	case typeMX:
		return m.numbers(from, to, 1)
	case typeSRV:
		return m.numbers(from, to, 3)
	case typeSOA:
		return m.soa(from, to)
	case typeTXT, typeSPF:
		return m.txt(b)
	case typeNULL, typeTKEY, typeTSIG, typeANY: // the library writes them as comments
		m.text = appendGeneric(m.text, b)
	default:
		return m.other(r, from, to)
	}
	return true
}

// numbers writes n 2-byte numbers and a name.
func (m *message) numbers(from, to, n int) bool {
	if to-from < 2*n+1 {
		return false
	}
	for range n {
		m.text = strconv.AppendUint(m.text, uint64(binary.BigEndian.Uint16(m.data[from:])), 10)
		m.text = append(m.text, ' ')
		from += 2
	}
	return m.appendName(from, to) == to
}

func (m *message) soa(from, to int) bool {
	for range 2 {
		if from = m.appendName(from, to); from < 0 {
			return false
		}
		m.text = append(m.text, ' ')
	}
	if to-from != 20 {
		return false
	}
	for ; from < to; from += 4 {
		m.text = strconv.AppendUint(m.text, uint64(binary.BigEndian.Uint32(m.data[from:])), 10)
		m.text = append(m.text, ' ')
	}
	m.text = m.text[:len(m.text)-1]
	return true
}

// txt writes strings in quotation marks, as in zone files.
func (m *message) txt(b []byte) bool {
	for first := true; len(b) > 0; first = false {
		n := int(b[0])
		if n >= len(b) {
			return false
		}
		if !first {
			m.text = append(m.text, ' ')
		}
		m.text = append(m.text, '"')
		m.text = append(appendEscaped(m.text, b[1:1+n], '"'), '"')
		b = b[1+n:]
	}
	return true
}

// other lets the library write a record in zone file format.
func (m *message) other(r *record, from, to int) bool {
	if lib.TypeToRR[r.typ] == nil {
		m.text = appendGeneric(m.text, m.data[from:to])
		return true
	}
	h := lib.RR_Header{Name: ".", Rrtype: r.typ, Class: r.class, Rdlength: uint16(to - from)}
	rr, end, err := lib.UnpackRRWithHeader(h, m.data[:to], from)
	if err != nil || end != to || from == to {
		return false
	}
	s, ok := strings.CutPrefix(rr.String(), rr.Header().String())
	if !ok {
		m.text = appendGeneric(m.text, m.data[from:to])
		return true
	}
	m.text = appendPrintable(m.text, s)
	return true
}

// appendPrintable removes control characters and bytes that are not UTF-8 from text that is
// already escaped.
func appendPrintable(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r < ' ' || r == 0x7f || r == utf8.RuneError && n == 1 {
			dst = appendDDD(dst, s[i])
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

// appendGeneric writes data of unknown types, RFC 3597 section 5. Data over the limit ends with
// an ellipsis.
func appendGeneric(dst, b []byte) []byte {
	dst = append(dst, `\# `...)
	dst = strconv.AppendInt(dst, int64(len(b)), 10)
	if len(b) == 0 {
		return dst
	}
	dst = append(dst, ' ')
	if len(b) > maxHex {
		return append(hex.AppendEncode(dst, b[:maxHex]), "…"...)
	}
	return hex.AppendEncode(dst, b)
}
