package kafka

// shareFetched reads the response of ShareFetch, with which the members of a share group get records. Only
// the acquired records are for the member; a server returns whole batches.
func (f *facts) shareFetched(b []byte, v int16) {
	r := newReader(b, true)
	f.throttled(r.int32())
	f.failed(r.int16(), r.str())
	if v >= 1 {
		r.int32() // how long the records stay acquired
	}
	for topics := r.count(); topics > 0 && !r.Short(); topics-- {
		f.topicOf(r, true)
		for n := r.count(); n > 0 && !r.Short(); n-- {
			p := f.part(r.int32())
			for range 2 { // of the fetch, and of acknowledgements in its request
				code, text := r.int16(), r.str()
				f.failed(code, text)
			}
			r.Skip(8) // the leader and its epoch
			r.tags()
			size := r.count()
			if r.Short() {
				break
			}
			got := min(size, r.Left())
			if f.batch(r.Bytes(got), size); got < size {
				f.partial = true
				f.c.uncounted = f.c.uncounted || topics > 1 || n > 1
				return
			}
			for n := r.count(); n > 0 && !r.Short(); n-- {
				first, last := r.int64(), r.int64()
				r.int16() // number of this delivery
				if r.tags(); !r.Short() {
					f.offsets(p, first, last)
				}
			}
			r.tags()
		}
		r.tags()
	}
	f.short(r)
}
