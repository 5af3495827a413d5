package dns

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	maxQuestions = 64 // most questions in a multicast message that detection accepts
	minQuestion  = 5  // bytes of a question: root, type and class
	minRecord    = 11 // bytes of a record without data
)

// detect recognizes a datagram, and a stream by its length word and first message.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) >= headerSize && plausible(dir, head, true) {
		return dissect.Likely
	}
	return detectStream(dir, head)
}

func detectStream(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < 2 {
		return dissect.More
	}
	n := int(binary.BigEndian.Uint16(head))
	if n < headerSize+minQuestion {
		return dissect.No
	}
	msg := head[2:]
	whole := len(msg) >= n
	if whole {
		msg = msg[:n]
	}
	if len(msg) < headerSize {
		return dissect.More
	}
	if !plausibleHeader(dir, readHeader(msg), n) {
		return dissect.No
	}
	if whole {
		return dissect.Likely.If(plausible(dir, msg, true))
	}
	if readHeader(msg).count[0] > 0 && plausible(dir, msg, false) {
		return dissect.Likely
	}
	if len(msg) < headerSize+maxNameWire+4 {
		return dissect.More
	}
	return dissect.No
}

// plausibleHeader checks the first words of a message of n bytes. It rejects a response from the
// client's side, so that the engine swaps the sides, unless the response looks like a multicast
// announcement.
func plausibleHeader(dir dissect.Dir, h header, n int) bool {
	qd, an, ns, ar := int(h.count[0]), int(h.count[1]), int(h.count[2]), int(h.count[3])
	op := h.opcode()
	if op > opUpdate || op == 3 || h.flags&bitZ != 0 || headerSize+qd*minQuestion+(an+ns+ar)*minRecord > n {
		return false
	}
	group := h.id == 0 // RFC 6762 section 18.1
	if qd > 1 && (!group || qd > maxQuestions) {
		return false
	}
	if h.response() {
		return h.rcode() <= 11 && (dir == dissect.ToClient || group && qd == 0) && (qd == 1 || an > 0)
	}
	carries := group || op == opUpdate || op == opNotify
	return dir == dissect.ToServer && h.rcode() == 0 && h.flags&bitRA == 0 && qd >= 1 && (an == 0 || carries) && (ns <= 1 || carries) && (ar <= 4 || carries)
}

// plausible checks a message; whole means that all of it is present.
func plausible(dir dissect.Dir, b []byte, whole bool) bool {
	h := readHeader(b)
	if whole && !plausibleHeader(dir, h, len(b)) {
		return false
	}
	off := headerSize
	for range h.count[0] {
		if off = plausibleQuestion(b, off); off < 0 {
			return false
		}
	}
	if !whole {
		return true
	}
	for range int(h.count[1]) + int(h.count[2]) + int(h.count[3]) {
		if off = plausibleRecord(b, off); off < 0 {
			return false
		}
	}
	return off == len(b)
}

func plausibleQuestion(b []byte, off int) int {
	at := off
	if off = skipName(b, off); off < 0 || off+4 > len(b) {
		return -1
	}
	t, class := binary.BigEndian.Uint16(b[off:]), binary.BigEndian.Uint16(b[off+2:])
	if t == 0 || !knownClass(class&^classTop) || isNetBIOS(t, b[at:]) {
		return -1
	}
	return off + 4
}

func plausibleRecord(b []byte, off int) int {
	at := off
	if off = skipName(b, off); off < 0 || off+10 > len(b) {
		return -1
	}
	t, class := binary.BigEndian.Uint16(b[off:]), binary.BigEndian.Uint16(b[off+2:])
	options := t == typeOPT || t == 0 && b[at] == 0 // clients of DNSCrypt write their padding with type 0
	if !options && (t == 0 || !knownClass(class&^classTop)) || isNetBIOS(t, b[at:]) {
		return -1
	}
	off += 10 + int(binary.BigEndian.Uint16(b[off+8:]))
	if off > len(b) {
		return -1
	}
	return off
}

func knownClass(c uint16) bool {
	return c >= 1 && c <= 4 || c == classNONE || c == classANY
}

// isNetBIOS reports whether a record belongs to the NetBIOS name service: by its own type, which
// DNS does not use in practice, or by another one with a label in the half-byte coding of RFC
// 1001 section 14.1, possibly damaged.
func isNetBIOS(typ uint16, name []byte) bool {
	if typ == typeNB {
		return true
	}
	if typ != typeSRV && typ != typeNULL || len(name) < 33 || name[0] != 32 {
		return false
	}
	coded := 0
	for _, c := range name[1:33] {
		if c >= 'A' && c <= 'P' {
			coded++
		}
	}
	return coded >= 24
}

// detectOnPort accepts, on DNS's own ports, bytes that match no other protocol: a message with a
// readable header or first question.
func detectOnPort(_ dissect.Dir, head []byte) dissect.Verdict {
	if damaged(head) {
		return dissect.Yes
	}
	if len(head) > 2 {
		if n := int(binary.BigEndian.Uint16(head)); n >= headerSize && damaged(head[2:min(2+n, len(head))]) {
			return dissect.Yes
		}
	}
	return dissect.No
}

func damaged(b []byte) bool {
	if len(b) < headerSize {
		return false
	}
	h := readHeader(b)
	if h.count[0] > 0 {
		if end := skipName(b, headerSize); end > 0 && end+4 <= len(b) && knownClass(binary.BigEndian.Uint16(b[end+2:])&^classTop) {
			return true
		}
	}
	// Real messages have small counts; other data has counts of any size.
	small := 0
	for _, n := range h.count {
		if n <= 255 {
			small++
		}
	}
	return small == 4 || small == 3 && h.opcode() <= 6
}
