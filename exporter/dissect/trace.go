package dissect

import "unsafe"

// Place is a run of a body's bytes as sent: in the payload of one packet, from a sequence number
// on. In a datagram, Seq is the offset in its payload.
type Place struct {
	No       int64
	Seq      uint32
	Len      int32
	Datagram bool
}

// maxPlaces limits the places of one body; a body of more is not traced.
const maxPlaces = 1 << 16

// Trace makes bodies remember where their bytes were captured. It is for tools that change
// packets; tables do not need it.
func (e *Engine) Trace() { e.trace = true }

// Places lists where the bytes of the body were captured, in order. ok is false if that is not
// known for each byte: the engine does not trace, the bytes were decrypted or copied before they
// became a body, or there are too many places.
func (b *Body) Places() (list []Place, ok bool) {
	return b.places, b.traced && !b.lostTrace
}

// traceBytes remembers where p was captured, which must be a part of the current input.
func (b *Body) traceBytes(p []byte) {
	b.traced = true
	in := b.conn.engine.innermost()
	at := int(uintptr(unsafe.Pointer(unsafe.SliceData(p))) - uintptr(unsafe.Pointer(unsafe.SliceData(in.Data))))
	if len(p) == 0 {
		return
	}
	if in.conn != b.conn || b.conn.parent != nil || len(in.Data) == 0 || at < 0 || at+len(p) > len(in.Data) || len(b.places) >= maxPlaces {
		b.lostTrace = true
		return
	}
	for len(p) > 0 {
		s := in.at(at)
		n := len(p)
		if end := in.segmentEnd(at); end-at < n {
			n = end - at
		}
		seq := in.Seq(at)
		if in.Datagram {
			seq = uint32(at)
		}
		if len(s.Also) > 0 {
			b.lostTrace = true // fragments: no sequence number tells which
		}
		b.places = append(b.places, Place{s.No, seq, int32(n), in.Datagram})
		p, at = p[n:], at+n
	}
}

// innermost is the argument of the call of Read in progress; of several, one inside the other,
// the last.
func (e *Engine) innermost() *Input {
	if e.depth == 0 {
		return &Input{}
	}
	return e.inputs[e.depth-1]
}

// segmentEnd is the index after the bytes that the packet with Data[i] carried.
func (in *Input) segmentEnd(i int) int {
	off := in.base + int64(i)
	for k := range in.segs {
		if in.segs[k].off > off {
			return int(in.segs[k].off - in.base)
		}
	}
	return len(in.Data)
}
