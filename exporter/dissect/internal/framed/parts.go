package framed

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/pieces"
)

// Call is the call of a message, usually a pointer to the dissector's record of it.
type Call interface {
	comparable

	// Add adds in.Data[from:to], bytes of one of its messages. The call is the zero value if it was
	// given up.
	Add(in *dissect.Input, from, to int)
}

// Side is the message that is being read in a direction.
type Side[C Call] struct {
	Left  int64 // bytes of it still to come
	Call  C
	Final bool          // it ends its call
	Gap   bool          // some of its bytes were not captured
	Data  pieces.Stream // the bytes of files in it
}

// Parts counts and cites the rest of messages whose beginning was read, by direction.
type Parts[C Call] [2]Side[C]

// Owner reads the beginning of messages.
type Owner[C Call] interface {
	// Next reads the beginning of the message at in.Data[at:], sets its Side and returns the bytes
	// read. With cut, no more bytes of it will come. It returns 0 to wait for more.
	Next(in *dissect.Input, at int, cut bool) (int, error)

	// Ended follows the last byte of a message; it takes the Side. why is empty, or the reason why
	// the rest will not come.
	Ended(dir dissect.Dir, why string)
}

// Read is Dissector.Read.
func (p *Parts[C]) Read(o Owner[C], in *dissect.Input, cut bool) (int, error) {
	return in.Each(func(at int) (int, error) {
		s := &p[in.Dir]
		if s.Left == 0 {
			return o.Next(in, at, cut)
		}
		n := int(min(s.Left, int64(len(in.Data)-at)))
		s.Call.Add(in, at, at+n)
		s.Data.Feed(in, at, at+n)
		p.came(o, in.Dir, int64(n))
		return n, nil
	})
}

func (p *Parts[C]) came(o Owner[C], dir dissect.Dir, n int64) {
	if p[dir].Left -= n; p[dir].Left == 0 {
		o.Ended(dir, "")
	}
}

// Gap is Dissector.Gap. Bytes in a message of known length can be missing.
func (p *Parts[C]) Gap(o Owner[C], in *dissect.Input, missing int64) bool {
	s := &p[in.Dir]
	if s.Left == 0 && len(in.Data) > 0 && !in.Datagram { // it waited for more of this message
		if n, err := p.Read(o, in, true); err != nil || n < len(in.Data) {
			return false
		}
	}
	if s.Left < missing {
		return false
	}
	s.Gap = true
	s.Data.Lose(missing)
	p.came(o, in.Dir, missing)
	return true
}

// Stop ends the message that is being read in a direction.
func (p *Parts[C]) Stop(o Owner[C], dir dissect.Dir, why string) {
	p[dir].Data.Cut()
	o.Ended(dir, why)
}

// Take returns the message that is being read in a direction, and ends it.
func (p *Parts[C]) Take(dir dissect.Dir) Side[C] {
	s := p[dir]
	p[dir] = Side[C]{}
	return s
}

// Forget ends a call: the rest of its messages is only counted. Emit needs it. It reports whether
// bytes of them were missing.
func (p *Parts[C]) Forget(c C) (gap bool) {
	var none C
	for i := range p {
		if p[i].Call == c {
			gap = gap || p[i].Gap
			p[i].Call, p[i].Final = none, false
		}
	}
	return gap
}
