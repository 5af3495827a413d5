package dissect

import (
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
	b = b[:0]
	p[c-minClass].Put(&b)
}
