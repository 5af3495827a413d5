package cassandra

import (
	"bytes"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
)

const maxDetect = 16 << 10 // bytes of a message that detection waits for

// detect accepts a message whose body is one of its opcode, and frames with two right checksums.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if version, ok := framedHead(head); ok {
		if (version >= answer) != (dir == dissect.ToClient) {
			return dissect.No
		}
		return dissect.Yes
	}
	if len(head) < headSize {
		if len(head) > 0 && !legalVersion(dir, head[0]) {
			return dissect.No
		}
		return dissect.More
	}
	h := readHead(head)
	if h.check(dir) != nil || h.flags&^(flagCompressed|flagTracing|flagPayload|flagWarning) != 0 && h.version&^answer < maxVersion {
		return dissect.No
	}
	whole := int64(len(head)) >= headSize+h.length
	b := head[headSize:min(int64(len(head)), headSize+h.length)]
	switch {
	case h.flags&flagPayload != 0:
		return dissect.No // the other side, or a later message, decides
	case !whole && h.length <= maxDetect:
		return dissect.More
	case h.flags&flagCompressed != 0 && !whole:
		return dissect.No
	case h.flags&flagCompressed != 0:
		out, _, err := decompress("", b, maxUnpacked, dissect.Decompress)
		if err != nil || len(out) == 0 {
			return dissect.No
		}
		b, h.flags, h.length = out, h.flags&^flagCompressed, int64(len(out))
	}
	if dir == dissect.ToServer {
		return detectRequest(h, b, whole)
	}
	if h.flags&flagTracing != 0 && len(b) > traceID {
		b, h.length, h.flags = b[traceID:], h.length-traceID, h.flags&^flagTracing
	}
	return detectResponse(h, b, whole)
}

const (
	traceID     = 16       // bytes of the id of a trace before the body of a response
	maxUnpacked = 64 << 10 // bytes of a compressed body that detection reads
)

// framedHead reports whether b begins with a frame whose checksums are both right and which holds
// whole messages, with the version of the first, which says who sent it.
func framedHead(b []byte) (version byte, ok bool) {
	for _, size := range [...]int{plainHead, packedHead} {
		if !isFrame(b, size) {
			continue
		}
		h := little(b[:size])
		n, packed := int(h&maxPayload), size == packedHead && h>>17&maxPayload > 0
		whole := size + crcHead + n + crcTail
		if alone := h>>(17*(size/2))&1 != 0; !alone || n < headSize || len(b) < whole {
			continue
		}
		payload := b[size+crcHead : whole-crcTail]
		if payloadSum(payload) != binary.LittleEndian.Uint32(b[whole-crcTail:]) {
			continue
		}
		if version = payload[0]; packed { // of a block of LZ4 the first byte has lengths, then come bytes as they are
			at := 1
			for payload[0]>>4 == 15 && at < n-1 && payload[at] == 255 {
				at++
			}
			if payload[0]>>4 == 15 && at < n-1 {
				at++
			}
			version = payload[at]
		}
		return version, version&^answer == maxVersion
	}
	return 0, false
}

func detectRequest(h head, b []byte, whole bool) dissect.Verdict {
	r := newReader(b)
	if h.stream < 0 {
		return dissect.No
	}
	yes := false
	switch h.opcode {
	case opStartup:
		yes = whole && bytes.Contains(b, []byte("\x00\x0bCQL_VERSION"))
	case opOptions:
		return dissect.Likely.If(h.length == 0)
	case opQuery, opPrepare:
		q := r.longString()
		if !whole && r.Short() {
			q = b[min(4, len(b)):]
		}
		yes = len(q) > 0 && sqltext.Verb(string(q[:min(len(q), 1<<10)])) != "" && bytes.IndexByte(q, 0) < 0 && (h.opcode == opPrepare || !whole || r.Uint16() <= 0x0a && !r.Short())
	case opExecute:
		id := r.shortBytes()
		return dissect.Likely.If(whole && len(id) == 16 && !r.Short() && r.Left() >= 3)
	case opRegister:
		r.Uint16()
		yes = whole && bytes.HasSuffix(r.string(), []byte("_CHANGE"))
	case opBatch:
		kind, n, first := r.Uint8(), r.Uint16(), r.Uint8()
		return dissect.Likely.If(kind <= 2 && n > 0 && first <= 1 && !r.Short() && r.Left() > 4)
	case opAuthResponse:
		n := r.int()
		return dissect.Likely.If(whole && n >= 0 && n == r.Left())
	}
	return dissect.Yes.If(yes)
}

func detectResponse(h head, b []byte, whole bool) dissect.Verdict {
	r := newReader(b)
	if h.flags != 0 {
		return dissect.No
	}
	switch h.opcode {
	case opSupported:
		if whole && bytes.Contains(b, []byte("CQL_VERSION")) {
			return dissect.Yes
		}
	case opReady:
		return dissect.Likely.If(h.length == 0)
	case opAuthenticate:
		name := r.string()
		return dissect.Likely.If(whole && r.Left() == 0 && bytes.Contains(name, []byte("org.apache.cassandra")))
	case opError:
		code, text := r.Uint32(), r.string()
		return dissect.Likely.If(whole && tables()["error"][int64(code)] != "" && len(text) > 0 && !r.Short())
	case opEvent:
		return dissect.Likely.If(whole && h.stream == -1 && bytes.HasSuffix(r.string(), []byte("_CHANGE")))
	case opResult:
		return dissect.Likely.If(h.stream >= 0 && detectResult(r, h.length))
	}
	return dissect.No
}

// detectResult reports whether r holds the beginning of RESULT.
func detectResult(r *reader, length int64) bool {
	switch kind := r.int(); kind {
	case 1:
		return length == 4
	case resultRows:
		flags, n := r.int(), r.int()
		return flags&^0x0f == 0 && n > 0 && n <= maxColumns && !r.Short()
	case resultKeyspace:
		name := r.string()
		return !r.Short() && r.Left() == 0 && len(name) > 0
	case resultPrepared:
		return len(r.shortBytes()) == 16
	case resultChange:
		return bytes.Contains([]byte("CREATED UPDATED DROPPED"), r.string()) && !r.Short()
	}
	return false
}

// resume accepts any head, because the protocol is known.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if v := detect(dir, head); v >= dissect.Likely {
		return v
	}
	if len(head) < headSize {
		return dissect.No
	}
	h := readHead(head)
	return dissect.Likely.If(h.check(dir) == nil && h.length < 1<<24 && (h.stream >= 0 || h.opcode == opEvent))
}
