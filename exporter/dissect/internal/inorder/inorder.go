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

// Excess is the detail of pairing_unknown if the first pairs turn out to be wrong.
const Excess = "the capture begins in the middle of the connection, among pipelined requests: responses so far may answer requests from before the capture"

// Place is the position of a message on the transport.
type Place struct {
	Seq   uint32 // of its first byte, or of one shortly before
	Ack   uint32 // what its sender had received
	Blind bool   // the transport has no acknowledgement numbers of bytes
}

// Request is the position of a request in its conversation.
type Request struct {
	Seq, Ack uint32 // see Place
	Blind    bool
	After    bool // requests before it may be missing
	Late     bool // late responses to earlier requests may follow
	Quiet    bool // the client had sent nothing for a while
	Same     bool // it is of one batch with the capture's first request, which has a response
	first    bool // the missing ones were sent before the capture
}

// Follows reports whether the client had received a part of the response at seq when it sent the
// request: the response then answers another one, which was not captured.
func (q *Request) Follows(seq uint32) bool { return !q.Blind && int32(q.Ack-seq) > 0 }

// Line tracks the order of a connection's requests.
type Line struct {
	last     int64  // when the last request was sent
	strange  uint32 // where the newest response begins, if unasked
	ack      uint32 // of the first request, see doubtful
	unasked  bool   // that response answers no captured request, or came after requests were lost
	lost     bool   // responses were lost after the newest one that was assigned to a request
	missing  bool   // requests before the next one may be missing
	starts   bool   // they were sent before the capture
	late     bool   // late responses to dropped requests may follow
	overlaps bool   // the client sends while only some answers have arrived
	doubtful bool   // a request from before the capture may have been pending when the first one was sent
	relies   bool   // some pairs are right only if none was
}

// Answered records that the response at seq was assigned to a request, or that it answers none that was captured.
func (l *Line) Answered(seq uint32, assigned bool) {
	l.relies = l.relies || assigned && l.doubtful
	if assigned && !l.missing {
		l.lost, l.unasked = false, false
	} else {
		l.unasked, l.strange = true, seq
	}
}

// Lost records that responses may be missing.
func (l *Line) Lost() { l.lost = true }

// Excess reports whether a response at now, for which no request waits, shows that pairs may be wrong: one to a request
// from before the capture came first. After a pause, the server may send without a request.
func (l *Line) Excess(now int64) bool {
	was := l.doubtful && l.relies && now-l.last < pause
	l.relies = l.relies && !was
	return was
}

// Excludes reports whether a response cannot answer q: the client had received a part of it before, or the server had
// not received any of q.
func (q *Request) Excludes(at Place) bool { return q.Follows(at.Seq) || q.Unreceived(at) }

// Unreceived reports whether the server had received nothing of q when it sent a response (RFC 9293 section 3.10.7.4: a
// segment acknowledges all that its sender has received in order).
func (q *Request) Unreceived(at Place) bool {
	return !q.Blind && at.Ack != 0 && q.Seq != 0 && int32(at.Ack-q.Seq) <= 0
}

// Unreceived is the detail of anomaly unreceived_request.
const Unreceived = "the response acknowledges nothing of the oldest request without one, so it answers another: it is a row of its own, and the receiver may have dropped that request"

// Strays reports whether a response that answers no captured request came although q waits, because the server had received
// nothing of q. At the beginning of a capture, and after a loss, it may answer an earlier request.
func (l *Line) Strays(at Place, q *Request) bool {
	return !l.doubtful && !l.missing && !l.lost && !q.After && q.Unreceived(at)
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
func (l *Line) Sent(at Place, now int64, oldest *Request) Request {
	q := Request{Seq: at.Seq, Ack: at.Ack, Blind: at.Blind, After: l.missing, Late: l.late, Quiet: now-l.last >= pause, first: l.starts}
	l.doubtful = l.doubtful && (!q.Quiet || l.last == 0)
	if q.Same = l.doubtful && at.Ack == l.ack && at.Ack != 0; q.Same { // plaintext of a library has only 0
		q.After, q.first = true, true
	}
	l.last, l.missing, l.starts, l.late = now, false, false, false
	if oldest != nil && !oldest.After && oldest.Ack != at.Ack {
		l.overlaps = true
	}
	return q
}

// Missing records that requests are missing before next, the oldest pending one, or before the
// next one sent if next is nil.
func (l *Line) Missing(next *Request) {
	l.doubtful = false
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
	l.starts, l.doubtful = starting, starting
	l.lost = l.lost || l.last == 0 && !heard // nothing is known about the time before the first request
}

// Match is a result of Find.
type Match struct {
	Place    int  // of the answered request; -1 if it is unknown
	End      int  // place after the last possible request
	Any      bool // some request is possible
	Guessed  bool // several requests are possible
	Unknown  bool // only because of requests from before the capture, for which no bytes are lost
	Doubtful bool // the pair is right only if no request from before the capture was pending
}

// Find finds the request for a response. waiting yields the requests without an answer,
// oldest first, with their places. Requests before Place, or before End if Place is -1, can no
// longer be answered.
func (l *Line) Find(at Place, waiting iter.Seq2[int, *Request]) Match {
	m := Match{Place: -1}
	var newest *Request // the first of those with the newest acknowledgement
	place, all, size := 0, 0, 0
	for i, q := range waiting {
		if q.Excludes(at) {
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
	exact, odd := newest.Ack == at.Seq && !newest.Blind, newest.After || newest.Late
	several := l.overlaps && (all > 1 || odd)
	switch {
	case exact && newest.After && !l.whole(newest, size), !exact && (odd || size > 1 || l.missing), several && !(exact && newest.Quiet):
		l.late, m.Unknown = true, newest.first
		return m
	}
	m.Place, m.Guessed = place, several
	if m.Doubtful = newest.After && newest.first; m.Doubtful {
		l.ack = newest.Ack
	}
	newest.After, newest.Late = false, false
	return m
}
