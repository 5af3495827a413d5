package redact

import (
	"math/bits"
	"strings"
	"sync/atomic"
)

// memory is a cache of verdicts for names. It is safe for concurrent use.
type memory struct {
	slots [memorySlots]atomic.Pointer[cached]
}

// memorySlots is the size of the cache, a power of two.
const memorySlots = 1 << 10

// cached is a cached verdict.
type cached struct {
	name    string
	verdict verdict
}

func (m *memory) get(name string) (v verdict, known bool) {
	at := spot(name)
	if s := m.slots[at].Load(); s != nil && s.name == name {
		return s.verdict, true
	}
	if s := m.slots[at^1].Load(); s != nil && s.name == name {
		return s.verdict, true
	}
	return no, false
}

// put stores a verdict; the previous one in its slot moves to the next slot.
func (m *memory) put(name string, v verdict) {
	if len(name) > maxName {
		return
	}
	at := spot(name)
	if s := m.slots[at].Load(); s != nil {
		m.slots[at^1].Store(s)
	}
	m.slots[at].Store(&cached{strings.Clone(name), v})
}

// spot is the slot of a name, a hash of its first and last bytes. If all names of a text share one
// slot, the text costs as much as without the cache.
func spot(name string) uint64 {
	var a, b uint64
	switch n := len(name); {
	case n >= 8:
		a, b = load8(name), load8(name[n-8:])
	case n >= 4:
		a, b = load4(name), load4(name[n-4:])
	case n > 0:
		a, b = uint64(name[0]), uint64(name[n/2])<<8|uint64(name[n-1])
	}
	return (a ^ bits.RotateLeft64(b, 29) ^ uint64(len(name))) * 0x9E3779B97F4A7C15 >> 54 % memorySlots
}

// load4 and load8 read the first bytes as a number.
func load4(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

func load8(s string) uint64 { return load4(s) | load4(s[4:])<<32 }
