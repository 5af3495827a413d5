package inorder

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// MaxSearched is how many requests a Queue holds after a loss, when each response may look at all of
// them. A dissector that looks through All has the same limit at all times, see Queue.Most.
const MaxSearched = 1 << 14

// Call is a request in a Queue, usually a pointer to the dissector's record of it.
type Call interface {
	comparable
	// Asked is the request's position, which the queue sets.
	Asked() *Request
	// Waits reports whether the response is not complete yet.
	Waits() bool
}

// Queue holds the requests of a connection from when they were sent until they are emitted, for
// protocols in which only the order connects responses with requests. It pairs them, again after
// a loss, and limits their number and memory. Embed it in a Dissector for Kept and Shed.
type Queue[C Call] struct {
	Conn *dissect.Conn
	Emit func(c C, why string) // emits a call, which must Remove it; why is the value of column error
	Busy func(c C) bool        // whether a message of c is being read, so that Shed must keep it; may be nil
	Most int                   // requests that it holds; 0: as many as the memory budget has room for

	line Line
	list []C // requests from head on, oldest first
	head int
	lost bool // responses may be missing: order alone does not pair
}

// All lists the requests, oldest first; valid until the next call of a method.
func (q *Queue[C]) All() []C { return q.list[q.head:] }

// Front is the oldest request without a complete response, or the zero value.
func (q *Queue[C]) Front() (c C) {
	for _, c := range q.All() {
		if c.Waits() {
			return c
		}
	}
	return c
}

// Lost reports whether responses may be missing, so that order alone does not pair.
func (q *Queue[C]) Lost() bool { return q.lost }

// Push appends a request that the client sent after it had received the bytes up to ack. It takes
// cost bytes of the budget until Remove. It returns the number of requests before it.
func (q *Queue[C]) Push(c C, ack uint32, cost int) int {
	if q.Most > 0 {
		q.limit(q.Most - 1)
	}
	cost = q.Conn.Keep(cost)
	if q.head > 64 && q.head*2 > len(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	var oldest *Request
	var none C
	if f := q.Front(); f != none && !q.lost {
		oldest = f.Asked()
	}
	*c.Asked() = q.line.Sent(ack, q.Conn.Now().Time, oldest)
	c.Asked().cost, c.Asked().queued = cost, true
	q.list = append(q.list, c)
	return len(q.All()) - 1
}

// limit gives up the oldest requests until at most n are left.
func (q *Queue[C]) limit(n int) {
	for len(q.All()) > n {
		q.Conn.Anomaly("limit", fmt.Sprintf("more than %d requests are pending", n), 0)
		if !q.Shed() {
			return
		}
	}
}

// Grow takes n more bytes of the budget for c until Remove.
func (q *Queue[C]) Grow(c C, n int) { c.Asked().cost += q.Conn.Keep(n) }

// Remove removes a call and returns its memory.
func (q *Queue[C]) Remove(c C) {
	a := c.Asked()
	q.Conn.Release(a.cost)
	a.cost = 0
	if !a.queued {
		return
	}
	a.queued = false
	for i := q.head; i < len(q.list); i++ {
		if q.list[i] != c {
			continue
		}
		copy(q.list[q.head+1:i+1], q.list[q.head:i])
		var none C
		q.list[q.head] = none
		if q.head++; q.head == len(q.list) {
			q.list, q.head = q.list[:0], 0
		}
		return
	}
}

// Answer returns the request that a response at seq answers. It is the zero value if that request
// was not captured or is not known. Requests that can no longer be answered are emitted.
func (q *Queue[C]) Answer(seq uint32) C {
	var none C
	f := q.Front()
	if f == none {
		return f
	}
	if q.lost || f.Asked().After {
		f = q.find(seq)
	}
	if f == none || f.Asked().Follows(seq) {
		return none
	}
	return f
}

// find restores the pairing after a loss.
func (q *Queue[C]) find(seq uint32) (c C) {
	q.limit(MaxSearched)
	m := q.line.Find(seq, func(yield func(int, *Request) bool) {
		for i, c := range q.All() {
			if c.Waits() && !yield(i, c.Asked()) {
				return
			}
		}
	})
	if m.Place >= 0 {
		c, q.lost = q.All()[m.Place], false
	} else if m.Any {
		q.lost = true
	}
	for n := m.End; n > 0 && q.All()[0] != c; n-- {
		q.Emit(q.All()[0], string(dissect.LossGap))
	}
	if m.Guessed {
		q.Conn.Anomaly("pairing_guessed", Guessed, 0)
	}
	return c
}

// Resync records that messages of a direction may be missing. Embedded in a Dissector that reads
// whole messages only, it is all of Dissector.Resync.
func (q *Queue[C]) Resync(dir dissect.Dir, _ dissect.Loss) {
	if dir == dissect.ToServer {
		q.line.Missing(nil)
	} else {
		q.lost = true
	}
}

// Kept implements dissect.Dissector; Conn.Keep counts the requests.
func (q *Queue[C]) Kept() int { return 0 }

// Shed implements dissect.Dissector: it gives up the oldest request that no message is being read
// of. Its response may still come.
func (q *Queue[C]) Shed() bool {
	list := q.All()
	for i, c := range list {
		if q.Busy != nil && q.Busy(c) {
			continue
		}
		var next *Request
		for _, d := range list[i+1:] {
			if d.Waits() {
				next = d.Asked()
				break
			}
		}
		q.line.Missing(next)
		q.Emit(c, "cut")
		return true
	}
	return false
}

// Close emits the requests, oldest first.
func (q *Queue[C]) Close(why dissect.End) {
	for len(q.All()) > 0 {
		q.Emit(q.All()[0], why.CallError())
	}
}
