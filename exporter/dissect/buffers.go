package dissect

import (
	"fmt"
	"math/bits"
	"sync"
)

// pools keep buffers of bodies by size, since most bodies live for one round only.
type pools [maxClass - minClass + 1]sync.Pool

// Classes are powers of two: 1 KiB to 16 MiB.
const (
	minClass = 10
	maxClass = 24
)

var buffers pools

// bufferSize is the capacity of a buffer with room for n bytes.
func bufferSize(n int) int {
	c := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if c > maxClass {
		return n
	}
	return 1 << c
}

// get returns an empty buffer with room for n bytes.
func (p *pools) get(n int) []byte {
	c := max(bits.Len(uint(n-1)), minClass)
	if c > maxClass {
		return make([]byte, 0, n)
	}
	if b, ok := p[c-minClass].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1<<c)
}

// put takes a buffer back.
func (p *pools) put(b []byte) {
	c := bits.Len(uint(cap(b))) - 1
	if c < minClass || c > maxClass || cap(b) != 1<<c {
		return
	}
	empty := b[:0] // a variable of its own, so that only what is kept is moved to the heap
	p[c-minClass].Put(&empty)
}

// Buffers of sides that wait for much, such as for whole records of encryption, come out of
// the pool: making one for each record would cost more than opening it.
const (
	pooledNeed = 2 << 10  // bytes asked for from which on the pool is used
	pooledMost = 64 << 10 // a length field is believed up to here
)

// keep appends data to what is left over; it copies.
func (c *Conn) keep(s *side, data []byte) {
	s.keep(data)
	c.charge(s)
}

// charge takes what a side holds out of the budget: what was allocated, not what of it is
// in use.
func (c *Conn) charge(s *side) {
	switch more := s.front + cap(s.buf) + segCost*len(s.segs) - s.charged; {
	case more > 0:
		c.owe(more)
		s.charged += more
	case more < 0:
		c.shrink(-more)
		s.charged += more
	}
}

// shorten forgets n bytes at the front. They are given back once they are most of what was
// allocated: moving the rest each time would cost the square of its length.
func (s *side) shorten(n int) {
	const least = 4 << 10
	s.buf = s.buf[n:]
	if s.front += n; s.front > least && s.front > 3*len(s.buf) {
		rest := append([]byte(nil), s.buf...)
		s.release()
		s.buf = rest
	}
}

func (s *side) keep(data []byte) {
	n := len(s.buf) + len(data)
	if n > cap(s.buf) {
		defer func() { s.front = 0 }() // it moves
	}
	switch {
	case n <= cap(s.buf):
		s.buf = append(s.buf, data...)
	case s.need < pooledNeed && s.whole == nil:
		s.buf = append(s.buf, data...)
	case s.whole != nil && n <= cap(s.whole) && len(s.buf) <= cap(s.whole)/2:
		s.buf = append(append(s.whole[:0], s.buf...), data...)
	default:
		bigger := buffers.get(bufferSize(max(n, min(s.need+pooledNeed, pooledMost))))
		bigger = append(append(bigger, s.buf...), data...)
		buffers.put(s.whole)
		s.buf, s.whole = bigger, bigger[:0]
	}
}

// release gives back what held the bytes left over.
func (s *side) release() {
	buffers.put(s.whole)
	s.buf, s.whole, s.front = nil, nil, 0
}

// room takes n bytes and a segment out of the budgets.
func (c *Conn) room(s *side, n int) bool {
	limit := max(maxBuffered, s.need+64<<10)
	if c.state == detecting {
		limit = detectBuffered
	}
	if len(s.buf)+n > limit || !c.grow(n+segCost) {
		return false
	}
	s.charged += n + segCost
	return true
}

// overflow ends the patience with a direction that is neither taken nor told.
func (c *Conn) overflow(dir Dir, data []byte, p Packet) {
	if c.claim != nil {
		was := c.flipped
		c.withdraw("a message over a limit")
		if c.flipped != was {
			dir = dir.Other()
		}
	}
	s := &c.sides[dir]
	if c.state == detecting {
		c.giveUp()
		c.skip(dir, data, p)
		return
	}
	c.lost(dir, "limit", fmt.Sprintf("a message over the limit of %d bytes", len(s.buf)))
	c.AnomalyBytes += int64(len(data))
	s.off += int64(len(data))
}
