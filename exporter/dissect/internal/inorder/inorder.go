// Package inorder pairs responses with requests after a loss, where a protocol has nothing
// but their order.
//
// All it has then is what the client had received when it sent each request. That is proof
// for a client that waits for its answers, or that waits for the answers to one batch before it
// sends the next. Of a client that sends while some answers are under way, it is a guess, and
// only after a pause. Where a response could answer one of several requests, it answers none.
package inorder

import "iter"

// pause is how long, in ns, a client sends nothing before its requests are taken as answered.
const pause = int64(1e9)

// Guessed is the detail of the anomaly pairing_guessed.
const Guessed = "after a loss among pipelined requests: which response answers which request was guessed by acknowledgement numbers"

// Request is the place of a request in its conversation.
type Request struct {
	Ack   uint32 // acknowledged by the client when it sent the request
	After bool   // requests before it may be missing
	Late  bool   // responses to requests before it may follow, which nobody waits for
	Quiet bool   // the client had sent nothing for a while
}

// Line is what is known of the order of a connection's requests.
type Line struct {
	last     int64 // when the last request was sent
	missing  bool  // requests before the next one may be missing
	late     bool  // responses may follow that nobody waits for
	overlaps bool  // the client sends while some answers have come and others have not
}

// Sent notes a request, sent at now in ns. oldest is the oldest one without an answer, nil if there is none or
// if responses may be missing.
func (l *Line) Sent(ack uint32, now int64, oldest *Request) Request {
	q := Request{ack, l.missing, l.late, now-l.last >= pause}
	l.last, l.missing, l.late = now, false, false
	if oldest != nil && !oldest.After && oldest.Ack != ack {
		l.overlaps = true
	}
	return q
}

// Missing notes that requests are missing before next, the oldest one that waits, or before
// the next one sent if it is nil.
func (l *Line) Missing(next *Request) {
	if next != nil {
		next.After = true
	} else {
		l.missing = true
	}
}

// Match is what Find found.
type Match struct {
	Place   int  // of the request that is answered; -1: it is not known
	End     int  // place behind the last request that could be
	Any     bool // a request could be
	Guessed bool // another one is possible too
}

// Find finds the request that a response at seq answers. waiting has the requests without an
// answer, oldest first, with their places. Requests before the place, or before the end if there
// is none, can no longer be answered.
func (l *Line) Find(seq uint32, waiting iter.Seq2[int, *Request]) Match {
	m := Match{Place: -1}
	var newest *Request // the first of those that were sent with the newest acknowledgement
	place, all, size := 0, 0, 0
	for i, q := range waiting {
		if int32(q.Ack-seq) > 0 {
			break // sent when the client had received this response
		}
		if newest == nil || q.Ack != newest.Ack {
			newest, place, size = q, i, 0
		}
		all, size, m.End, m.Any = all+1, size+1, i+1, true
	}
	if newest == nil {
		return m
	}
	exact, odd := newest.Ack == seq, newest.After || newest.Late
	several := l.overlaps && (all > 1 || odd)
	switch {
	case exact && newest.After && size > 1, !exact && (odd || size > 1), several && !(exact && newest.Quiet):
		l.late = true
		return m
	}
	m.Place, m.Guessed = place, several
	newest.After, newest.Late = false, false
	return m
}
