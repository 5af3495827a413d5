package dissect

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
	"math"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// headBytes is how much of a request enters its call_id.
const headBytes = 64

// Exchange collects the packets and times of one call. A dissector keeps one for each pending
// call, adds every piece it reads, and passes it to Conn.Emit. The zero value is ready to use.
type Exchange struct {
	ReqBody, RespBody *Body
	StreamID          table.Opt[int64]
	Ordinal           table.Opt[int64] // within StreamID or the connection; Emit sets it if absent
	Reversed          bool             // the connection's server sent the request: the row's src is the server
	Left              bool             // the caller ended it while the response went on
	ended             uint8            // who ended its stream: nobody, or 1 more than the direction in which that side sends
	short             bool             // a datagram of it was captured in part
	optional          bool             // see MayWantNone
	disordered        bool             // packets captured out of order may explain why it has no response
	either            bool             // its response may be that of another request with its id

	req, resp part
	cites     table.Cites
	losses    losses    // of the connection at the first byte, see Conn.Unaffected
	before    [2]uint32 // the same, unchanged
	held      int32     // bytes of the budget that cites uses
	sealed    uint32    // the other side's encrypted records that were not decrypted until the first byte, see Conn.unopened
}

type part struct {
	seen        bool
	n           uint8    // bytes of head
	clocks      [2]int32 // of first and last
	behind      uint32   // packets from the first to the last
	first, last int64    // ns
	bytes       int64
	seq, ack    uint32
	seqEnd      uint32 // after the last byte; inside encryption at or before that
	lost        uint32 // bytes in gaps inside it, see Conn.onWire
	no          int64
	payload     uint64 // hash of the first datagram
	head        [headBytes]byte
}

const nobody = 0

// EndedBy declares that a side ended the stream of the exchange.
func (x *Exchange) EndedBy(by Dir) { x.ended = 1 + uint8(by) }

// begin and end are when the first and the last byte were captured.
func (p *part) begin() Instant { return Instant{p.first, p.no, p.clocks[0]} }
func (p *part) end() Instant   { return Instant{p.last, p.no + int64(p.behind), p.clocks[1]} }

// reach makes an instant the end, unless that is later.
func (p *part) reach(at Instant) {
	p.extend(at)
	p.behind = max(p.behind, uint32(min(max(at.No-p.no, 0), math.MaxUint32)))
}

// extend is reach for a packet of another connection: only the time counts.
func (p *part) extend(at Instant) {
	l := later(p.end(), at)
	p.last, p.clocks[1] = l.Ns, l.Clock
}

// Span is the position of a message: the packets of its first and last byte, and on TCP the
// sequence number of the first.
type Span struct {
	Seen        bool
	First, Last int64
	Seq         uint32
	Bytes       int64
}

func (p *part) span() Span {
	return Span{p.seen, p.no, p.no + int64(p.behind), p.seq, p.bytes}
}

// Request adds in.Data[from:to] to the request.
func (x *Exchange) Request(in *Input, from, to int) { x.add(&x.req, in, from, to) }

// Response adds in.Data[from:to] to the response.
func (x *Exchange) Response(in *Input, from, to int) { x.add(&x.resp, in, from, to) }

// Add adds in.Data[from:to] to the request if the client sent it, else to the response.
func (x *Exchange) Add(in *Input, from, to int) { x.AddTo(in.Dir == ToClient, in, from, to) }

// AddTo adds in.Data[from:to] to the request or the response.
func (x *Exchange) AddTo(response bool, in *Input, from, to int) {
	if response {
		x.add(&x.resp, in, from, to)
	} else {
		x.add(&x.req, in, from, to)
	}
}

// SetBody sets the body of the request or the response.
func (x *Exchange) SetBody(response bool, b *Body) {
	if response {
		x.RespBody = b
	} else {
		x.ReqBody = b
	}
}

// Cite cites in.Data[from:to] without counting its bytes. The bytes concern the call but belong
// to neither its request nor its response, such as a frame that resets its stream.
func (x *Exchange) Cite(in *Input, from, to int) {
	in.Cite(&x.cites, from, to)
	x.charge(in.conn)
}

// Memory of citations.
const (
	citeCost  = 16 // of one range
	freeCites = 8  // ranges that count as part of the Exchange
)

