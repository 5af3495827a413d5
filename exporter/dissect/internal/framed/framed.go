// Package framed reads messages that say their length at their beginning. A message of many
// megabytes costs no memory: its beginning is read, the rest is counted and cited.
package framed

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Call is what a message belongs to, usually a pointer to the dissector's record of it.
type Call interface {
	comparable

	// Part is where the bytes of its messages are cited.
	Part() *dissect.Exchange
}

// Handler is a protocol.
type Handler[C Call] interface {
	// Size is the length of the message at the front of b in bytes, its head included. It is 0 if b
	// is too short to say. With an error, b cannot be a message.
	Size(dir dissect.Dir, b []byte) (int64, error)

	// Message reads a message and returns its call. b is all of it, or its beginning if partial is
	// set: then at least Reader.Least bytes.
	Message(in *dissect.Input, at int, b []byte, partial bool) (C, error)

	// Ended follows Message once all bytes were seen. why is empty, gap if some were missing, or
	// the reason why the rest will not come.
	Ended(dir dissect.Dir, c C, why string)
}

// Reader reads the messages of both directions of a connection.
type Reader[C Call] struct {
	Conn    *dissect.Conn
	Handler Handler[C]
	Most    int // bytes of a message that are read
	Least   int // bytes of a message that are worth reading if no more will come

	sides [2]side[C]
}

// side is the position in a message that is being counted.
type side[C Call] struct {
	left int64 // bytes of it still to come
	call C
	gap  bool
}

// Read is Dissector.Read.
func (r *Reader[C]) Read(in *dissect.Input) (int, error) {
	at := 0
	for at < len(in.Data) {
		n, err := 0, error(nil)
		if s := &r.sides[in.Dir]; s.left > 0 {
			n = r.count(s, in, at)
		} else {
			n, err = r.message(in, at, in.End)
		}
		at += n
		if n == 0 || err != nil {
			return at, err
		}
	}
	return at, nil
}

// count takes more bytes of a long message.
func (r *Reader[C]) count(s *side[C], in *dissect.Input, at int) int {
	n := int(min(s.left, int64(len(in.Data)-at)))
	r.cite(s.call, in, at, at+n)
	if s.left -= int64(n); s.left == 0 {
		r.ended(in.Dir, "")
	}
	return n
}

func (r *Reader[C]) cite(c C, in *dissect.Input, from, to int) {
	var none C
	switch {
	case c == none: // it was given up
	case in.Dir == dissect.ToServer:
		c.Part().Request(in, from, to)
	default:
		c.Part().Response(in, from, to)
	}
}

// message reads the beginning of a message, which is all of a short one. With cut, no more bytes
// of it will come.
func (r *Reader[C]) message(in *dissect.Input, at int, cut bool) (int, error) {
	b := in.Data[at:]
	size, err := r.Handler.Size(in.Dir, b)
	if err != nil || size == 0 {
		return 0, err
	}
	want := int(min(size, int64(r.Most)))
	if len(b) < want && !cut {
		r.Conn.Need(in.Dir, want)
		return 0, nil
	}
	b = b[:min(len(b), want)]
	if len(b) < min(r.Least, want) {
		return 0, nil
	}
	c, err := r.Handler.Message(in, at, b, int64(len(b)) < size)
	if err != nil {
		return 0, err
	}
	r.cite(c, in, at, at+len(b))
	s := &r.sides[in.Dir]
	s.call, s.left = c, size-int64(len(b))
	if s.left == 0 {
		r.ended(in.Dir, "")
	}
	return len(b), nil
}

// ended ends the message that is being read.
func (r *Reader[C]) ended(dir dissect.Dir, why string) {
	s := r.sides[dir]
	r.sides[dir] = side[C]{}
	var none C
	if s.gap && why == "" {
		why = string(dissect.LossGap)
	}
	if s.call != none {
		r.Handler.Ended(dir, s.call, why)
	}
}

// Gap is Dissector.Gap. Bytes in a message of known length can be missing.
func (r *Reader[C]) Gap(in *dissect.Input, missing int64) bool {
	s := &r.sides[in.Dir]
	if s.left == 0 && len(in.Data) > 0 { // it waited for more of this message
		if n, err := r.message(in, 0, true); err != nil || n < len(in.Data) {
			return false
		}
	}
	if s.left < missing {
		return false
	}
	s.gap = true
	if s.left -= missing; s.left == 0 {
		r.ended(in.Dir, "")
	}
	return true
}

// Resync ends the message that is being read in a direction.
func (r *Reader[C]) Resync(dir dissect.Dir, why dissect.Loss) { r.ended(dir, string(why)) }

// Close ends the messages that are being read, those of the server first.
func (r *Reader[C]) Close(why dissect.End) {
	word := why.CallError()
	if why == dissect.EndFin {
		word = "cut"
	}
	r.ended(dissect.ToClient, word)
	r.ended(dissect.ToServer, word)
}

// Forget gives up a call: the rest of its messages is counted only. Emit needs it.
func (r *Reader[C]) Forget(c C) {
	for i := range r.sides {
		if r.sides[i].call == c {
			var none C
			r.sides[i].call = none
		}
	}
}

// Reading is the call of the message that is being read in a direction, or the zero value.
func (r *Reader[C]) Reading(dir dissect.Dir) C { return r.sides[dir].call }
