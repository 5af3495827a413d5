// Package framed reads messages that begin with their length. It reads the beginning of a long
// message, and counts and cites the rest, so a message of many megabytes uses no memory.
package framed

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Handler is a protocol.
type Handler[C Call] interface {
	// Size is the length of the message at the front of b in bytes, its head included. It is 0 if b is too short. With
	// an error, b cannot be a message.
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

	parts Parts[C]
}

// Read is Dissector.Read.
func (r *Reader[C]) Read(in *dissect.Input) (int, error) { return r.parts.Read(r, in, in.End) }

// Next implements Owner.
func (r *Reader[C]) Next(in *dissect.Input, at int, cut bool) (int, error) {
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
	c.Add(in, at, at+len(b))
	s := &r.parts[in.Dir]
	s.Call, s.Left = c, size-int64(len(b))
	if s.Left == 0 {
		r.Ended(in.Dir, "")
	}
	return len(b), nil
}

// Ended implements Owner.
func (r *Reader[C]) Ended(dir dissect.Dir, why string) {
	s := r.parts.Take(dir)
	var none C
	if s.Gap && why == "" {
		why = string(dissect.LossGap)
	}
	if s.Call != none {
		r.Handler.Ended(dir, s.Call, why)
	}
}

// Gap is Dissector.Gap. Bytes in a message of known length can be missing.
func (r *Reader[C]) Gap(in *dissect.Input, missing int64) bool { return r.parts.Gap(r, in, missing) }

// Resync ends the message that is being read in a direction.
func (r *Reader[C]) Resync(dir dissect.Dir, why dissect.Loss) { r.parts.Stop(r, dir, string(why)) }

// Close ends the messages that are being read, those of the server first.
func (r *Reader[C]) Close(why dissect.End) {
	word := why.CallError()
	if why == dissect.EndFin {
		word = "cut"
	}
	r.parts.Stop(r, dissect.ToClient, word)
	r.parts.Stop(r, dissect.ToServer, word)
}

// Forget ends a call: the rest of its messages is only counted. Emit needs it.
func (r *Reader[C]) Forget(c C) { r.parts.Forget(c) }

// Reading is the call of the message that is being read in a direction, or the zero value.
func (r *Reader[C]) Reading(dir dissect.Dir) C { return r.parts[dir].Call }
