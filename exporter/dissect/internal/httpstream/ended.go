package httpstream

// maxEnded is how many streams an Ended keeps.
const maxEnded = 1024

// Ended keeps the latest streams that ended before both sides were done, so that late bytes do
// not open them again. The zero value is ready to use.
type Ended struct {
	keys  map[int64]struct{}
	order []int64 // a ring, once it is full
	next  int
}

// Memory is its memory in addition to its own size, in bytes.
func (t *Ended) Memory() int {
	const each = 32 // in both lists
	return each * cap(t.order)
}

// Has reports whether t contains key.
func (t *Ended) Has(key int64) bool {
	_, ok := t.keys[key]
	return ok
}

// Add adds key and removes the oldest one if there are too many.
func (t *Ended) Add(key int64) {
	if t.keys == nil {
		t.keys = map[int64]struct{}{}
	}
	if t.Has(key) {
		return
	}
	if len(t.order) < maxEnded {
		t.order = append(t.order, key)
	} else {
		delete(t.keys, t.order[t.next])
		t.order[t.next] = key
		t.next = (t.next + 1) % maxEnded
	}
	t.keys[key] = struct{}{}
}
