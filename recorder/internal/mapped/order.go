//go:build linux

package mapped

type record struct {
	time uint64
	seq  uint64
	body []byte
}

// queue orders records by time. Nearly all arrive in order, so a new one finds its place
// from the back in a step or two.
type queue struct {
	ring []record // its length is a power of two
	head uint64
	n    int
}

func (q *queue) at(i int) *record { return &q.ring[(q.head+uint64(i))&uint64(len(q.ring)-1)] }

func (q *queue) push(r record) {
	if q.n == len(q.ring) {
		q.grow()
	}
	i := q.n
	for i > 0 && q.at(i-1).time > r.time {
		*q.at(i) = *q.at(i - 1)
		i--
	}
	*q.at(i) = r
	q.n++
}

func (q *queue) grow() {
	ring := make([]record, max(1024, 2*len(q.ring)))
	for i := range q.n {
		ring[i] = *q.at(i)
	}
	q.ring, q.head = ring, 0
}

func (q *queue) pop(limit uint64) (record, bool) {
	if q.n == 0 || q.at(0).time > limit {
		return record{}, false
	}
	r := *q.at(0)
	q.head++
	q.n--
	return r, true
}

// inFlight tracks up to where all records of the buffer are done.
type inFlight struct {
	list    []flight // its length is a power of two
	head    uint64   // number of the first one that is not done
	tail    uint64
	end     uint64 // everything before it is done
	records uint64 // before end
}

type flight struct {
	end    uint64 // where it ends
	record bool   // not only room that the kernel gave up
	ready  bool
}

func (f *inFlight) at(seq uint64) *flight { return &f.list[seq&uint64(len(f.list)-1)] }

func (f *inFlight) add(end uint64, record bool) uint64 {
	if f.tail-f.head == uint64(len(f.list)) {
		f.grow()
	}
	*f.at(f.tail) = flight{end: end, record: record}
	f.tail++
	return f.tail - 1
}

func (f *inFlight) grow() {
	n := max(1024, 2*len(f.list))
	list := make([]flight, n)
	for i := f.head; i < f.tail; i++ {
		list[i&uint64(n-1)] = *f.at(i)
	}
	f.list = list
}

func (f *inFlight) done(seq uint64) {
	f.at(seq).ready = true
	for f.head < f.tail && f.at(f.head).ready {
		x := f.at(f.head)
		f.end = x.end
		if x.record {
			f.records++
		}
		f.head++
	}
}
