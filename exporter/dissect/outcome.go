package dissect

import "github.com/pcapsule/pcapsule/exporter/table"

// Limits for unanswered questions in datagrams.
const (
	// A question sent this shortly before the end of the capture may still be answered;
	// resolvers wait as long (resolv.conf, option timeout).
	freshQuestion = 5e9 // ns
	// No packet shows when the sender of a datagram stops waiting.
	longestWait = 60e9 // ns
	// Packets that a capture shows out of order, as two queues of a network adapter do, are this close together.
	outOfOrder = 10e6 // ns
	// The same for two clocks whose difference is unknown.
	copiesApart = 1e9 // ns
)

// judge completes a row: how the call ended, how long the caller waited, and whether the call
// counts as failed. Outcome, if the dissector set it, is the answer's own result, and Endpoint what
// the content says.
func (c *Conn) judge(x *Exchange, b *table.Call) {
	if reports := c.undelivered(x); len(reports) > 0 {
		c.explain(x, b, reports)
	} else if p, lost := c.mayBeLost(x, b); lost {
		c.setLost(x, b, p)
	} else if x.disordered && !x.resp.seen && b.Error.V == "no_response" {
		b.Outcome, b.Summary = table.Unread, outcomeInstead(b, "response may be out of order")
		c.Anomaly("answer_first", "an answer came just before this question, or another question with its id soon after it: the answer may be to this one, if packets were captured out of order", 0)
	} else if c.abandoned(x, b) {
		c.setAbandoned(b, x.req.begin(), &c.departures()[x.caller()])
	} else {
		if b.Outcome == "" {
			b.Outcome = c.outcome(x, b)
		}
		if known, ok := c.engine.sink.(LossSink); ok && b.Outcome == table.NoAnswer && !x.resp.seen {
			if known.OneSided(c.root()) {
				b.Outcome = table.Cut
			} else if _, perhaps := c.lacked(x); perhaps {
				c.Anomaly("unplaced_losses", "the capture lost packets at an unknown time within more than a minute: the answer may be one of them", 0)
			}
		}
		b.WaitedUs = c.waited(x, b)
	}
	if x.either && x.resp.seen {
		c.Anomaly("answer_first", "another question with its id came before this answer, less than 1 s before this question: the answer may be to that one", 0)
	}
	if c.answersUnreceived(x) && b.Outcome == table.OK {
		b.Outcome, b.Complete = table.Unread, false
		c.Anomaly("unreceived_request", "the response has the id of this request, but acknowledges nothing of it: its sender had not received the request", 0)
	}
	if x.resp.seen && !x.req.seen {
		c.known().unasked = &unasked{x.caller().Other(), x.resp.begin(), x.resp.seq}
	}
	b.Failed = table.Failed(b.Outcome)
	if b.Endpoint == "" {
		b.Endpoint = b.EndpointOf()
	}
}

func (c *Conn) outcome(x *Exchange, b *table.Call) string {
	switch b.Error.V {
	case "":
		return table.OK
	case "no_response":
		if c.mayFollow(x) {
			return table.Cut
		}
		return c.unanswered(x)
	case "reset", "timeout":
		return c.unanswered(x)
	case "cut":
		if x.req.seen && c.peerEnded(x) {
			return c.unanswered(x)
		}
		return table.Cut
	case "no_request":
		if c.intact(x) {
			return table.OK
		}
		return table.Cut
	}
	if b.Error.V == "gap" && (b.StatusCode.OK || b.StatusText.OK) { // what is missing does not change the result
		return table.OK
	}
	return table.Unread
}

// unanswered is the outcome of a call whose connection ended before its response did. What is missing of the response
// may be among lost bytes.
func (c *Conn) unanswered(x *Exchange) string {
	answers := x.caller().Other()
	if x.resp.seen && (c.losses.of[answers] != x.before[answers] || c.unreadSince(x, answers)) {
		return table.Unread
	}
	return table.NoAnswer
}

