package dissect

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
)

// QueuedRequest is what a Queue knows of a request.
type QueuedRequest struct {
	inorder.Request

	cost   int // bytes of the budget that it uses
	queued bool
	ahead  int64 // responses to given-up requests that come before that to this one
}

// Cost is the number of bytes of the budget that the request uses in its Queue.
func (q *QueuedRequest) Cost() int { return q.cost }

// Queued is a request in a Queue, usually a pointer to the dissector's record of it.
type Queued interface {
	comparable
	// Asked is what the queue knows of the request, which it sets.
	Asked() *QueuedRequest
	// Waits reports whether the response is not complete yet.
	Waits() bool
}

// Queue holds the requests of a connection from when they were sent until they are emitted, for
// protocols in which only the order connects responses with requests. It pairs them, again after
// a loss. Only the memory budget limits their number. Requests that were given up for memory are
// counted, so that the responses to the others still find them. Embed it in a Dissector for Kept and
// Shed.
type Queue[C Queued] struct {
	Conn *Conn
	Emit func(c C, why string) // emits a call, which must Remove it; why is the value of column error
	Busy func(c C) bool        // whether a message of c is being read, so that Shed must keep it; may be nil

	// Replies is the number of responses that c still waits for, and whether it is known; nil: 1.
	Replies func(c C) (n int64, known bool)

	line   Line
	list   []C // requests from head on, oldest first
	head   int
	ahead  int64 // responses to requests that were given up after all in list
	lost   bool  // responses may be missing: order alone does not pair
	starts bool  // those before the first one are missing
	passes bool  // the newest response, at passed, answers a request that was given up
	passed uint32
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
	cost = q.Conn.Keep(cost)
	if q.head > 64 && q.head*2 > len(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	var oldest *inorder.Request
	var none C
	if f := q.Front(); f != none && !q.lost && f.Asked().ahead == 0 {
		oldest = &f.Asked().Request
	}
	a := c.Asked()
	*a = QueuedRequest{q.line.Sent(q.Conn, ack, oldest), cost, true, q.ahead}
	q.ahead = 0
	q.list = append(q.list, c)
	return len(q.All()) - 1
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
	q.inherit(c)
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

// inherit passes the count of dropped requests before c to the request after c.
func (q *Queue[C]) inherit(c C) {
	n := c.Asked().ahead
	if n == 0 {
		return
	}
	c.Asked().ahead = 0
	all := q.All()
	if i := slices.Index(all, c); i+1 < len(all) {
		all[i+1].Asked().ahead += n
	} else {
		q.ahead += n
	}
}

// before is the counter of requests that were dropped before the next one to answer.
func (q *Queue[C]) before() *int64 {
	for _, c := range q.All() {
		if a := c.Asked(); a.ahead > 0 || c.Waits() {
			return &a.ahead
		}
	}
	return &q.ahead
}

// Ahead reports whether the next response answers a request that was dropped.
func (q *Queue[C]) Ahead() bool { return *q.before() > 0 }

// Passes reports whether the response at seq answers a request that was dropped.
func (q *Queue[C]) Passes(seq uint32) bool {
	if q.passes && q.passed == seq {
		return true
	}
	n := q.before()
	if q.passes = *n > 0; q.passes {
		*n--
		q.passed = seq
	}
	return q.passes
}

// Another records that the response that Passes found last is not the only one to its request.
func (q *Queue[C]) Another() {
	if q.passes {
		*q.before()++
		q.passes = false
	}
}

// uncertain records that it is not known how many of the responses to given-up requests follow.
func (q *Queue[C]) uncertain() {
	for _, c := range q.All() {
		if a := c.Asked(); a.ahead > 0 {
			a.ahead, a.After = 0, true
		}
	}
	if q.ahead > 0 {
		q.ahead = 0
		q.line.Missing(nil)
	}
	q.passes = false
}

// Answer returns the request that a response at seq answers. It is the zero value if that request
// was not captured, was dropped or is not known. Requests that can no longer be answered are
// emitted.
func (q *Queue[C]) Answer(seq uint32) C {
	var none C
	if q.Passes(seq) {
		return none
	}
	c := q.next(seq)
	var oldest *inorder.Request
	if f := q.Front(); f != none {
		oldest = &f.Asked().Request
	}
	q.line.Answered(q.Conn, seq, c != none, oldest)
	return c
}

func (q *Queue[C]) next(seq uint32) C {
	var none C
	starts, f := q.starts, q.Front()
	if q.starts = false; f == none {
		return f
	}
	if starts && f.Asked().Ack != seq { // one to f may be among those that are missing
		q.lost = true
	}
	if q.lost || f.Asked().After {
		f = q.find(seq)
	}
	if f == none || q.line.Excludes(q.Conn, seq, &f.Asked().Request) {
		return none
	}
	return f
}

// find restores the pairing after a loss.
func (q *Queue[C]) find(seq uint32) (c C) {
	q.uncertain()
	q.line.Find(q.Conn, seq, func(yield func(int, *inorder.Request) bool) {
		for i, c := range q.All() {
			if c.Waits() && !yield(i, &c.Asked().Request) {
				return
			}
		}
	}, func(m inorder.Match) {
		if m.Place >= 0 {
			c, q.lost = q.All()[m.Place], false
		} else if m.Any {
			q.lost = true
		}
		for n := m.End; n > 0 && q.All()[0] != c; n-- {
			q.Emit(q.All()[0], string(LossGap))
		}
	})
	return c
}

// Resync records that messages of a direction may be missing. Embedded in a Dissector that reads
// whole messages only, it is all of Dissector.Resync.
func (q *Queue[C]) Resync(dir Dir, _ Loss) {
	switch starting := q.Conn.Starting(); {
	case dir == ToServer:
		q.line.Interrupted(starting, q.Conn.FromStart(ToClient))
	case starting:
		q.starts = true
	default:
		q.uncertain()
		q.lost = true
		q.line.Lost()
	}
}

// Kept implements Dissector; Conn.Keep counts the requests.
func (q *Queue[C]) Kept() int { return 0 }

// Shed implements Dissector: it drops the oldest request of which no message is being read.
// Its response is counted when it comes.
func (q *Queue[C]) Shed() bool {
	for _, c := range q.All() {
		if q.Busy != nil && q.Busy(c) {
			continue
		}
		q.skip(c)
		q.Emit(c, "cut")
		return true
	}
	return false
}

// skip counts the responses to c, which is dropped.
func (q *Queue[C]) skip(c C) {
	if !c.Waits() {
		return
	}
	n, known := int64(1), !q.lost
	if q.Replies != nil && known {
		n, known = q.Replies(c)
	}
	if known {
		c.Asked().ahead += n
		return
	}
	var next *inorder.Request
	all := q.All()
	for _, d := range all[slices.Index(all, c)+1:] {
		if d.Waits() {
			next = &d.Asked().Request
			break
		}
	}
	q.line.Missing(next)
}

// Close emits the requests, oldest first.
func (q *Queue[C]) Close(why End) {
	for len(q.All()) > 0 {
		q.Emit(q.All()[0], why.CallError())
	}
}
