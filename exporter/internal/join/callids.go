package join

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// What is remembered of call_ids: the first ones, and then a Bloom filter whose size does not depend
// on the capture. A false positive costs a call the equality of its id with another bundle's, never
// uniqueness; with 5 million calls there is 1 in 10,000.
const (
	fewIDs     = 1 << 12 // without a filter: clearing it takes longer than reading a small capture
	idBlocks   = 1 << 18 // of 512 bits, 16 MiB at the default memory limit
	idBits     = 8       // of a block that an id sets
	maxIDTries = 16      // equal messages of one time; more are distinguished by call_no
)

// callIDs makes call_ids unique in a bundle. A message may be sent again with the same bytes
// from the same ports, and test traffic has equal sequence numbers: from the second on, the
// time becomes a part of the id's first bytes. The rest stays, so that other bundles can be
// compared by it; docs/format/calls.md.
type callIDs struct {
	few     map[table.ID]struct{} // up to fewIDs
	seen    [][8]uint64           // nil as long as there are few
	touched uint64                // is there so that touch has an effect
	limit   memory.Limit
}

// unique makes the id of a call, which is of its content alone, the only one of its kind. It returns whether
// another call had it.
func (u *callIDs) unique(c *table.Call) (again bool) {
	if !u.add(c.CallID) {
		return false
	}
	var b [table.ContentID + 16]byte
	copy(b[:], c.CallID[len(c.CallID)-table.ContentID:])
	binary.BigEndian.PutUint64(b[table.ContentID:], uint64(c.TsNs))
	for try := 0; ; try++ {
		n := uint64(try)
		if try >= maxIDTries {
			n += uint64(c.CallNo)
		}
		binary.BigEndian.PutUint64(b[table.ContentID+8:], n)
		sum := sha256.Sum256(b[:])
		copy(c.CallID[:len(c.CallID)-table.ContentID], sum[:])
		if !u.add(c.CallID) || try > 2*maxIDTries {
			return true
		}
	}
}

// touch reads what add will need. Each read is a cache miss, and independent reads take a fraction of the time of
// dependent ones.
func (u *callIDs) touch(id table.ID) {
	if u.seen == nil {
		return
	}
	block, _ := u.place(id)
	u.touched ^= block[0]
}

// place is an id's block and the hash that its bits follow from. Both halves of an id are
// hashes, but those of one content differ in the first bytes only.
func (u *callIDs) place(id table.ID) (*[8]uint64, uint64) {
	h := binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:])*0x9e3779b97f4a7c15
	return &u.seen[h%uint64(len(u.seen))], (h ^ h>>29) * 0xbf58476d1ce4e5b9
}

// add records an id and reports whether it may have been recorded before.
func (u *callIDs) add(id table.ID) bool {
	if u.seen != nil {
		return u.note(id)
	}
	if _, again := u.few[id]; again {
		return true
	}
	if len(u.few) < fewIDs {
		if u.few == nil {
			u.few = map[table.ID]struct{}{}
		}
		u.few[id] = struct{}{}
		return false
	}
	u.seen = make([][8]uint64, u.limit.Scale(idBlocks))
	for id := range u.few {
		u.note(id)
	}
	u.few = nil
	return u.note(id)
}

// note is add with the filter.
func (u *callIDs) note(id table.ID) bool {
	block, h := u.place(id)
	g := (h ^ h>>32) * 0x94d049bb133111eb
	seen := true
	for range idBits {
		bit := uint64(1) << (g & 63)
		word := &block[g>>6&7]
		seen = seen && *word&bit != 0
		*word |= bit
		g >>= 9
		if g < 1<<9 {
			g |= h << 9
		}
	}
	return seen
}
