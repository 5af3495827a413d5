package proof

import "math/bits"

// Limits of settled.
const (
	settledBits = 1 << 22
	maxSettled  = settledBits / 16 // then at most 2 % of all others also count as settled
)

// settled is a set of conversations, by hash, that are no longer examined. It drops all of them when there are too
// many.
//
// LIMIT: a few other conversations also count as settled, so they are not paired.
type settled struct {
	bits []uint64
	n    int
}

// placeHash is a hash of ends, which have a hash of their own, in a network.
func placeHash(ends, network uint64) uint64 { return ends ^ bits.RotateLeft64(network, 17) }

// settledAt returns a conversation's word and its two bits in it.
func settledAt(hash uint64) (word int, mask uint64) {
	return int(hash >> 8 % (settledBits / 64)), 1<<(hash>>40%64) | 1<<(hash>>46%64)
}

func (s *settled) add(hash uint64) {
	switch {
	case s.bits == nil:
		s.bits = make([]uint64, settledBits/64)
	case s.n == maxSettled:
		clear(s.bits)
		s.n = 0
	}
	if word, mask := settledAt(hash); s.bits[word]&mask != mask {
		s.bits[word] |= mask
		s.n++
	}
}

// remove makes a conversation examined again; a few others are, too.
func (s *settled) remove(hash uint64) {
	if s.has(hash) {
		word, mask := settledAt(hash)
		s.bits[word] &^= mask
		s.n--
	}
}

func (s *settled) has(hash uint64) bool {
	if s.bits == nil {
		return false
	}
	word, mask := settledAt(hash)
	return s.bits[word]&mask == mask
}