// mayFollow reports whether the answer to a pending question in a datagram may come after the
// end of the capture: the client sent nothing since, and the question is recent.
func (c *Conn) mayFollow(x *Exchange) bool {
	r := c.root()
	if !r.closing || r.end != EndCapture || !datagrams(r.Info.Transport) || !x.req.seen || x.resp.seen {
		return false
	}
	since, known := c.Between(x.req.end(), r.now.Instant())
	left, same := c.Between(x.req.end(), r.closedAt)
	return (!known || since <= 0) && (!same || left < freshQuestion)
}

func datagrams(t Transport) bool { return t != TCP && t != QUIC && t != Association }

// peerEnded reports whether the connection, not the capture, ended before the answer did.
func (c *Conn) peerEnded(x *Exchange) bool {
	answers := x.caller().Other()
	r := c.root()
	if c.sides[answers].fin || r.sides[answers].fin {
		return true
	}
	return r.closing && (r.end == EndFin || r.end == EndReset || r.end == EndReuse)
}

// Optional is the value of column error of a call that nobody must answer, and whose value is why if it must be answered:
// cut if an answer may follow the end of the capture, and none otherwise.
func (c *Conn) Optional(x *Exchange, why string) string {
	if why == "cut" && !c.peerEnded(x) {
		return why
	}
	return ""
}

// waited is how long the caller waited: for the whole answer, else until it sent the question
// again, or until the connection or the capture ended.
func (c *Conn) waited(x *Exchange, b *table.Call) table.Opt[int64] {
	if !x.req.seen || b.Outcome == table.Cut && b.Error.V == "no_request" { // the beginning was not captured
		return table.Opt[int64]{}
	}
	if x.resp.seen && b.Outcome != table.NoAnswer && b.Outcome != table.Cut && b.Outcome != table.Cancelled {
		return b.ElapsedUs
	}
	r := c.root()
	until := c.until()
	if d := c.gaveUp(x); d != nil {
		until = d.at
	}
	if datagrams(r.Info.Transport) && until.Clock == x.req.clocks[1] {
		until.Ns = min(until.Ns, x.req.last+longestWait)
	}
	if x.resp.seen {
		until = later(until, x.resp.end())
	}
	return c.Micros(x.req.begin(), until)
}

// until is the end of waiting for an answer that did not come.
func (c *Conn) until() Instant {
	r := c.root()
	if r.closing && (r.end == EndCapture || r.end == EndTimeout) {
		return r.closedAt
	}
	return r.now.Instant()
}

// unasked is a response whose request was not seen before it.
type unasked struct {
	dir Dir
	at  Instant
	seq uint32 // of its first byte, in TCP
}

// precedes reports whether the side that sends in direction dir sent an unsolicited answer just before an
// instant, in the order of the capture.
func (c *Conn) precedes(dir Dir, at Instant) bool {
	return c.facts != nil && c.facts.unasked != nil && c.facts.unasked.dir == dir && c.near(c.facts.unasked.at, at, outOfOrder)
}

// near reports whether two datagrams are so close together that the order in the capture may be another than that on the
// network.
func (c *Conn) near(from, at Instant, most int64) bool {
	since, known := c.Between(from, at)
	if !known {
		since, most = at.Ns-from.Ns, copiesApart
	}
	return datagrams(c.root().Info.Transport) && -longestWait < since && since < most
}

// Follows declares that an answer with the id of request x came at an instant before it, and that an earlier request has it.
func (x *Exchange) Follows(c *Conn, at Instant) {
	x.disordered = x.disordered || c.near(at, x.req.begin(), outOfOrder)
}

// Displaced declares that request y, with the same id, followed before an answer to x. The next answer may be to either,
// unless y is x sent again.
func (x *Exchange) Displaced(c *Conn, y *Exchange) {
	if x.req.payload != y.req.payload && c.near(x.req.begin(), y.req.begin(), copiesApart) {
		x.disordered, y.either = true, true
	}
}
