// Package byid pairs responses with requests by a number or name that both carry, such as a
// correlation id or a channel.
package byid

import (
	"iter"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/linked"
)

const entryCost = 96 // memory of an entry and of its place in the map

// Table holds the requests of a connection from when they were sent until they are emitted, as many
// as the memory budget has room for. Embed it in a Dissector for Resync, Kept, Shed and Close. The
// zero value needs Conn and Emit.
type Table[K comparable, C any] struct {
	Conn *dissect.Conn
	Emit func(c C, why string) // emits a call; why is the value of column error
	Wait int64                 // ns after which a request in a datagram counts as unanswered; 0 is never

	byKey   map[K]*Entry[K, C]
	entries linked.List[Entry[K, C]]
	count   int64 // entries added so far
	lost    int64 // entries before this one may have lost their response in a gap
	took    K     // key of the newest response that has its request
	tookAt  dissect.Instant
}

// Entry is a request in a Table.
type Entry[K comparable, C any] struct {
	key          K
	call         C
	no           int64
	at           int64 // when it was sent, ns
	cost         int
	place        linked.Place[Entry[K, C]]
	older, newer *Entry[K, C] // with the same key
	in           bool
}

// Put adds a request, which takes cost bytes of the budget. An earlier one with the same key, which can no longer be
// answered, is emitted as no_response.
func (t *Table[K, C]) Put(key K, c C, cost int) {
	now := t.Conn.Now().Time
	for e := t.entries.Oldest(); t.Wait > 0 && e != nil && now-e.at > t.Wait; e = t.entries.Oldest() {
		t.emit(e, "no_response")
	}
	if old := t.byKey[key]; old != nil {
		t.emit(old, "no_response")
	}
	t.Add(key, c, cost)
}

// Add adds a request as Put does, but keeps an earlier one with the same key.
func (t *Table[K, C]) Add(key K, c C, cost int) *Entry[K, C] {
	e := &Entry[K, C]{key: key, call: c, no: t.count, at: t.Conn.Now().Time, cost: t.Conn.Keep(cost + entryCost), in: true}
	t.count++
	if t.byKey == nil {
		t.byKey = map[K]*Entry[K, C]{}
	}
	if e.older = t.byKey[key]; e.older != nil {
		e.older.newer = e
	}
	t.byKey[key] = e
	t.entries.Add(&e.place, e)
	return e
}

// Same lists at most n requests with a key, the newest first.
func (t *Table[K, C]) Same(key K, n int) iter.Seq[C] {
	return func(yield func(C) bool) {
		for e := t.byKey[key]; e != nil && n > 0; e, n = e.older, n-1 {
			if !yield(e.call) {
				return
			}
		}
	}
}

// Get returns the newest request with a key and leaves it in the table.
func (t *Table[K, C]) Get(key K) (c C, ok bool) {
	if e := t.byKey[key]; e != nil {
		return e.call, true
	}
	return c, false
}

// First is the oldest request, or the zero value.
func (t *Table[K, C]) First() (c C) {
	if e := t.entries.Oldest(); e != nil {
		c = e.call
	}
	return c
}

// Oldest lists at most n requests, the oldest first.
func (t *Table[K, C]) Oldest(n int) iter.Seq[C] {
	return func(yield func(C) bool) {
		for e := t.entries.Oldest(); e != nil && n > 0; e, n = e.place.Next(), n-1 {
			if !yield(e.call) {
				return
			}
		}
	}
}

// Newest lists at most n requests, the newest first.
func (t *Table[K, C]) Newest(n int) iter.Seq[C] {
	return func(yield func(C) bool) {
		for e := t.entries.Newest(); e != nil && n > 0; e, n = e.place.Prev(), n-1 {
			if !yield(e.call) {
				return
			}
		}
	}
}

// Grow takes n more bytes of the budget for the request with a key.
func (t *Table[K, C]) Grow(key K, n int) {
	if e := t.byKey[key]; e != nil {
		e.cost += t.Conn.Keep(n)
	}
}

// Take removes the newest request with a key and returns it.
func (t *Table[K, C]) Take(key K) (c C, ok bool) {
	e := t.byKey[key]
	if e == nil {
		return c, false
	}
	t.Remove(e)
	now := t.Conn.Now()
	t.took, t.tookAt = key, now.Instant()
	return e.call, true
}

// Drop removes the newest request with a key if it is c.
func Drop[K, C comparable](t *Table[K, C], key K, c C) {
	if e := t.byKey[key]; e != nil && e.call == c {
		t.Remove(e)
	}
}

// Len is the number of requests.
func (t *Table[K, C]) Len() int { return len(t.byKey) }

// Remove removes a request that Add added, unless it is removed already.
func (t *Table[K, C]) Remove(e *Entry[K, C]) {
	if e == nil || !e.in {
		return
	}
	e.in = false
	if e.older != nil {
		e.older.newer = e.newer
	}
	switch {
	case e.newer != nil:
		e.newer.older = e.older
	case e.older != nil:
		t.byKey[e.key] = e.older
	default:
		delete(t.byKey, e.key)
	}
	t.Conn.Release(e.cost)
	t.entries.Remove(&e.place)
}

func (t *Table[K, C]) emit(e *Entry[K, C], why string) {
	t.Remove(e)
	if e.no < t.lost {
		switch why {
		case "no_response", "reset", "timeout": // the response may be among the lost bytes
			why = string(dissect.LossGap)
		}
	}
	t.Emit(e.call, why)
}

// Gap implements dissect.Dissector: a message with a gap has lost its meaning. A dissector that reads
// messages with gaps has its own.
func (t *Table[K, C]) Gap(*dissect.Input, int64) bool { return false }

// Resync implements dissect.Dissector. Later responses still find their requests; those of the
// pending ones may have been lost.
func (t *Table[K, C]) Resync(dir dissect.Dir, _ dissect.Loss) {
	if dir == dissect.ToClient {
		t.lost = t.count
	}
}

// Lost reports whether responses to some of the pending requests may have been lost.
func (t *Table[K, C]) Lost() bool {
	e := t.entries.Oldest()
	return e != nil && e.no < t.lost
}

// MayBeLost reports whether the response to the newest request with a key may have been lost.
func (t *Table[K, C]) MayBeLost(key K) bool {
	e := t.byKey[key]
	return e != nil && e.no < t.lost
}

// Kept implements dissect.Dissector; Conn.Keep counts the requests.
func (t *Table[K, C]) Kept() int { return 0 }

// Shed implements dissect.Dissector: it ends the oldest request.
func (t *Table[K, C]) Shed() bool {
	e := t.entries.Oldest()
	if e == nil {
		return false
	}
	t.emit(e, "cut")
	return true
}

// Close implements dissect.Dissector: it emits the requests, oldest first. A datagram has no
// connection that could end before its response comes.
func (t *Table[K, C]) Close(why dissect.End) {
	word := why.CallError()
	if t.Conn.Info.Transport == dissect.UDP && why != dissect.EndEvicted {
		word = "no_response"
	}
	for e := t.entries.Oldest(); e != nil; e = t.entries.Oldest() {
		t.emit(e, word)
	}
}
