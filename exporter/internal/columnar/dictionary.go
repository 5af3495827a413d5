package columnar

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// dictionary numbers the distinct texts of a column chunk in the order of their first
// occurrence, so the numbers do not depend on the hash.
type dictionary struct {
	seed    maphash.Seed
	seeded  bool
	slots   []slot
	entries []uint32 // number of the value with the first occurrence of each entry
	index   []int32  // entry of each value
	from    *values
	size    int // bytes of the entries in Parquet's format
	out     []byte
}

type slot struct {
	hash  uint32
	entry int32 // plus 1; 0 is empty
}

// Limits of a dictionary.
const (
	maxEntries   = 1 << 16
	maxDictBytes = 1 << 20
	maxDictText  = 4096 // a longer text is rarely repeated enough
)

// build numbers the texts of v and reports whether a dictionary saves space. It gives up early
// if most texts differ; few means that the column is marked for a dictionary.
func (d *dictionary) build(v *values, few bool) bool {
	n := len(v.ends) - 1
	d.start(v)
	probe := 256
	if few {
		probe = 4096
	}
	last := []byte(nil)
	entry := int32(-1)
	for k := range n {
		text := v.at(k)
		if entry < 0 || !bytes.Equal(text, last) {
			if len(text) > maxDictText {
				return false
			}
			entry = d.find(text, k)
			if len(d.entries) > maxEntries || d.size > maxDictBytes || k >= probe && 2*len(d.entries) > k {
				return false
			}
			last = text
		}
		d.index = append(d.index, entry)
	}
	const pageCost = 32 // an additional header
	return d.size+n*width(len(d.entries))/8+pageCost < len(v.data)+n
}

func (d *dictionary) start(v *values) {
	if !d.seeded {
		d.seed, d.seeded = maphash.MakeSeed(), true
		d.slots = make([]slot, 256)
	}
	clear(d.slots)
	d.from, d.size = v, 0
	d.entries, d.index = d.entries[:0], d.index[:0]
}

// find returns the entry of text, which is value k, and creates it if it is new.
func (d *dictionary) find(text []byte, k int) int32 {
	h := uint32(maphash.Bytes(d.seed, text))
	mask := uint32(len(d.slots) - 1)
	i := h & mask
	for d.slots[i].entry != 0 {
		if s := d.slots[i]; s.hash == h && bytes.Equal(d.text(int(s.entry-1)), text) {
			return s.entry - 1
		}
		i = (i + 1) & mask
	}
	d.entries = append(d.entries, uint32(k))
	d.size += 4 + len(text)
	d.slots[i] = slot{h, int32(len(d.entries))}
	if 2*len(d.entries) > len(d.slots) {
		d.grow()
	}
	return int32(len(d.entries) - 1)
}

func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]slot, 4*len(old))
	mask := uint32(len(d.slots) - 1)
	for _, s := range old {
		if s.entry == 0 {
			continue
		}
		i := s.hash & mask
		for d.slots[i].entry != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = s
	}
}

func (d *dictionary) len() int { return len(d.entries) }

func (d *dictionary) text(entry int) []byte { return d.from.at(int(d.entries[entry])) }

// plain is the body of the dictionary page.
func (d *dictionary) plain() []byte {
	d.out = d.out[:0]
	for i := range d.entries {
		t := d.text(i)
		d.out = binary.LittleEndian.AppendUint32(d.out, uint32(len(t)))
		d.out = append(d.out, t...)
	}
	return d.out
}

func (d *dictionary) extremes() (low, high []byte) {
	low = d.text(0)
	high = low
	for i := range d.entries {
		t := d.text(i)
		if bytes.Compare(t, low) < 0 {
			low = t
		}
		if bytes.Compare(t, high) > 0 {
			high = t
		}
	}
	return low, high
}
