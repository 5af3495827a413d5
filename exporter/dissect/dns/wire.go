package dns

import (
	"encoding/binary"
	"strconv"

	lib "github.com/miekg/dns"
)

const headerSize = 12

// Bits of the header's second word, RFC 1035 section 4.1.1, RFC 4035 section 3.1.6.
const (
	bitQR = 1 << 15
	bitAA = 1 << 10
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitRA = 1 << 7
	bitZ  = 1 << 6
	bitAD = 1 << 5
	bitCD = 1 << 4
)

// Types that are decoded here or matter for pairing.
const (
	typeA     = 1
	typeNS    = 2
	typeMD    = 3
	typeMF    = 4
	typeCNAME = 5
	typeSOA   = 6
	typeMB    = 7
	typeMG    = 8
	typeMR    = 9
	typeNULL  = 10
	typePTR   = 12
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeNB    = 32 // of NetBIOS; NIMLOC in DNS
	typeSRV   = 33 // NBSTAT in NetBIOS
	typeDNAME = 39
	typeOPT   = 41
	typeSPF   = 99
	typeTKEY  = 249
	typeTSIG  = 250
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = 255
)

const (
	classIN   = 1
	classNONE = 254
	classANY  = 255
	classTop  = 1 << 15 // unicast response requested, or cache flush: RFC 6762 sections 5.4 and 10.2
)

const (
	opQuery  = 0
	opNotify = 4
	opUpdate = 5
)

type header struct {
	id, flags uint16
	count     [4]uint16 // questions, answers, authority, additional
}

func readHeader(b []byte) (h header) {
	h.id, h.flags = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	for i := range h.count {
		h.count[i] = binary.BigEndian.Uint16(b[4+2*i:])
	}
	return h
}

func (h *header) response() bool { return h.flags&bitQR != 0 }
func (h *header) opcode() int    { return int(h.flags>>11) & 15 }
func (h *header) rcode() int     { return int(h.flags) & 15 }

func typeName(t uint16) string {
	switch t {
	case typeA:
		return "A"
	case typeAAAA:
		return "AAAA"
	case typeCNAME:
		return "CNAME"
	case typePTR:
		return "PTR"
	case typeSRV:
		return "SRV"
	case typeTXT:
		return "TXT"
	case 0, 65535: // the library calls them None and Reserved
	default:
		if s := lib.TypeToString[t]; s != "" {
			return s
		}
	}
	return "TYPE" + strconv.Itoa(int(t))
}

func className(c uint16) string {
	if c == classIN {
		return "IN"
	}
	if s := lib.ClassToString[c]; s != "" {
		return s
	}
	return "CLASS" + strconv.Itoa(int(c))
}

func opcodeName(op int) string {
	if op == opQuery {
		return "QUERY"
	}
	if op == 6 {
		return "DSO" // RFC 8490
	}
	if s := lib.OpcodeToString[op]; s != "" {
		return s
	}
	return "OPCODE" + strconv.Itoa(op)
}

func rcodeName(rc int) string {
	switch rc {
	case 0:
		return "NOERROR"
	case 3:
		return "NXDOMAIN"
	case 16:
		return "BADVERS" // as the rcode of a message; BADSIG occurs in TSIG only
	}
	if s := lib.RcodeToString[rc]; s != "" {
		return s
	}
	return "RCODE" + strconv.Itoa(rc)
}

// skipName returns the offset after the name at off, or -1 if it is invalid. Like name, it
// follows pointers backwards only.
func skipName(b []byte, off int) int {
	next, limit, wire := -1, off, 0
	for jumps := 0; off < len(b); {
		c := int(b[off])
		switch {
		case c == 0:
			if next < 0 {
				next = off + 1
			}
			return next
		case c < 64:
			wire += c + 1
			off += c + 1
			if wire >= maxNameWire {
				return -1
			}
		case c >= 0xc0:
			if off+1 >= len(b) {
				return -1
			}
			if next < 0 {
				next = off + 2
			}
			to := (c&0x3f)<<8 | int(b[off+1])
			if jumps++; to >= limit || to < headerSize || jumps > maxPointers {
				return -1
			}
			off, limit = to, to
		default: // 01 and 10 have no meaning today
			return -1
		}
	}
	return -1
}
