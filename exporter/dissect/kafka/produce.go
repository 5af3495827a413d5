package kafka

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Versions of Produce and Fetch that changed the messages.
const (
	produceFlexible, produceIDs = 9, 13
	fetchFlexible, fetchIDs     = 12, 13
)

// topicOf reads the name or the id of a topic.
func (f *facts) topicOf(r *reader, ids bool) {
	if ids {
		f.byID(r.uuid())
	} else {
		f.named(r.str())
	}
}

// produce reads the request of Produce.
func (f *facts) produce(b []byte, v int16) {
	r := newReader(b, v >= produceFlexible)
	if v >= 3 {
		f.row.Transaction = table.NonEmpty(message.Text(r.str()))
	}
	f.row.Acks = table.Some(int32(r.int16()))
	r.int32() // timeout
	for topics := r.count(); topics > 0 && !r.Short(); topics-- {
		f.topicOf(r, v >= produceIDs)
		for n := r.count(); n > 0 && !r.Short(); n-- {
			p := f.part(r.int32())
			size := r.count()
			got := min(size, r.Left())
			before := f.records
			f.batch(r.Bytes(got), size)
			f.c.wrote = append(f.c.wrote[:min(len(f.c.wrote), maxList)], written{p, f.records - before})
			if got < size {
				f.partial = true
				f.c.uncounted = f.c.uncounted || topics > 1 || n > 1
				return
			}
			r.tags()
		}
		r.tags()
	}
	f.short(r)
}

// written is the data that a request wrote to a partition.
type written struct {
	part    string
	records int64
}

// produced reads the response of Produce.
func (f *facts) produced(b []byte, v int16) {
	r := newReader(b, v >= produceFlexible)
	for topics := r.count(); topics > 0 && !r.Short(); topics-- {
		f.topicOf(r, v >= produceIDs)
		for n := r.count(); n > 0 && !r.Short(); n-- {
			p := f.part(r.int32())
			code, first := r.int16(), r.int64()
			if v >= 2 {
				r.int64() // time of appending
			}
			if v >= 5 {
				r.int64() // start of the log
			}
			var message []byte
			if v >= 8 {
				for n := r.count(); n > 0 && !r.Short(); n-- {
					r.int32()
					r.str()
					r.tags()
				}
				message = r.str()
			}
			r.tags()
			if r.Short() {
				break
			}
			if f.failed(code, message); code == 0 && first >= 0 {
				f.offsets(p, first, first+f.c.recordsOf(p)-1)
			}
		}
		r.tags()
	}
	if v >= 1 {
		f.throttled(r.int32())
	}
	f.short(r)
}

// wanted is the first offset that a request asks for.
type wanted struct {
	part   string
	offset int64
}

func (c *call) wantedOf(part string) int64 {
	for _, w := range c.wanted {
		if w.part == part {
			return w.offset
		}
	}
	return 0
}

func (c *call) recordsOf(part string) int64 {
	for _, w := range c.wrote {
		if w.part == part {
			return max(w.records, 1)
		}
	}
	return 1
}

// offsets keeps the offsets of records in a partition.
func (f *facts) offsets(part string, first, last int64) {
	if last > first {
		f.keep(&f.row.Offsets, fmt.Sprintf("%s:%d-%d", part, first, last))
	} else {
		f.keep(&f.row.Offsets, fmt.Sprintf("%s:%d", part, first))
	}
}

// fetch reads the request of Fetch.
func (f *facts) fetch(b []byte, v int16) {
	r := newReader(b, v >= fetchFlexible)
	if v < 15 {
		r.int32() // replica
	}
	r.Skip(8) // time to wait, least size
	if v >= 3 {
		r.int32() // most size
	}
	if v >= 4 {
		r.int8() // isolation
	}
	s := &f.c.fetching
	if v >= 7 {
		s.id, s.epoch, s.ids = r.int32(), r.int32(), v >= fetchIDs
	}
	for topics := r.count(); topics > 0 && !r.Short(); topics-- {
		f.topicOf(r, v >= fetchIDs)
		for n := r.count(); n > 0 && !r.Short(); n-- {
			part := r.int32()
			if v >= 9 {
				r.int32() // epoch of the leader
			}
			offset := r.int64()
			if v >= 12 {
				r.int32() // epoch of the last record
			}
			if v >= 5 {
				r.int64() // start of the log
			}
			r.int32() // most size
			if r.tags(); r.Short() {
				break
			}
			p := f.part(part)
			if v >= 7 && len(s.parts) < maxSessionParts {
				s.parts = append(s.parts, p)
				f.c.texts += len(p) + 16
			}
			if len(f.asks) < maxList {
				f.asks = append(f.asks, fmt.Sprintf("%s@%d", p, offset))
				f.c.wanted = append(f.c.wanted, wanted{p, offset})
				f.c.texts += 32
			}
		}
		r.tags()
	}
	if v >= 7 {
		forgotten := f.forgets(r, v)
		if known := f.k.sessions[s.id]; known != nil && s.epoch > 0 && !r.Short() {
			f.continues(known, forgotten)
		}
	}
	f.short(r)
}

// fetched reads the response of Fetch.
func (f *facts) fetched(b []byte, v int16) {
	r := newReader(b, v >= fetchFlexible)
	if v >= 1 {
		f.throttled(r.int32())
	}
	if v >= 7 {
		code := r.int16()
		f.failed(code, nil)
		f.begun(r.int32(), code)
	}
	for topics := r.count(); topics > 0 && !r.Short(); topics-- {
		f.topicOf(r, v >= fetchIDs)
		for n := r.count(); n > 0 && !r.Short(); n-- {
			part, code := r.int32(), r.int16()
			r.int64() // high watermark
			if v >= 4 {
				r.int64() // last stable offset
			}
			if v >= 5 {
				r.int64() // start of the log
			}
			if v >= 4 {
				for n := r.count(); n > 0 && !r.Short(); n-- {
					r.Skip(16)
					r.tags()
				}
			}
			if v >= 11 {
				r.int32() // replica to read from
			}
			size := r.count()
			if r.Short() {
				break
			}
			p := f.part(part)
			f.failed(code, nil)
			got := min(size, r.Left())
			if first, last := f.batch(r.Bytes(got), size); first >= 0 {
				f.c.came(f.topic)
				f.offsets(p, min(max(first, f.c.wantedOf(p)), last), last) // servers return whole batches
			}
			if got < size {
				f.partial = true
				f.c.uncounted = f.c.uncounted || topics > 1 || n > 1
				return
			}
			r.tags()
		}
		r.tags()
	}
	f.short(r)
}
