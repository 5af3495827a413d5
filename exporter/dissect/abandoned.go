package dissect

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// maxUntaken is how many responses of a connection are kept until it shows whether the caller took them. LIMIT: the oldest
// of more count as taken, as do all when memory runs out.
const maxUntaken = 64

// noWait is the time within which a caller that closes after its request did not wait for the response, as after QUIT.
const noWait = 10e6 // ns

// departure is how one end of a TCP connection stopped: after FIN it sends no more, after RST it reads no more either.
type departure struct {
	at       Instant // of the first FIN or RST
	seq, ack uint32  // of the same, with what its sender had acknowledged
	acked    uint32  // highest acknowledgment number since
	known    bool
	reset    bool
	ahead    bool  // it acknowledged bytes that were not captured
	resetNo  int64 // packet of the RST
}

// had reports whether the byte with this sequence number had arrived when the side closed.
func (d *departure) had(seq uint32) bool { return int32(d.ack-seq) > 0 }

// took reports whether the side acknowledged all before a sequence number.
func (d *departure) took(end uint32) bool { return int32(d.acked-end) >= 0 }

// answered reports whether the content of a response that the side had in part is whole, however its carrier ended: a
// reader of events closes when it has what it wants.
func (d *departure) answered(x *Exchange, b *table.Call) bool {
	return b.Outcome == table.OK && b.Error.OK && d.had(x.resp.seq)
}

// departures are those of a TCP connection, nil if there is none.
func (c *Conn) departures() *[2]departure {
	if r := c.root(); r.Info.Transport == TCP {
		return r.left
	}
	return nil
}

// untaken is a call whose response was not complete when its caller sent FIN. The caller may still read (RFC 9293 section
// 3.6, half-close), or has closed and rejects the rest of the response with RST (section 3.10.7.4).
type untaken struct {
	Emission
	caller   Dir
	end      uint32 // sequence number after the response
	asked    Instant
	cost     int  // bytes of the budget
	doubtful bool // it is kept for Line, see there
}

// Departs reports that a side sent FIN or RST. p.Ack is what that side had acknowledged, also if the segment itself has
// no ACK; ahead says that this includes bytes which were not captured.
func (c *Conn) Departs(dir Dir, p Packet, reset, ahead bool) {
	if c.closed {
		return
	}
	c.now = p
	if c.flipped {
		dir = dir.Other()
	}
	if c.left == nil {
		c.left = new([2]departure)
	}
	d := &c.left[dir]
	if !d.known {
		*d = departure{at: p.Instant(), seq: p.Seq, ack: p.Ack, acked: p.Ack, known: true}
	}
	d.ahead = d.ahead || ahead
	if int32(p.Ack-d.acked) > 0 {
		d.acked = p.Ack
	}
	if reset && !d.reset {
		d.reset, d.resetNo = true, p.No
		c.release(func(u *untaken) bool { return u.caller == dir })
	}
}

// Acked reports that a side acknowledges more than before with packet p, up to p.Ack.
func (c *Conn) Acked(dir Dir, p Packet) {
	if c.closed {
		return
	}
	if c.acks == nil {
		c.acks = &acknowledged{}
	}
	c.acknowledge(dir, p)
	if c.left == nil {
		return
	}
	if c.flipped {
		dir = dir.Other()
	}
	d := &c.left[dir]
	if d.known && int32(p.Ack-d.acked) > 0 {
		d.acked = p.Ack
		c.release(func(u *untaken) bool { return u.caller == dir && int32(p.Ack-u.end) >= 0 })
	}
}

// caller is the side that sent the request.
func (x *Exchange) caller() Dir {
	if x.Reversed {
		return ToClient
	}
	return ToServer
}

// gaveUp is the departure of the caller of an exchange without a complete response, or with one that it did not take, if
// it closed before it knew that the other side did; else nil. Bytes that were not captured could have been the response.
func (c *Conn) gaveUp(x *Exchange) *departure {
	left := c.departures()
	if left == nil || !x.req.seen || c.losses.of != x.before {
		return nil
	}
	caller, other := &left[x.caller()], &left[x.caller().Other()]
	switch {
	case !caller.known || caller.ahead || c.atOnce(x, caller):
		return nil
	case !x.resp.seen && other.reset, other.known && caller.had(other.seq):
		return nil
	}
	return caller
}

// LeftFirst reports whether the caller of an exchange closed the connection before it knew that the other side did.
func (c *Conn) LeftFirst(x *Exchange) bool {
	left := c.departures()
	if left == nil {
		return false
	}
	caller, other := &left[x.caller()], &left[x.caller().Other()]
	return caller.known && !other.reset && (!other.known || !caller.had(other.seq))
}

