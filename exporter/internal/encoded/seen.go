package encoded

import "hash/maphash"

// Seen remembers some of the texts that need no second search, by a hash with a secret key, so nobody can make a text
// with the hash of another. The zero value remembers none yet. One goroutine uses it.
type Seen struct {
	seed maphash.Seed
	sums []uint64 // each at a place that follows from it
}

const mostSeen = 1 << 15 // texts

// Sum is the hash of a text, never 0.
func (s *Seen) Sum(b []byte) uint64 {
	if s.sums == nil {
		s.seed, s.sums = maphash.MakeSeed(), make([]uint64, mostSeen)
	}
	return maphash.Bytes(s.seed, b) | 1
}

// Has reports whether a text was added, by its hash.
func (s *Seen) Has(sum uint64) bool { return s.sums[sum>>1%mostSeen] == sum }

// Add remembers a text.
func (s *Seen) Add(sum uint64) { s.sums[sum>>1%mostSeen] = sum }