// charge takes the memory of a long citation from the budget. If the budget is exhausted, calls
// are cut after the current piece of input.
func (x *Exchange) charge(c *Conn) {
	if n := cap(x.cites); n > freeCites && c != nil {
		if more := n*citeCost - int(x.held); more > 0 {
			c.owe(more)
			x.held += int32(more)
		}
	}
}

// release frees the memory of the citation.
func (x *Exchange) release(c *Conn) {
	c.shrink(int(x.held))
	x.held = 0
}

// CitePacket is Cite for an event without bytes of its own, such as a stream reset.
func (x *Exchange) CitePacket(p Packet) {
	for _, no := range p.Also {
		x.cites.Add(no, no)
	}
	x.cites.Add(p.No, p.No)
}

func (x *Exchange) add(p *part, in *Input, from, to int) {
	if from >= to {
		return
	}
	x.optional = x.optional || in.ends && p == &x.req // only its first bytes were captured
	if x.cites == nil {
		x.cites = make(table.Cites, 0, 2) // most calls have a packet for the request and one for the response
	}
	if !x.req.seen && !x.resp.seen && in.conn != nil {
		x.losses = in.conn.losses
		if o := in.Dir.Other(); p == &x.resp && in.conn.sides[o].lossy { // its request may be among the lost bytes
			x.losses.of[o]--
		}
		x.before, x.sealed = x.losses.of, in.conn.unopened(in.Dir.Other())
	}
	if !p.seen {
		s := in.at(from)
		x.disordered = p == &x.req && in.conn != nil && in.conn.precedes(in.Dir.Other(), s.Instant())
		p.seen, p.first, p.last, p.no, p.clocks = true, s.Time, s.Time, s.No, [2]int32{s.Clock, s.Clock}
		p.seq, p.ack = s.Seq+uint32(in.base+int64(from)-s.off), s.Ack
		if in.Datagram {
			h := fnv.New64a()
			h.Write(in.Data)
			p.payload = h.Sum64()
		}
	}
	if p.n < headBytes {
		p.n += uint8(copy(p.head[p.n:], in.Data[from:to]))
	}
	end := in.at(to - 1)
	x.short = x.short || in.Datagram && end.Cut > 0
	if p == &x.resp && x.req.seen && in.conn != nil {
		in.conn.engine.datagram.answers = true
	}
	p.reach(end.Instant())
	p.seqEnd = end.Seq + uint32(in.base+int64(to)-end.off)
	p.bytes += int64(to - from)
	switch {
	case in.Datagram && to == len(in.Data):
		p.lose(int64(end.Cut))
	case in.side != nil && in.conn != nil:
		t := &in.conn.engine.tail
		t.side, t.part, t.end = in.side, p, in.base+int64(to)
	}
	x.Cite(in, from, to)
}

// Answer adds the request of y to the response of x, because the content of message y shows that it
// answers x. y must not be used afterwards.
func (x *Exchange) Answer(c *Conn, y *Exchange) {
	switch p, q := &x.resp, &y.req; {
	case !p.seen:
		if *p = *q; !x.req.seen {
			x.losses, x.before = y.losses, y.before
		}
	case q.seen:
		p.reach(q.end())
		p.lose(int64(q.lost))
		p.bytes, p.seqEnd = p.bytes+q.bytes, q.seqEnd
	}
	x.Include(c, y)
}

// Extend adds the request of y to the request of x, because message y is a part of message x. y must not be used afterwards.
func (x *Exchange) Extend(c *Conn, y *Exchange) {
	p, q := &x.req, &y.req
	p.reach(q.end())
	p.lose(int64(q.lost))
	p.bytes, p.seqEnd = p.bytes+q.bytes, q.seqEnd
	x.Include(c, y)
}

// Include adds the citation of y to that of x. y must not be used afterwards.
func (x *Exchange) Include(c *Conn, y *Exchange) {
	for _, r := range y.cites {
		x.cites.Add(r.First, r.Last)
	}
	y.release(c)
	x.charge(c)
}

// Part returns a copy for the row of a call that x carries, without bodies, and without a request
// or response that does not belong to it.
func (x *Exchange) Part(request, response bool) Exchange {
	y := *x
	y.ReqBody, y.RespBody, y.Ordinal, y.held = nil, nil, table.Opt[int64]{}, 0
	if !request {
		y.req = part{}
	}
	if !response {
		y.resp = part{}
	}
	return y
}

