package texts

import "hash/maphash"

// Memo remembers verdicts on texts from row group to row group, for a Judge that takes
// long. It holds no texts, only 128 bits of hashes with secret seeds, and forgets what it
// has no room for. It is for one goroutine.
type Memo struct {
	seeds [2]maphash.Seed
	slots []memo
}

type memo struct {
	hash  [2]uint64
	v     Verdict
	known bool
}

// NewMemo makes a Memo that takes at most so many bytes.
func NewMemo(bytes int) *Memo {
	const slot = 32 // bytes
	n := 1
	for 2*n*slot <= bytes {
		n *= 2
	}
	return &Memo{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, slots: make([]memo, n)}
}

// Of is the verdict on a text as it stands under key, which judge gives where it is not
// remembered.
func (m *Memo) Of(key uint64, text []byte, judge func() Verdict) Verdict {
	h := [2]uint64{maphash.Bytes(m.seeds[0], text) ^ key*0x9e3779b97f4a7c15, maphash.Bytes(m.seeds[1], text) + key}
	s := &m.slots[h[0]&uint64(len(m.slots)-1)]
	if !s.known || s.hash != h {
		*s = memo{h, judge(), true}
	}
	return s.v
}
