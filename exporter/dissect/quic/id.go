package quic

import (
	"bytes"
	"encoding/hex"
)

const maxIDs = 64 // connection ids of one side that are kept

// id is a connection id that one side issued for itself.
type id struct {
	seq   uint64
	bytes []byte
	token [16]byte // of a stateless reset
	reset bool     // token is set
}

// end is the connection ids of one side.
type end struct {
	ids   []id
	known bool // ids[0] is the id of its long headers
}

// is reports whether b is an id of the side.
func (e *end) is(b []byte) bool {
	for i := range e.ids {
		if bytes.Equal(e.ids[i].bytes, b) {
			return true
		}
	}
	return false
}

// length is the length of the side's ids, as far as it is known. An endpoint must find the end
// of its ids itself, so they nearly always have the same length.
func (e *end) length() int {
	if len(e.ids) == 0 {
		return 0
	}
	return len(e.ids[len(e.ids)-1].bytes)
}

// add records an id and returns it if it is new.
func (e *end) add(seq uint64, b []byte) *id {
	for i := range e.ids {
		if bytes.Equal(e.ids[i].bytes, b) {
			return &e.ids[i]
		}
	}
	if len(e.ids) >= maxIDs { // ids are used in the order in which they are issued
		e.ids = append(e.ids[:1], e.ids[2:]...)
	}
	e.ids = append(e.ids, id{seq: seq, bytes: append([]byte{}, b...)})
	return &e.ids[len(e.ids)-1]
}

// addressed returns the length of the id of e at the start of b.
func (e *end) addressed(b []byte) (n int, ok bool) {
	for i := len(e.ids) - 1; i >= 0; i-- {
		if x := e.ids[i].bytes; bytes.HasPrefix(b, x) && (!ok || len(x) > n) {
			n, ok = len(x), true
		}
	}
	return n, ok
}

// resets reports whether b ends in the reset token of an id of e, RFC 9000 section 10.3.
func (e *end) resets(b []byte) bool {
	if len(b) < minShort {
		return false
	}
	for i := range e.ids {
		if x := &e.ids[i]; x.reset && bytes.Equal(x.token[:], b[len(b)-len(x.token):]) {
			return true
		}
	}
	return false
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
