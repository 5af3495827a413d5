package secrets

import (
	"cmp"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sort"
)

// entry is a line of a key log in 16 bytes.
type entry struct {
	id    uint64 // 40 bits of the identifier's hash, 24 of the secret's fingerprint
	place uint64 // 46 bits of the line's offset in all sources, 12 more of the fingerprint, 6 of the label
}

const (
	printBits = 24
	moreBits  = 12
	labelBits = 6
	lowBits   = moreBits + labelBits
	maxPlace  = 1 << (64 - lowBits)
	buckets   = 256 // by 8 more bits of the identifier's hash
	piece     = 1024
	// maxEntries limits the memory of a store to 512 MiB.
	maxEntries = 1 << 25
)

func (e entry) at() int64 { return int64(e.place >> lowBits) }
func (e entry) code() int { return int(e.place & (1<<labelBits - 1)) }

// same reports whether entries have the same identifier, label and secret.
func (e entry) same(f entry) bool { return e.id == f.id && (e.place^f.place)&(1<<lowBits-1) == 0 }

// index finds lines by their identifier. It grows in pieces, because doubling a slice would
// briefly need three times the memory.
type index struct {
	seed    maphash.Seed // random, so that input cannot cause collisions
	kinds   [kinds]uint64
	buckets [buckets]bucket
	entries int
}

// bucket stores entries in pieces; all but the last are full.
type bucket struct {
	pieces [][]entry
	n      int
}

func (b *bucket) at(i int) entry { return b.pieces[i/piece][i%piece] }

func (b *bucket) add(e entry) {
	last := len(b.pieces) - 1
	if last < 0 || len(b.pieces[last]) == piece {
		n := piece
		if last < 0 {
			n = 4 // most logs are short
		}
		b.pieces = append(b.pieces, make([]entry, 0, n))
		last++
	}
	b.pieces[last] = append(b.pieces[last], e)
	b.n++
}

func newIndex() index {
	return index{seed: maphash.MakeSeed(), kinds: [kinds]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()}}
}

// hash returns the bucket and the 40 bits of an identifier. Kinds have separate hashes.
func (x *index) hash(kind byte, id []byte) (int, uint64) {
	v := maphash.Bytes(x.seed, id) ^ x.kinds[kind]
	return int(v % buckets), v >> 24 << printBits
}

// print is a fingerprint of 36 bits, which distinguishes the secrets of one identifier.
func (x *index) print(s *Secret) uint64 {
	return (maphash.Bytes(x.seed, s.Value) + (uint64(s.N)<<8+uint64(s.Label))*0x9e3779b97f4a7c15) >> (64 - printBits - moreBits)
}

// code is a label and its number in 6 bits. High numbers share the last code.
func (s *Secret) code() uint64 {
	const shared = 1<<labelBits - 1
	if s.N == 0 {
		return uint64(s.Label)
	}
	n := int(labels) + 2*(s.N-1)
	if s.Label == ServerTraffic {
		n++
	}
	return uint64(min(n, shared))
}

// What an identifier is.
const (
	byRandom byte = iota
	byEncrypted
	bySession
	kinds
)

func kindOf(l Label) byte {
	switch l {
	case PreMasterRSA:
		return byEncrypted
	case SessionID:
		return bySession
	}
	return byRandom
}

func (x *index) add(s *Secret, at int64) {
	b, id := x.hash(kindOf(s.Label), s.ID)
	p := x.print(s)
	x.buckets[b].add(entry{id | p>>moreBits, uint64(at)<<lowBits | p&(1<<moreBits-1)<<labelBits | s.code()})
	x.entries++
}

// finish sorts the entries and drops duplicates. It reports the place of each duplicate and
// each conflict: the later of two lines.
func (x *index) finish(duplicate, conflict func(at int64)) {
	most := 0
	for i := range x.buckets {
		most = max(most, x.buckets[i].n)
	}
	all := make([]entry, 0, most)
	for i := range x.buckets {
		b := &x.buckets[i]
		if b.n == 0 {
			continue
		}
		all = all[:0]
		for _, p := range b.pieces {
			all = append(all, p...)
		}
		slices.SortFunc(all, func(a, b entry) int {
			return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.place&(1<<lowBits-1), b.place&(1<<lowBits-1)), cmp.Compare(a.place, b.place))
		})
		kept := all[:0]
		for _, e := range all {
			if n := len(kept); n > 0 && kept[n-1].same(e) {
				duplicate(e.at())
				continue
			}
			kept = append(kept, e)
		}
		for from := 0; from < len(kept); {
			to := from + 1
			for to < len(kept) && kept[to].id>>printBits == kept[from].id>>printBits {
				to++
			}
			group := kept[from:to]
			slices.SortFunc(group, func(a, b entry) int { return cmp.Compare(a.place, b.place) })
			var seen uint64
			for _, e := range group {
				bit := uint64(1) << e.code()
				if seen&bit != 0 && e.code() != 1<<labelBits-1 {
					conflict(e.at())
				}
				seen |= bit
			}
			from = to
		}
		x.entries -= b.n - len(kept)
		b.refill(kept)
	}
}

// refill puts entries back into the pieces, which are large enough.
func (b *bucket) refill(all []entry) {
	b.n = len(all)
	for i, p := range b.pieces {
		n := min(len(p), len(all))
		b.pieces[i] = p[:copy(p[:n], all)]
		all = all[n:]
	}
}

// find yields the entries of an identifier in the order of their places.
func (x *index) find(kind byte, id []byte, yield func(entry) bool) {
	i, want := x.hash(kind, id)
	b := &x.buckets[i]
	for k := sort.Search(b.n, func(k int) bool { return b.at(k).id>>printBits >= want>>printBits }); k < b.n; k++ {
		if e := b.at(k); e.id>>printBits != want>>printBits || !yield(e) {
			return
		}
	}
}

// first returns up to max entries with matching codes in the order of their places.
func (x *index) first(max int, match func(code int) bool) []entry {
	var list []entry
	trim := func() {
		slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.place, b.place) })
		list = list[:min(len(list), max)]
	}
	for i := range x.buckets {
		for _, p := range x.buckets[i].pieces {
			for _, e := range p {
				if match(e.code()) {
					list = append(list, e)
				}
			}
			if len(list) > 2*max+piece {
				trim()
			}
		}
	}
	trim()
	return list
}
