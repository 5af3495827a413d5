package derive

import "hash/maphash"

// maxClean limits the rows that are remembered, to about 80 MB.
const maxClean = 1 << 21

// cleanRows are rows in which the policy found nothing, by a hash of their texts with a secret key, so nobody
// can forge a text with the hash of another. Rows that a redaction did not change need no second search.
type cleanRows struct {
	seed maphash.Seed
	rows map[uint64]struct{}
}

func newCleanRows() *cleanRows {
	return &cleanRows{maphash.MakeSeed(), map[uint64]struct{}{}}
}

// add remembers a row by its hash.
func (c *cleanRows) add(hash uint64) {
	if len(c.rows) < maxClean {
		c.rows[hash] = struct{}{}
	}
}

// has reports whether a row with these texts was remembered.
func (c *cleanRows) has(r *row) bool { return c.have(c.hash(r)) }

// have reports whether a row with this hash was remembered.
func (c *cleanRows) have(hash uint64) bool {
	_, ok := c.rows[hash]
	return ok
}

// hash is a hash of the row's texts, each with its column and its end.
func (c *cleanRows) hash(r *row) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	h.WriteString(r.table)
	for i, v := range r.values {
		h.WriteByte(0)
		h.WriteString(r.names[i])
		eachText(v, func(s string) {
			maphash.WriteComparable(&h, len(s))
			h.WriteString(s)
		})
	}
	return h.Sum64()
}
