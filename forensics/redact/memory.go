package redact

import (
	"math/bits"
	"strings"
	"sync/atomic"
)

// memory remembers verdicts on names, some at a time, for several goroutines.
type memory struct {
	slots [memorySlots]atomic.Pointer[said]
}

// memorySlots is how many verdicts are remembered, a power of two.
const memorySlots = 1 << 10

// said is a verdict that was given.
type said struct {
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

// put remembers a verdict; the one that was at its place moves on to the next.
func (m *memory) put(name string, v verdict) {
	if len(name) > maxName {
		return
	}
	at := spot(name)
	if s := m.slots[at].Load(); s != nil {
		m.slots[at^1].Store(s)
	}
	m.slots[at].Store(&said{strings.Clone(name), v})
}

// spot is where a name is remembered, made of its first and last bytes: a text whose names
// all meet at one costs what it would without memory.
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

// load4 and load8 are the numbers that the first bytes make.
func load4(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

func load8(s string) uint64 { return load4(s) | load4(s[4:])<<32 }