// MayWantNone declares that the request may want no response: bytes that would say so were lost. Without a response, the
// call is then not unanswered.
func (x *Exchange) MayWantNone() { x.optional = true }

// HasRequest reports whether any byte of the request was captured.
func (x *Exchange) HasRequest() bool { return x.req.seen }

// HasResponse reports whether any byte of the response was captured.
func (x *Exchange) HasResponse() bool { return x.resp.seen }

// RequestTime is when the first and the last byte of the request were captured.
func (x *Exchange) RequestTime() (first, last Instant) { return x.req.begin(), x.req.end() }

// ResponseTime is when the first and the last byte of the response were captured.
func (x *Exchange) ResponseTime() (first, last Instant) { return x.resp.begin(), x.resp.end() }

// fill writes times, sizes, identity and citations into c.
func (x *Exchange) fill(c *Conn, b *table.Call) {
	lead := &x.req
	if !lead.seen {
		lead = &x.resp
	}
	b.TsNs, b.ClockID = lead.first, lead.clocks[0]
	b.Ts = table.MicrosOf(lead.first)
	b.RequestBytes, b.ResponseBytes = c.onWire(&x.req, x.ReqBody), c.onWire(&x.resp, x.RespBody)
	if x.req.seen {
		b.SendUs = c.Micros(x.req.begin(), x.req.end())
	}
	if x.resp.seen {
		b.ReceiveUs = c.Micros(x.resp.begin(), x.resp.end())
	}
	if x.req.seen && x.resp.seen {
		b.ElapsedUs = c.Micros(x.req.begin(), x.resp.end())
		b.TTFBUs = c.Micros(x.req.begin(), x.resp.begin())
		b.WaitUs = c.Micros(x.req.end(), x.resp.begin()) // an early answer has no waiting time
	}
	b.StreamID = x.StreamID
	b.Cites = x.cites
}

// markUntimed adds an anomaly if a duration of the call is null because of its clocks.
func (c *Conn) markUntimed(x *Exchange, b *table.Call) {
	if c.untimed(x, b) {
		c.AnomalyFrom("engine", "two_clocks", "two clocks with an unknown difference saw the call, and neither saw all of it: the durations that would compare them are null", 0)
	}
}

// untimed reports whether a duration of the call is null because two clocks saw its ends.
func (c *Conn) untimed(x *Exchange, b *table.Call) bool {
	req, resp := &x.req, &x.resp
	if req.seen && (c.twoClocks(req.begin(), req.end()) || !b.WaitedUs.OK && c.twoClocks(req.begin(), c.until())) ||
		resp.seen && c.twoClocks(resp.begin(), resp.end()) {
		return true
	}
	return req.seen && resp.seen && (c.twoClocks(req.begin(), resp.end()) || c.twoClocks(req.begin(), resp.begin()) || c.twoClocks(req.end(), resp.begin()))
}

// id identifies the call by content, see docs/format/calls.md. It depends on nothing that
// address translation changes on TCP, and not on where the capture began.
func (c *Conn) id(x *Exchange, protocol string) (id table.ID) {
	lead := &x.req
	if !lead.seen {
		lead = &x.resp
	}
	r := c.root()
	var b [1 + 16 + 1 + 4 + 4 + 8 + 8 + 4 + headBytes]byte
	b[0] = 2 // version
	copy(b[1:17], protocol)
	b[17] = byte(r.Info.Transport)
	binary.BigEndian.PutUint32(b[18:], lead.seq)
	binary.BigEndian.PutUint32(b[22:], lead.ack)
	binary.BigEndian.PutUint64(b[26:], uint64(x.StreamID.V))
	binary.BigEndian.PutUint64(b[34:], lead.payload)
	if datagrams(r.Info.Transport) && lead.seq == 0 && lead.ack == 0 { // for QUIC, seq and ack hold the connection ID
		// The client may be a guess, so the ports are sorted.
		low, high := min(r.Info.ClientPort, r.Info.ServerPort), max(r.Info.ClientPort, r.Info.ServerPort)
		binary.BigEndian.PutUint16(b[42:], low)
		binary.BigEndian.PutUint16(b[44:], high)
	}
	n := 46 + copy(b[46:], lead.head[:lead.n])
	sum := sha256.Sum256(b[:n])
	copy(id[:], sum[:])
	return id
}
