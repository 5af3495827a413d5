package dissect

import (
	"github.com/pcapsule/pcapsule/exporter/table"
)

// LossSink is a Sink that knows what the capture lacks. Lost returns a datagram captured without its ports that may be
// of a connection, sent in one direction between two times of one clock. Lacks reports whether packets between two times
// of one clock are missing, and whether some may be, because they were lost at an unknown time within more than a minute.
// OneSided reports whether the capture lacks all that one side of a connection sent. Bare reports whether it has segments
// without payload of a side: a capture that was filtered may lack them.
type LossSink interface {
	Lost(c *Conn, dir Dir, from, to Instant) (Packet, bool)
	Lacks(from, to Instant) (packets, perhaps bool)
	OneSided(c *Conn) bool
	Bare(c *Conn, dir Dir) bool
}

// mayBeLost reports whether a call seems to have no response, but bytes or a datagram in which it may have been are
// missing, or encrypted records that no key decrypts. p is the datagram, nil for bytes.
func (c *Conn) mayBeLost(x *Exchange, b *table.Call) (p *Packet, lost bool) {
	switch {
	case !x.req.seen || x.resp.seen:
		return nil, false
	case b.Error.V != "no_response" && b.Error.V != "reset" && b.Error.V != "timeout" && !(b.Error.V == "cut" && c.peerEnded(x)):
		return nil, false
	}
	answers := x.caller().Other()
	if int32(c.unopened(answers)-x.sealed) > 0 {
		return nil, true
	}
	if datagrams(c.root().Info.Transport) {
		p = c.portless(x)
		missing, _ := c.lacked(x)
		return p, p != nil || c.unreadSince(x, answers) || missing
	}
	left, asks := c.departures(), x.caller()
	cancels := x.StreamID.OK && c.losses.of[asks] != x.before[asks] // a frame that cancels the stream may be among those bytes
	return nil, cancels || x.optional || c.losses.of[answers] != x.before[answers] || left != nil && left[x.caller()].ahead || c.passedOver(x)
}

// passedOver reports whether the other side of a TCP connection sent bytes that the caller had not received, and that
// are in no row or in a response without a request: the capture began after them, or has them before the request. They
// may be the response.
func (c *Conn) passedOver(x *Exchange) bool {
	r, answers := c.root(), x.caller().Other()
	if r.Info.Transport != TCP || c.Info.Transport.Blind() || x.req.ack == 0 {
		return false
	}
	if r.facts != nil {
		if begin := r.facts.begins[c.captured(answers)]; begin.OK && int32(begin.V-x.req.ack) > 0 {
			return true
		}
	}
	f := c.facts
	return !r.begun && f != nil && f.unasked != nil && f.unasked.dir == answers && int32(f.unasked.seq-x.req.ack) >= 0
}

// captured is a direction of c as the capture has it. For the outermost connection it is also the way back.
func (c *Conn) captured(dir Dir) Dir {
	if dir = c.outward(dir); c.root().flipped {
		return dir.Other()
	}
	return dir
}

// unreadSince reports whether a datagram came after a question that may be the answer, but could not be read as one: the
// capture has only its beginning, or it is malformed.
func (c *Conn) unreadSince(x *Exchange, dir Dir) bool {
	f := c.root().facts
	dir = c.captured(dir)
	return f != nil && f.unread[dir] > x.req.no+1
}

// lacked reports whether packets are missing from the time in which a question in a datagram is usually answered, and
// whether some may be.
func (c *Conn) lacked(x *Exchange) (packets, perhaps bool) {
	known, ok := c.engine.sink.(LossSink)
	if !ok || !datagrams(c.root().Info.Transport) {
		return false, false
	}
	to := x.req.end()
	to.Ns += freshQuestion
	return known.Lacks(x.req.begin(), to)
}

// intact reports whether all that the other side of a TCP connection sent before a message was captured and read: what
// the message answers was then not sent. Of datagrams, no packet shows whether some are missing.
func (c *Conn) intact(x *Exchange) bool {
	message, sender := &x.resp, x.caller().Other()
	if !message.seen {
		message, sender = &x.req, x.caller()
	}
	r := c.root()
	other := &r.sides[c.outward(sender).Other()]
	if r.Info.Transport != TCP || r.cut || r.closing || c.unopened(ToServer) != 0 || c.unopened(ToClient) != 0 {
		return false
	}
	const fin = 1 // RFC 9293 section 3.4: FIN has a sequence number
	switch sent := other.off + int64(len(other.buf)); {
	case sent == 0, !c.Info.Transport.Blind() && int32(message.ack-other.next) > fin: // it received more than was captured
		return false
	}
	for ; c != nil; c = c.parent {
		if !c.begun || c.doubt || c.losses.of != [2]uint32{} || c.AnomalyBytes != 0 {
			return false
		}
	}
	return true
}

// notePending remembers that a request ended without the response that may still come.
func (c *Conn) notePending(x *Exchange, b *table.Call) {
	switch b.Error.V {
	case "cut", "gap", "malformed", "unread":
		c.doubt = c.doubt || x.req.seen
	}
}

// portless is a datagram without ports that may be the answer to a call in datagrams, nil if there is none.
func (c *Conn) portless(x *Exchange) *Packet {
	r := c.root()
	known, ok := c.engine.sink.(LossSink)
	if !ok {
		return nil
	}
	dir := x.caller().Other()
	if r.flipped {
		dir = dir.Other()
	}
	to := x.req.end()
	to.Ns += longestWait
	if p, ok := known.Lost(r, dir, x.req.begin(), to); ok {
		return &p
	}
	return nil
}

// setLost says in a row that its response may be among missing bytes, or in datagram p.
func (c *Conn) setLost(x *Exchange, b *table.Call, p *Packet) {
	b.Summary = outcomeInstead(b, "response may be lost")
	b.Error, b.Outcome, b.Complete = table.Some(string(LossGap)), table.Unread, false
	if b.WaitedUs = c.waited(x, b); p == nil {
		return
	}
	b.Cites.Add(p.No, p.No)
	b.WaitedUs = c.Micros(x.req.begin(), p.Instant())
	if !c.muted() {
		c.AnomalyAt(*p, "ip", "fragments_missing", "a datagram between the hosts of this call came without its first fragment, which has the ports: it may be the response", 0)
	}
}
