package httpstream

// maxEnded is how many streams an Ended remembers.
const maxEnded = 1024

// Ended remembers the last streams that ended before both sides were done, so that what
// comes late for them opens none. The zero value is ready.
type Ended struct {
	keys  map[int64]struct{}
	order []int64 // a ring, once it is full
	next  int
}

// Memory is what it takes beside itself, in bytes.
func (t *Ended) Memory() int {
	const each = 32 // in both lists
	return each * cap(t.order)
}

// Has reports whether key is remembered.
func (t *Ended) Has(key int64) bool {
	_, ok := t.keys[key]
	return ok
}

// Add remembers key, in place of the one that was added first where there are too many.
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
