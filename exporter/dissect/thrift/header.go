package thrift

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Frames of THeaderTransport (doc/specs/HeaderFormat.md of Apache Thrift, thrift/lib/cpp/transport/THeader.cpp
// of fbthrift): the length, the magic, flags, a number, the size of the header in words of 4 bytes, the header,
// and a message that may be transformed.
const (
	headerMagic   = 0x0fff
	headerFixed   = 14       // bytes before the header
	headerCounted = 10       // of these, those that the length of the frame counts
	maxInfo       = 64       // headers of a message in its row
	maxInfoText   = 256      // bytes of a name or value in them
	maxTransforms = 4        // of a message
	maxPacked     = 64 << 10 // bytes of a transformed message that are read
	maxPlain      = 64 << 10 // bytes of its content that are read
)

// Numbers of protocols and of the kinds of information in a header.
const (
	protocolBinary  = 0
	protocolCompact = 2
	infoPadding     = 0
	infoPairs       = 1
	infoPersistent  = 2 // pairs for all later messages of the connection too
)

// transform is a change of a message's bytes.
type transform struct{ name, coding string }

// transforms are those that are read. Others need data of the header whose size is not known.
var transforms = map[uint64]transform{1: {"zlib", "deflate"}, 3: {"snappy", "snappy"}, 5: {"zstd", "zstd"}, 6: {"lz4", "lz4-block"}}

// header is the header of a frame of THeaderTransport.
type header struct {
	transforms []transform // in the order in which the sender applied them
	info       []table.Header
	texts      int    // bytes of info
	unread     string // why the message cannot be read; empty if it can
}

// readHeader reads the beginning of a frame up to the message. b has at least the magic. n is its size, or more.
func readHeader(b []byte) (h head, n int, err error) {
	if len(b) < headerFixed {
		return h, more, nil
	}
	h.frame, h.sequence = int64(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[8:]))
	n = headerFixed + 4*int(binary.BigEndian.Uint16(b[12:]))
	if h.frame > maxFrame || h.frame < int64(n-headerFixed+headerCounted) {
		return h, 0, fmt.Errorf("reading a frame: %d bytes, %d of them a header", h.frame, n-headerFixed)
	}
	h.framed, h.header = true, &header{}
	r := varints{b: b[headerFixed:min(len(b), n)]}
	h.compact = h.header.read(&r) == protocolCompact
	switch {
	case r.bad && len(b) < n:
		return h, more, nil
	case r.bad:
		return h, 0, errors.New("reading a frame: the fields of its header are longer than it")
	case len(b) < n:
		return h, more, nil
	}
	h.frame -= int64(n - headerFixed + headerCounted)
	return h, n, nil
}

// read reads the fields of a header and returns the number of the message's protocol.
func (h *header) read(r *varints) (protocol uint64) {
	if protocol = r.number(); protocol != protocolBinary && protocol != protocolCompact {
		h.unread = fmt.Sprintf("protocol %d", protocol)
	}
	for left := r.number(); left > 0 && !r.bad; left-- {
		id := r.number()
		t, ok := transforms[id]
		switch {
		case id == 0 && !r.bad: // none
			continue
		case !ok || len(h.transforms) == maxTransforms:
			h.unread = fmt.Sprintf("transform %d", id)
			return protocol
		}
		h.transforms = append(h.transforms, t)
	}
	for len(r.b) > 0 && !r.bad {
		if id := r.number(); id != infoPairs && id != infoPersistent { // padding, or what no reader knows
			break
		}
		for left := r.number(); left > 0 && !r.bad; left-- {
			h.add(r.text(), r.text())
		}
	}
	return protocol
}

func (h *header) add(name, value []byte) {
	if len(h.info) < maxInfo {
		v := table.Header{Name: clip.Text(name, maxInfoText), Value: clip.Text(value, maxInfoText)}
		h.info = append(h.info, v)
		h.texts += len(v.Name) + len(v.Value) + headerCost
	}
}

// headers are the headers for a row.
func (h *header) headers(reply bool) []table.Header {
	kind := httpfield.Request
	if reply {
		kind = httpfield.Response
	}
	for i := range h.info {
		h.info[i].Kind = kind
	}
	return h.info
}