// endedBy is the side of a call without a complete response that ended its stream or the TCP connection first. A caller that
// sends FIN with its request may still read (half-close), but not after RST. If the FINs of both crossed, neither was first.
func (c *Conn) endedBy(x *Exchange, b *table.Call) table.Opt[string] {
	left := c.departures()
	switch {
	case b.Outcome != table.NoAnswer && b.Outcome != table.Cancelled:
		return table.Opt[string]{}
	case b.Error.V == table.Abandoned:
		return table.Some(ToServer.Sender())
	case x.ended != nobody:
		return table.Some(Dir(x.ended - 1).Sender())
	case left == nil || !x.req.seen:
		return table.Opt[string]{}
	}
	caller, other := &left[x.caller()], &left[x.caller().Other()]
	at, gone := caller.at.No, caller.known && !c.atOnce(x, caller)
	if !gone && caller.reset {
		at, gone = caller.resetNo, true
	}
	switch {
	case gone && (!other.known || at < other.at.No && (other.reset || other.had(caller.seq))):
		return table.Some(ToServer.Sender())
	case other.known && (!gone || other.at.No < at && (other.reset || caller.had(other.seq))):
		return table.Some(ToClient.Sender())
	}
	return table.Opt[string]{}
}

// abandoned reports whether the caller rejected the part of a response that came.
func (c *Conn) abandoned(x *Exchange, b *table.Call) bool {
	if !x.resp.seen || !c.root().closing || b.Error.V != "reset" && b.Error.V != "no_response" {
		return false
	}
	d := c.gaveUp(x)
	return d != nil && d.reset && !d.took(x.resp.seqEnd) && !d.answered(x, b)
}

// awaitTaken keeps a call whose response was not complete when the caller closed its side, until the caller acknowledges or
// rejects it, or until the connection ends. It reports false if there is nothing to wait for.
func (c *Conn) awaitTaken(x *Exchange, e Emission) bool {
	r, b := c.root(), e.Row.Base()
	if !x.resp.seen || b.Outcome == table.NoAnswer || b.Outcome == table.Cut {
		return false
	}
	doubtful := r.facts != nil && r.facts.doubtful == table.Some(x.resp.seq)
	if d := c.gaveUp(x); !doubtful && (d == nil || d.took(x.resp.seqEnd) || d.answered(x, b)) {
		return false
	}
	u := untaken{Emission: e, caller: x.caller(), end: x.resp.seqEnd, asked: x.req.begin(), cost: rowCost, doubtful: doubtful}
	for _, body := range [...]*Body{e.ReqBody, e.RespBody} {
		if body != nil {
			u.cost += body.Memory()
		}
	}
	f := r.known()
	if len(f.untaken) == maxUntaken {
		oldest := &f.untaken[0]
		r.release(func(u *untaken) bool { return u == oldest })
	}
	if !c.grow(u.cost) {
		return false
	}
	f.untaken = append(f.untaken, u)
	return true
}

// atOnce reports whether the caller closed together with its request, or may have: two clocks do not tell.
func (c *Conn) atOnce(x *Exchange, d *departure) bool {
	ns, known := c.Between(x.req.end(), d.at)
	return !known || ns < noWait
}

// release emits the calls kept by awaitTaken that the function selects.
func (c *Conn) release(which func(u *untaken) bool) {
	if c.facts == nil || len(c.facts.untaken) == 0 {
		return
	}
	list := c.facts.untaken
	c.facts.untaken = nil
	for i := range list {
		u := &list[i]
		if !which(u) {
			c.facts.untaken = append(c.facts.untaken, *u)
			continue
		}
		if d := c.left; d != nil && d[u.caller].reset && !d[u.caller].took(u.end) {
			b := u.Row.Base()
			c.setAbandoned(b, u.asked, &d[u.caller])
			b.EndedBy = table.Some(ToServer.Sender())
		}
		c.shrink(u.cost)
		u.At = c.now.No
		c.send(u.Emission)
	}
}

// setAbandoned says in a row that the caller had closed the connection before the response was complete.
func (c *Conn) setAbandoned(b *table.Call, asked Instant, d *departure) {
	b.Summary = outcomeInstead(b, table.Abandoned)
	b.Error, b.Outcome, b.Failed = table.Some(table.Abandoned), table.NoAnswer, true
	b.WaitedUs = c.Micros(asked, d.at)
	b.Cites.Add(d.at.No, d.at.No)
	if d.reset {
		b.Cites.Add(d.resetNo, d.resetNo)
	}
}

// outcomeInstead is the summary of a call with other words for its outcome.
func outcomeInstead(b *table.Call, words string) string {
	for _, s := range [...]string{"no response", b.Error.V} {
		if rest, ok := strings.CutSuffix(b.Summary, s); ok && s != "" {
			return rest + words
		}
	}
	return b.Summary + ", " + words
}
