package qpack

// table is a dynamic table, RFC 9204 section 3.2. Entries have absolute numbers from 0 on.
type table struct {
	ring     []entry // its length is a power of two
	start    int     // index of the oldest
	held     int
	size     int64 // of all entries held
	count    int64 // insertions so far; the newest entry is count-1
	capacity int64 // as set by the encoder
	largest  int64 // largest capacity so far
}

type entry struct {
	name, value string
	unknown     bool // the name was in an unknown entry
}

func (e *entry) cost() int64 { return int64(len(e.name) + len(e.value) + entryCost) }

// get returns the entry with an absolute number; one that is not held is unknown.
func (t *table) get(abs int64) entry {
	oldest := t.count - int64(t.held)
	if abs < oldest || abs >= t.count {
		return entry{UnknownText, UnknownText, true}
	}
	return t.ring[(t.start+int(abs-oldest))&(len(t.ring)-1)]
}

// add inserts an entry. It rejects an entry larger than the capacity that the encoder set. An
// entry larger than our own limit is counted, but not held.
func (t *table) add(e entry) error {
	cost := e.cost()
	if cost > t.capacity {
		return ErrCapacity
	}
	limit := min(t.capacity, maxTable)
	t.evict(limit - cost)
	t.count++
	if cost > limit {
		return nil
	}
	if t.held == len(t.ring) {
		ring := make([]entry, max(16, 2*len(t.ring)))
		for i := range t.held {
			ring[i] = t.ring[(t.start+i)&(len(t.ring)-1)]
		}
		t.ring, t.start = ring, 0
	}
	t.ring[(t.start+t.held)&(len(t.ring)-1)] = e
	t.held++
	t.size += cost
	return nil
}

// evict drops the oldest entries until the table has at most n bytes.
func (t *table) evict(n int64) {
	for t.held > 0 && t.size > n {
		e := &t.ring[t.start]
		t.size -= e.cost()
		*e = entry{}
		t.start = (t.start + 1) & (len(t.ring) - 1)
		t.held--
	}
}

func (t *table) resize(n int64) {
	t.capacity, t.largest = n, max(t.largest, n)
	t.evict(min(n, maxTable))
}
