package thrift

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Types of messages.
const (
	kindCall      = 1
	kindReply     = 2
	kindException = 3
	kindOneway    = 4
)

const oneway = "oneway"

var typeNames = map[byte]string{kindCall: "call", kindReply: "reply", kindException: "exception", kindOneway: oneway}

const (
	maxName  = 256     // bytes of a method's name
	maxFrame = 1 << 30 // servers accept 16 MB by default
	compact  = 0x82    // first byte of TCompactProtocol
)

// head is the head of a message.
type head struct {
	kind            byte
	name            string
	sequence        int32
	framed, compact bool
	json            bool    // TJSONProtocol, rewritten as TBinaryProtocol
	old             bool    // without a version
	frame           int64   // bytes of the frame after the head
	header          *header // of a frame of THeaderTransport; nil in others
	plain           []byte  // of a message that was packed: its fields
	cut             bool    // plain is not all of them
}

// fromClient reports whether a client sends the message.
func (h *head) fromClient() bool { return h.kind == kindCall || h.kind == kindOneway }

// packed reports whether the head of the message is not known yet, because it is transformed or cannot be read.
func (h *head) packed() bool {
	return h.header != nil && (len(h.header.transforms) > 0 || h.header.unread != "")
}

// readHead reads the head of a message, with the length of its frame if it has one. n is its size, or
// more.
func readHead(b []byte) (h head, n int, err error) {
	if len(b) < 2 {
		return h, more, nil
	}
	if b[0] != 0x80 && b[0] != compact { // a length
		if len(b) < 6 {
			return h, more, nil
		}
		if binary.BigEndian.Uint16(b[4:]) == headerMagic {
			return readHeaderFrame(b)
		}
		if isName(b[4:5]) { // it is that of a name
			return readHead2(b, false)
		}
		h.frame = int64(binary.BigEndian.Uint32(b))
		if h.frame < 8 || h.frame > maxFrame {
			return h, 0, fmt.Errorf("reading a message: a frame of %d bytes", h.frame)
		}
		inner, n, err := readHead2(b[4:], false)
		if err == nil && n != more && int64(n) >= h.frame {
			err = errHead
		}
		if n == more || err != nil {
			return h, more, err
		}
		inner.framed, inner.frame = true, h.frame-int64(n)
		return inner, 4 + n, nil
	}
	return readHead2(b, false)
}

// readHeaderFrame reads the header of a frame of THeaderTransport, and the head of its message if that is not packed.
func readHeaderFrame(b []byte) (h head, n int, err error) {
	h, n, err = readHeader(b)
	if n == more || err != nil || h.packed() {
		return h, n, err
	}
	inner, size, err := readMessage(h, b[n:min(int64(len(b)), int64(n)+h.frame)])
	switch {
	case err != nil:
		return h, 0, err
	case size == more && int64(len(b)-n) >= h.frame, size != more && int64(size) >= h.frame:
		return h, 0, errHead
	case size == more:
		return h, more, nil
	}
	inner.frame -= int64(size)
	return inner, n + size, nil
}

var errHead = errors.New("reading a message: its head is longer than its frame")

// readMessage reads the head of the message of a frame of THeaderTransport, whose protocol and number the frame states.
func readMessage(frame head, b []byte) (h head, n int, err error) {
	if len(b) < 2 {
		return frame, more, nil
	}
	if h, n, err = readHead2(b, true); n == more || err != nil {
		return frame, n, err
	}
	if h.compact != frame.compact {
		return frame, 0, errors.New("reading a message: its protocol is not that of its frame")
	}
	frame.kind, frame.name = h.kind, h.name
	return frame, n, nil
}

// readHead2 reads the head of a message without a frame's length. In a frame of THeaderTransport, errors of the
// transport have no name.
func readHead2(b []byte, header bool) (h head, n int, err error) {
	var size int
	switch {
	case b[0] == 0x80 && b[1] == 1: // version 1 of TBinaryProtocol
		if len(b) < 8 {
			return h, more, nil
		}
		h.kind, n = b[3], 8
		if b[2] != 0 {
			return h, 0, fmt.Errorf("reading a message: its version is %#x", b[:3])
		}
		size = int(min(binary.BigEndian.Uint32(b[4:]), maxName+1))
	case b[0] == compact && b[1]&31 == 1:
		h.compact, h.kind, n = true, b[1]>>5, 2
		u, used, err := number(b[n:])
		if used == more || err != nil {
			return h, more, err
		}
		h.sequence, n = int32(uint32(u)), n+used
		if u, used, err = number(b[n:]); used == more || err != nil {
			return h, more, err
		}
		size, n = int(min(u, maxName+1)), n+used
	case b[0] == 0: // TBinaryProtocol without a version: the name, the type, the number
		if len(b) < 4 {
			return h, more, nil
		}
		h.old, n = true, 4
		if size = int(min(binary.BigEndian.Uint32(b), maxName+1)); size > 0 && size <= maxName {
			if len(b) <= n+size {
				return h, more, isNameError(b[n:])
			}
			h.kind = b[n+size]
		}
	default:
		return h, 0, fmt.Errorf("reading a message: it begins with %#x", b[:2])
	}
	if typeNames[h.kind] == "" || size == 0 && !(header && h.kind == kindException) || size > maxName {
		return h, 0, fmt.Errorf("reading a message: type %d, and a name of %d bytes", h.kind, size)
	}
	if err := isNameError(b[n:min(len(b), n+size)]); err != nil {
		return h, 0, err
	}
	if len(b) < n+size {
		return h, more, nil
	}
	h.name = string(b[n : n+size])
	n += size
	if h.old {
		n++ // the type
	}
	if !h.compact {
		if len(b) < n+4 {
			return h, more, nil
		}
		h.sequence = int32(binary.BigEndian.Uint32(b[n:]))
		n += 4
	}
	return h, n, nil
}

func isNameError(b []byte) error {
	if isName(b) {
		return nil
	}
	return fmt.Errorf("reading a message: %.40q is no name", b)
}

// isName reports whether b is a method's name, perhaps with a service, or a part of one.
func isName(b []byte) bool {
	for i, c := range b {
		letter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '.' && c != ':' && c != '/' && c != '-' && c != '$') {
			return false
		}
	}
	return true
}

// detect accepts the head of a message of that side with the type of its first field.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) >= 2 && b[0] != 0 && b[0] != 0x80 && b[0] != compact {
		return dissect.No // frames of 16 MB and more are read, but begin nothing
	}
	h, n, err := readHead(b)
	switch {
	case err != nil:
		return dissect.No
	case n == more:
		return dissect.More
	case h.packed():
		return detectPacked(dir, h, b[n:])
	case h.fromClient() != (dir == dissect.ToServer):
		return dissect.No
	}
	v := newValues(h.compact)
	fields := b[n:]
	if h.framed {
		fields = fields[:min(int64(len(fields)), h.frame)]
	}
	if _, err := v.read(fields); err != nil {
		return dissect.No
	}
	if h.old && !v.done { // a length and a word begin messages of other protocols too
		return dissect.More
	}
	if h.compact && h.header == nil && (len(h.name) < 3 || !v.any && !v.done) || h.old && !v.any {
		return dissect.Likely
	}
	return dissect.Yes
}
