package tds

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
)

// Bytes of a packet that detection waits for.
const (
	enough    = 60 // of a request
	maxDetect = 4 << 10
)

// detect accepts the first packet of a message whose content is of its type.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) > 0 && head[0] == smp {
		return detectSMP(dir, head)
	}
	for i, c := range head[:min(len(head), headSize)] {
		_, request := requestTypes[c]
		switch {
		case i == 0 && dir == dissect.ToServer && !request, i == 0 && dir == dissect.ToClient && c != typeResponse && c != typePrelogin,
			i == 1 && (c > maxStatus || c&^eom != 0 && dir == dissect.ToClient),
			i == 2 && c > maxPacket>>8+1, i == 7 && c != 0:
			return dissect.No
		}
	}
	if len(head) < headSize {
		return dissect.More
	}
	size, err := packetSize(dir, head)
	if err != nil || size == headSize {
		return dissect.No
	}
	if dir == dissect.ToServer && len(head) < min(size, enough) || dir == dissect.ToClient && len(head) < min(size, maxDetect) {
		return dissect.More
	}
	payload := head[headSize:min(size, len(head))]
	last := head[1]&eom != 0
	switch {
	case head[0] == typePrelogin && isRecord(payload):
		return dissect.Likely
	case dir == dissect.ToServer:
		return detectRequest(head[0], payload, size-headSize, last)
	}
	return detectResponse(payload, last && len(head) >= size)
}

// detectSMP examines a packet of SMP with a packet of TDS in it.
func detectSMP(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < smpSize {
		if len(b) > 1 && (b[1] == 0 || b[1] > smpFlags) {
			return dissect.No
		}
		return dissect.More
	}
	flags, size := b[1], int64(binary.LittleEndian.Uint32(b[4:]))
	if flags != smpSyn && flags != 2 && flags != smpFin && flags != smpData || flags != smpData && size != smpSize {
		return dissect.No
	}
	if flags != smpData {
		if len(b) == smpSize {
			return dissect.More
		}
		return detect(dir, b[smpSize:])
	}
	if len(b) < smpSize+headSize {
		return dissect.More
	}
	if n, err := packetSize(dir, b[smpSize:]); err != nil || int64(n)+smpSize != size {
		return dissect.No
	}
	return detect(dir, b[smpSize:])
}

// detectRequest examines the beginning of a request; its packet has size bytes.
func detectRequest(kind byte, b []byte, size int, last bool) dissect.Verdict {
	n := headersSize(b)
	switch kind {
	case typePrelogin:
		return dissect.Yes.If(last && areOptions(b, size))
	case typeLogin:
		if size < loginSize-8 {
			return dissect.No
		}
		length, version := int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))
		return dissect.Yes.If(tables()["version"][version] != "" && (length == int64(size) || !last && length > int64(size) && length < maxRead))
	case typeBatch:
		ok := isText(b[n:])
		if n > 0 {
			return dissect.Yes.If(ok)
		}
		return dissect.Likely.If(ok && sqltext.Verb(wide(b, maxText)) != "")
	case typeRPC:
		ok := isProcedure(b[n:], len(b) < size)
		if n > 0 {
			return dissect.Yes.If(ok)
		}
		return dissect.Likely.If(ok)
	case typeTransaction:
		return dissect.Yes.If(n > 0 && len(b) >= n+2 && tables()["transaction"][int64(b[n])] != "" && b[n+1] == 0)
	case typeSSPI:
		return dissect.Likely.If(integrated(b) == "ntlm")
	}
	return dissect.No
}

// areOptions reports whether b begins with a list of options of PRELOGIN, in a message of size bytes.
func areOptions(b []byte, size int) bool {
	for at := 0; at < len(b); at += 5 {
		if b[at] == optEnd {
			return at > 0
		}
		if len(b) < at+5 || b[at] > maxOption || (at == 0) != (b[at] == optVersion) {
			return false
		}
		offset, n := int(binary.BigEndian.Uint16(b[at+1:])), int(binary.BigEndian.Uint16(b[at+3:]))
		if offset <= at+5 || offset+n > size || at == 0 && n != versionSize {
			return false
		}
	}
	return false
}

// isText reports whether b begins with text in UTF-16.
func isText(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	for i := 0; i+1 < min(len(b), 64); i += 2 {
		c := rune(binary.LittleEndian.Uint16(b[i:]))
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c >= 0x7f && i < 8 || utf16.IsSurrogate(c) && i < 8 {
			return false
		}
	}
	return true
}

// isProcedure reports whether b begins with the name or number of a procedure, and its options.
func isProcedure(b []byte, cut bool) bool {
	r := newLittle(b)
	n := r.u16()
	if n == 0xffff {
		id, flags := r.u16(), r.u16()
		return !r.Short() && id >= 1 && id <= 15 && flags <= 7
	}
	if n < 2 || n > 512 {
		return false
	}
	if cut && r.Left() < 2*n+2 {
		return isText(r.Rest())
	}
	name, flags := r.Bytes(2*n), r.u16()
	return !r.Short() && flags <= 7 && isText(name)
}

// detectResponse examines the tokens at the beginning of a response.
func detectResponse(b []byte, whole bool) dissect.Verdict {
	if whole && areOptions(b, len(b)) {
		return dissect.Yes
	}
	for _, modern := range [...]ternary{yes, no} {
		t := tokens{k: &conn{modern: modern}}
		known := 0
		for rest := b; !t.lost; known++ {
			if len(rest) == 0 {
				if whole && b[0] != tokRow && (t.lastDone || known > 1) {
					return dissect.Likely
				}
				break
			}
			if known >= 2 && !whole && (b[0] == tokColumns || b[0] == tokChange || b[0] == tokInfo || b[0] == tokError) {
				return dissect.Likely
			}
			n := t.step(rest)
			if n == 0 {
				break
			}
			rest = rest[n:]
		}
	}
	return dissect.No
}

// resume accepts any head of a packet whose message begins, and records of TLS, because the protocol is known.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if v := detect(dir, head); v != dissect.No {
		return v
	}
	if len(head) >= recordHead && isRecord(head) && int(binary.BigEndian.Uint16(head[3:])) < maxRecord {
		return dissect.Likely
	}
	size, err := packetSize(dir, head)
	return dissect.Likely.If(err == nil && size >= headSize && head[1]&^0x1c == eom && head[7] == 0 && size == len(head))
}
