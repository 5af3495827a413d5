package columnar

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
)

// intDictionary numbers the distinct integers of a column chunk in the order of their first
// occurrence.
type intDictionary[T int32 | int64] struct {
	spread  uint64 // odd, and unknown to the senders of the traffic, who therefore cannot cause collisions
	slots   []int32
	entries []T
	index   []int32
	out     []byte
}

const maxIntEntries = 4096

// build numbers v and reports whether the dictionary is smaller than limit bytes. It gives up
// early if most values differ.
func (d *intDictionary[T]) build(v []T, limit int) bool {
	if d.spread == 0 {
		d.spread = maphash.String(maphash.MakeSeed(), "") | 1
		d.slots = make([]int32, 4*maxIntEntries)
	}
	// A short chunk needs, and clears, only a part of the table.
	size := 1 << bits.Len(uint(2*min(len(v), maxIntEntries)))
	slots := d.slots[:size]
	shift := 64 - bits.TrailingZeros(uint(size))
	clear(slots)
	d.entries, d.index = d.entries[:0], slices.Grow(d.index[:0], len(v))[:len(v)]
	index, entry, mask := d.index, int32(-1), uint64(size-1)
	for k, x := range v {
		if k > 0 && v[k-1] == x {
			index[k] = entry
			continue
		}
		i := uint64(x) * d.spread >> shift
		for slots[i&mask] != 0 && d.entries[slots[i&mask]-1] != x {
			i++
		}
		if slots[i&mask] == 0 {
			if len(d.entries) == maxIntEntries || k >= 256 && 2*len(d.entries) > k {
				return false
			}
			d.entries = append(d.entries, x)
			slots[i&mask] = int32(len(d.entries))
		}
		entry = slots[i&mask] - 1
		index[k] = entry
	}
	const pageCost = 32 // an additional header
	return pageCost+len(d.plain())+len(v)*width(len(d.entries))/8 < limit
}

// plain is the body of the dictionary page.
func (d *intDictionary[T]) plain() []byte {
	d.out = d.out[:0]
	for _, x := range d.entries {
		switch x := any(x).(type) {
		case int32:
			d.out = binary.LittleEndian.AppendUint32(d.out, uint32(x))
		case int64:
			d.out = binary.LittleEndian.AppendUint64(d.out, uint64(x))
		}
	}
	return d.out
}