const headerCost = int(unsafe.Sizeof(table.Header{}))

// undo undoes the transforms of p, which has the first bytes of a message; whole says that it has all of them. It
// returns at most most bytes, and cut if there may be more. ok is false if not even the first bytes are known for sure.
func (h *header) undo(p []byte, whole bool, most int, decompress dissect.Decompressor) (plain []byte, cut, ok bool) {
	for i := len(h.transforms) - 1; i >= 0; i-- {
		t, limit := h.transforms[i], most
		if t.coding == "lz4-block" {
			size, n := binary.Uvarint(p)
			if n <= 0 {
				return nil, true, false
			}
			p, limit = p[n:], int(min(size, uint64(most)))
		}
		out, err := decompress(t.coding, p, limit)
		if err != nil && (whole && len(out) < limit || len(out) == 0) {
			return out, true, false
		}
		p, whole = out, whole && err == nil
	}
	return p, !whole, true
}

// varints reads the numbers and texts of a header. After an error they are zero and empty.
type varints struct {
	b   []byte
	bad bool
}

func (r *varints) number() uint64 {
	u, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || u > math.MaxUint32 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return u
}

func (r *varints) text() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// Limits of detection in transformed messages.
const (
	maxPackedHead = 4 << 10 // bytes of one that may be needed
	maxPlainHead  = 1 << 10 // bytes of its content
)

// detectPacked looks into a transformed message, of which b has the beginning.
func detectPacked(dir dissect.Dir, h head, b []byte) dissect.Verdict {
	if h.header.unread != "" {
		return dissect.Likely
	}
	b = b[:min(int64(len(b)), h.frame, maxPackedHead)]
	if int64(len(b)) < min(h.frame, maxPackedHead) {
		return dissect.More
	}
	plain, cut, ok := h.header.undo(b, int64(len(b)) == h.frame, maxPlainHead, dissect.Decompress)
	if !ok {
		return dissect.Likely
	}
	inner, n, err := readMessage(h, plain)
	switch {
	case err != nil || n == more && !cut:
		return dissect.No
	case n == more:
		return dissect.Likely
	case inner.fromClient() != (dir == dissect.ToServer):
		return dissect.No
	}
	return dissect.Yes
}

// unpack reads the beginning of a message that is packed. It begins at in.Data[n], where its header ends. It returns where
// the bytes end that were read, or more.
func (k *conn) unpack(in *dissect.Input, h *head, n int) (int, error) {
	if h.header.unread != "" {
		h.unread(in.Dir)
		return n, nil
	}
	end := n + int(min(h.frame, maxPacked))
	if len(in.Data) < end {
		k.Conn.Need(in.Dir, end)
		return more, nil
	}
	whole := int64(end-n) == h.frame
	h.frame -= int64(end - n)
	plain, cut, ok := h.header.undo(in.Data[n:end], whole, maxPlain, k.Conn.Decompress)
	if !ok {
		h.header.unread = "it cannot be decompressed"
	}
	inner, size, err := readMessage(*h, plain)
	switch {
	case !ok && (err != nil || size == more):
		h.unread(in.Dir)
	case err != nil:
		return 0, err
	case size == more && cut:
		h.header.unread = "its beginning is too long"
		h.unread(in.Dir)
	case size == more:
		return 0, errHead
	default:
		*h = inner
		h.plain, h.cut = plain[size:], cut
	}
	return end, nil
}

// unread makes h the head of a message of which only the header is known.
func (h *head) unread(dir dissect.Dir) {
	if h.kind = kindCall; dir == dissect.ToClient {
		h.kind = kindReply
	}
}

// unpacked reads the fields of a message that was packed, as far as they are known.
func (s *side) unpacked() error {
	v := &s.values
	if _, err := v.read(s.head.plain); err != nil {
		return err
	}
	s.head.plain = nil
	switch {
	case v.done:
	case s.head.cut || s.head.header.unread != "":
		v.done, s.gap = true, true
		v.put("…")
	default:
		return errFields
	}
	return nil
}
