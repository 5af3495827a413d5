// Package inorder pairs responses with requests after a gap, for protocols in which only their
// order connects them.
//
// The only evidence is what the client had received when it sent each request. It is proof for a
// client that waits for each answer, or for all answers to one batch before it sends the next.
// For a client that sends while some answers are pending, it is a guess, and only after a pause.
// A response that could answer one of several requests is assigned to none.
package inorder

import "iter"

// pause is how long, in ns, a client must be silent before its requests count as answered.
const pause = int64(1e9)

// Guessed is the detail of anomaly pairing_guessed.
const Guessed = "after a gap among pipelined requests, responses were assigned to requests by acknowledgement numbers, which is a guess"

// Unknown is the detail of anomaly pairing_unknown.
const Unknown = "the capture begins in the middle of the connection: a response could belong to several requests, or to one from before the capture, so it is a row of its own, and these requests end without it"

// Excess is the detail of pairing_unknown after more responses than requests.
const Excess = "the capture begins in the middle of the connection, and more responses came than requests were captured: those before may answer requests from before the capture"

// Request is the position of a request in its conversation.
type Request struct {
	Ack   uint32 // acknowledged by the client when it sent the request
	After bool   // requests before it may be missing
	Late  bool   // late responses to earlier requests may follow
	Quiet bool   // the client had sent nothing for a while
	first bool   // the missing ones were sent before the capture
	blind bool   // Ack says nothing
}

// Follows reports whether the client had received a part of the response at seq when it sent the
// request: the response then answers another one, which was not captured.
func (q *Request) Follows(seq uint32) bool { return !q.blind && int32(q.Ack-seq) > 0 }

// Line tracks the order of a connection's requests.
type Line struct {
	last     int64  // when the last request was sent
	strange  uint32 // where the newest response begins, if unasked
	ack      uint32 // of the first request, see alone
	unasked  bool   // that response answers no captured request, or came after requests were lost
	lost     bool   // responses were lost after the newest one that was assigned to a request
	missing  bool   // requests before the next one may be missing
	starts   bool   // they were sent before the capture
	late     bool   // late responses to dropped requests may follow
	overlaps bool   // the client sends while only some answers have arrived
	alone    bool   // the pairs are right only if no request from before the capture was pending when the first one was sent
	Blind    bool   // the transport has no acknowledgement numbers of bytes
}

// Answered records that the response at seq was assigned to a request, or that it answers none that was captured.
func (l *Line) Answered(seq uint32, assigned bool) {
	if assigned && !l.missing {
		l.lost, l.unasked = false, false
	} else {
		l.unasked, l.strange = true, seq
	}
}

// Lost records that responses may be missing.
func (l *Line) Lost() { l.lost, l.alone = true, false }

// Excess reports whether a response at now, for which no request waits, shows that the pairs so far may be wrong: one to
// a request from before the capture came first. After a pause, the server may send without a request.
func (l *Line) Excess(now int64) bool {
	was := l.alone && now-l.last < pause
	l.alone = l.alone && !was
	return was
}

// served reports whether the requests that are missing before q may have been answered before the client sent q. If
// not, they are of its batch, and the next response answers the first of them.
func (l *Line) served(q *Request) bool {
	return l.lost || l.unasked && q.Follows(l.strange)
}

// whole reports whether all requests that were sent with q are known, although some before it are missing. A batch of
// which a part was sent before the capture cannot follow a response that the capture has.
func (l *Line) whole(q *Request, size int) bool {
	return q.first && l.unasked && q.Follows(l.strange) || size == 1 && l.served(q)
}

// Sent records a request sent at now in ns. oldest is the oldest request without an answer, nil
// if there is none or if responses may be missing.
func (l *Line) Sent(ack uint32, now int64, oldest *Request) Request {
	q := Request{Ack: ack, After: l.missing, Late: l.late, Quiet: now-l.last >= pause, first: l.starts, blind: l.Blind}
	switch {
	case !l.alone:
	case q.Quiet:
		l.alone = false
	case ack == l.ack && ack != 0: // of the batch of the first one, which was then not its only request; plaintext of a library has only 0
		q.After, q.first = true, true
	}
	l.last, l.missing, l.starts, l.late = now, false, false, false
	if oldest != nil && !oldest.After && oldest.Ack != ack {
		l.overlaps = true
	}
	return q
}

// Missing records that requests are missing before next, the oldest pending one, or before the
// next one sent if next is nil.
func (l *Line) Missing(next *Request) {
	l.alone = false
	if next != nil {
		next.After, next.first = true, false
	} else {
		l.missing, l.starts = true, false
	}
}

// Interrupted records that requests before the next one are missing; starting: only because they were sent before the
// capture, see dissect.Conn.Starting. heard says that the responses were captured from the connection's beginning, so that
// none came before those that are known.
func (l *Line) Interrupted(starting, heard bool) {
	l.Missing(nil)
	l.starts = starting
	l.lost = l.lost || l.last == 0 && !heard // nothing is known about the time before the first request
}

// Match is a result of Find.
type Match struct {
	Place   int  // of the answered request; -1 if it is unknown
	End     int  // place after the last possible request
	Any     bool // some request is possible
	Guessed bool // several requests are possible
	Unknown bool // only because of requests from before the capture, for which no bytes are lost
	Alone   bool // unless a request from before the capture was pending: nothing shows that none was
}

// Find finds the request for a response at seq. waiting yields the requests without an answer,
// oldest first, with their places. Requests before Place, or before End if Place is -1, can no
// longer be answered.
func (l *Line) Find(seq uint32, waiting iter.Seq2[int, *Request]) Match {
	m := Match{Place: -1}
	var newest *Request // the first of those with the newest acknowledgement
	place, all, size := 0, 0, 0
	for i, q := range waiting {
		if q.Follows(seq) {
			break
		}
		if newest == nil || q.Ack != newest.Ack {
			newest, place, size = q, i, 0
		}
		all, size, m.End, m.Any = all+1, size+1, i+1, true
	}
	if newest == nil {
		return m
	}
	exact, odd := newest.Ack == seq && !newest.blind, newest.After || newest.Late
	several := l.overlaps && (all > 1 || odd)
	switch {
	case exact && newest.After && !l.whole(newest, size), !exact && (odd || size > 1 || l.missing), several && !(exact && newest.Quiet):
		l.late, m.Unknown = true, newest.first
		return m
	}
	m.Place, m.Guessed = place, several
	if m.Alone = newest.After && newest.first && !(l.unasked && newest.Follows(l.strange)); m.Alone {
		l.alone, l.ack = true, newest.Ack
	}
	newest.After, newest.Late = false, false
	return m
}
