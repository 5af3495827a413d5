package kerberos

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
)

// enough is how many bytes of a message have its version and type: the headers of the message, its
// sequence and two fields, with lengths of up to 4 bytes.
const enough = 4 + 6 + 6 + 2*5

// detect looks at the tags, the version and the type at the beginning of a message, and at its length. A
// datagram begins with the message, and a stream with its length.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) == 0 {
		return dissect.More
	}
	if b[0]&application == application && b[0] != 0 {
		kind, _, ok := head(b)
		return side(dir, kind, ok)
	}
	if len(b) < 4 {
		if b[0] != 0 {
			return dissect.No
		}
		return dissect.More
	}
	size := binary.BigEndian.Uint32(b)
	if size > maxMessage || size < enough-8 {
		return dissect.No
	}
	if len(b) > 4 && (b[4]&application != application || tables()["type"][int64(b[4]&^application)] == "") {
		return dissect.No
	}
	if len(b) < enough {
		return dissect.More
	}
	kind, ok := beginning(b[4:], int64(size))
	return side(dir, kind, ok)
}

// side checks that this side sends such a message.
func side(dir dissect.Dir, kind int64, ok bool) dissect.Verdict {
	if !ok || (kind == asReq || kind == tgsReq) != (dir == dissect.ToServer) {
		return dissect.No
	}
	return dissect.Yes
}

// beginning checks a message of size bytes of which b has at least enough. All lengths must agree.
func beginning(b []byte, size int64) (kind int64, ok bool) {
	tag, n, at := ber.Header(b)
	kind = int64(tag &^ application)
	if at <= 0 || int64(at)+n != size {
		return kind, false
	}
	inner, m, more := ber.Header(b[at:])
	if more <= 0 || inner != ber.Sequence || int64(more)+m != n {
		return kind, false
	}
	first := byte(context)
	if kind == asReq || kind == tgsReq {
		first++
	}
	want := []byte{first, 3, ber.Integer, 1, version, first + 1, 3, ber.Integer, 1, byte(kind)}
	b = b[at+more:]
	return kind, len(b) >= len(want) && string(b[:len(want)]) == string(want)
}
