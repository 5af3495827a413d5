package dissect

import (
	"fmt"
	"math/bits"
	"sync"
)

// pools keep the buffers of bodies by size, because most bodies live for one round only.
type pools [maxClass - minClass + 1]sync.Pool

// Size classes are powers of two: 1 KiB to 16 MiB.
const (
	minClass = 10
	maxClass = 24
)

var buffers pools

// bufferSize is the capacity of a buffer that can hold n bytes.
func bufferSize(n int) int {
	c := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if c > maxClass {
		return n
	}
	return 1 << c
}

// get returns an empty buffer that can hold n bytes.
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

// put returns a buffer to its pool.
func (p *pools) put(b []byte) {
	c := bits.Len(uint(cap(b))) - 1
	if c < minClass || c > maxClass || cap(b) != 1<<c {
		return
	}
	empty := b[:0] // a separate variable, so that only kept buffers move to the heap
	p[c-minClass].Put(&empty)
}

// The pool supplies buffers for sides that wait for many bytes, such as complete encrypted
// records: allocating one for each record would cost more than decrypting it.
const (
	pooledNeed = 2 << 10  // smallest need that uses the pool
	pooledMost = 64 << 10 // a length field is trusted up to this size
)

// keep appends a copy of data to the unread bytes.
func (c *Conn) keep(s *side, data []byte) {
	s.keep(data)
	c.charge(s)
}

// charge charges the budget for the buffers of a side: for allocated bytes, not for used ones.
func (c *Conn) charge(s *side) {
	switch more := int(s.front) + cap(s.buf) + segCost*cap(s.segs) - s.charged; {
	case more > 0:
		c.owe(more)
		s.charged += more
	case more < 0:
		c.shrink(-more)
		s.charged += more
	}
}

// shorten drops n bytes at the front. Their memory is released once they are most of the
// allocation: moving the rest each time would be quadratic.
func (s *side) shorten(n int) {
	const least = 4 << 10
	s.buf = s.buf[n:]
	if s.front += int32(n); s.front > least && int(s.front) > 3*len(s.buf) {
		rest := append([]byte(nil), s.buf...)
		s.release()
		s.buf = rest
	}
}

func (s *side) keep(data []byte) {
	n := len(s.buf) + len(data)
	if n > cap(s.buf) {
		defer func() { s.front = 0 }() // the bytes move to new memory
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

// release frees the buffer of the unread bytes.
func (s *side) release() {
	buffers.put(s.whole)
	s.buf, s.whole, s.front = nil, nil, 0
}

const spareSegs = 16 // lists of segments that an engine keeps for sides to come

// arrived records that the bytes from s.off on came in p, if s has no unread bytes.
func (c *Conn) arrived(s *side, p Packet) {
	if e := c.engine; s.segs == nil && len(e.segs) > 0 {
		last := len(e.segs) - 1
		s.segs, e.segs = e.segs[last], e.segs[:last]
	}
	c.arrivals++
	s.segs = append(s.segs[:0], seg{s.off, p, c.arrivals})
}

// returnSegs takes the memory of segments from sides that wait for nothing: most connections
// are idle.
func (c *Conn) returnSegs() {
	for i := range c.sides {
		s := &c.sides[i]
		if len(s.segs) > 0 || s.segs == nil {
			continue
		}
		if e := c.engine; len(e.segs) < spareSegs {
			e.segs = append(e.segs, s.segs)
		}
		s.segs = nil
	}
}

// mostUnread is how many bytes a side may leave unread.
func (c *Conn) mostUnread(s *side) int {
	if c.state == detecting {
		return detectBuffered
	}
	return max(maxBuffered, s.need+64<<10)
}

// room charges n bytes and a segment to the budget.
func (c *Conn) room(s *side, n int) bool {
	if len(s.buf)+n > c.mostUnread(s) || !c.grow(n+segCost) {
		return false
	}
	s.charged += n + segCost
	return true
}

// makeRoom is room, but drops the oldest calls of this connection, so that reading can continue. The caller is not in
// Dissector.Read.
func (c *Conn) makeRoom(s *side, n int) bool {
	if c.room(s, n) {
		return true
	}
	if c.state != reading || len(s.buf)+n > c.mostUnread(s) {
		return false
	}
	kept := 0
	c.protect(0, func() { kept = c.Keep(n + segCost) })
	s.charged += kept
	return kept > 0
}

// overflow stops waiting for a direction that is neither read nor identified.
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
	why := "the engine reached its memory limit"
	if most := c.mostUnread(s); len(s.buf)+len(data) > most {
		why = fmt.Sprintf("a message exceeds the limit of %d bytes", most)
	}
	c.lost(dir, "limit", why)
	c.passOver(s, data)
}
