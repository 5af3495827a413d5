package dissect

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/guess"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of the kept part of an unknown payload.
const (
	unknownHead = guess.Head // bytes of each side that a row shows
	unknownNext = 12         // bytes of a second datagram
)

// Unknown is the row of a payload without a matching protocol: one per connection, so that every
// payload is reported. table.Undissected names its protocol.
type Unknown struct {
	table.Call
	RequestHead  []byte `col:"payload_request_head" doc:"first 64 bytes that the client sent"`
	ResponseHead []byte `col:"payload_response_head" doc:"first 64 bytes that the server sent"`

	Likely   table.Opt[string] `col:"payload_protocol" enc:"dict" doc:"protocol that the payload probably is; null if nothing suggests one; see docs/format/calls.md"`
	Evidence table.Opt[string] `col:"payload_evidence" enc:"dict" doc:"what payload_protocol is based on: content (the form of the first bytes), upgrade (the request before it names it) or port (a hint only)"`
}

type unknownState struct {
	x     Exchange
	sides [2]guess.Side
	gap   int64
}

func unknownProtocol(t Transport) *Protocol {
	return &Protocol{Name: table.Undissected[t], Doc: "payload of " + t.String() + " without a matching protocol",
		Transports: []Transport{t}, Row: &Unknown{}}
}

// giveUp ends detection: one row counts the waiting bytes and those to come.
func (c *Conn) giveUp() {
	c.state, c.proto = skipping, nil
	for d := range c.sides {
		s := &c.sides[d]
		s.seeking = false
		if len(s.buf) > 0 {
			c.skipSegs(Dir(d), s.buf, s.off, s.segs)
			c.drop(s, 0)
		}
	}
}

// skip counts the bytes of one segment in the unknown row, unless a protocol begins there: a
// capture may start in the middle of a connection.
func (c *Conn) skip(dir Dir, data []byte, p Packet) {
	was := c.flipped
	if !datagrams(c.Info.Transport) && c.redetect(dir, data) {
		if c.flipped != was {
			dir = dir.Other()
		}
		s := &c.sides[dir]
		c.arrived(s, p)
		c.offerSegment(dir, data)
		return
	}
	s := &c.sides[dir]
	c.skipSegs(dir, data, s.off, []seg{{off: s.off, Packet: p}})
	s.off += int64(len(data))
}

func (c *Conn) skipSegs(dir Dir, data []byte, off int64, segs []seg) {
	if c.unknown == nil {
		c.unknown = &unknownState{}
	}
	in := Input{Dir: dir, Data: data, conn: c, base: off, segs: segs, side: &c.sides[dir]}
	c.unknown.add(&in, len(data))
	c.RowBytes += int64(len(data))
}

// add counts the first n bytes of in.
func (u *unknownState) add(in *Input, n int) {
	u.x.Add(in, 0, n)
	s := &u.sides[in.Dir]
	if datagrams(in.conn.Info.Transport) && n > 0 {
		u.gap += int64(in.Packet(0).Cut)
		switch {
		case s.Size == 0:
			s.Size = len(in.Data)
		case s.Next == nil:
			s.Next = append(s.Next, in.Data[:min(unknownNext, n)]...)
		}
	}
	if left := unknownHead - len(s.Head); left > 0 {
		s.Head = append(s.Head, in.Data[:min(left, n)]...)
	}
}

// merge adds the bytes after u's own.
func (u *unknownState) merge(c *Conn, v *unknownState) {
	u.x.req.merge(&v.x.req)
	u.x.resp.merge(&v.x.resp)
	for _, r := range v.x.cites {
		u.x.cites.Add(r.First, r.Last)
	}
	u.x.charge(c)
	u.gap += v.gap
	for d := range u.sides {
		s, t := &u.sides[d], &v.sides[d]
		if len(s.Head) == 0 {
			*s = *t
			continue
		}
		if s.Next == nil && s.Size > 0 {
			s.Next = t.Head[:min(unknownNext, len(t.Head))]
		}
		left := max(unknownHead-len(s.Head), 0)
		s.Head = append(s.Head, t.Head[:min(left, len(t.Head))]...)
	}
}

func (p *part) merge(q *part) {
	if !p.seen {
		*p = *q
		return
	}
	p.n += uint8(copy(p.head[p.n:], q.head[:q.n]))
	end := later(p.end(), q.end())
	p.last, p.clocks[1] = end.Ns, end.Clock
	p.lose(int64(q.lost))
	p.bytes, p.seqEnd = p.bytes+q.bytes, q.seqEnd
}

func (c *Conn) unknownGap(dir Dir, n int64) {
	if u := c.unknown; u != nil {
		u.gap += n
		if n >= LostAll || c.Info.Transport == Association && n == 1 { // messages of unknown size
			return
		}
		if dir == ToServer {
			u.x.req.lose(n)
		} else {
			u.x.resp.lose(n)
		}
	}
}

func (c *Conn) emitUnknown(why End) {
	u := c.unknown
	if u == nil {
		return
	}
	c.unknown = nil
	row := &Unknown{RequestHead: u.sides[ToServer].Head, ResponseHead: u.sides[ToClient].Head}
	row.Complete = u.gap == 0 && (why == EndFin || datagrams(c.Info.Transport))
	if u.gap > 0 {
		row.Error = table.Some("gap")
	} else if !row.Complete {
		row.Error = table.Some(why.CallError())
		if why == EndReuse || why == EndUpgrade {
			row.Error = table.Some("cut")
		}
	}
	row.Outcome = table.Unread
	g := u.guess(c)
	if g.Protocol != "" && (g.By != guess.Port || len(c.path) == 0) { // the rest of a message before the capture is no protocol
		c.root().known().likely = g
	}
	row.Likely, row.Evidence = table.NonEmpty(g.Protocol), table.NonEmpty(string(g.By))
	row.Summary = nameUnknown(c.Info.Transport, g) + u.first() + ", " + strconv.FormatInt(c.onWire(&u.x.req, nil), 10) + " bytes sent, " +
		strconv.FormatInt(c.onWire(&u.x.resp, nil), 10) + " received"
	c.emit(c.engine.unknown[c.Info.Transport], &u.x, row, nil)
}

// guess returns the protocol that the payload probably is. LIMIT: only of streams and UDP.
func (u *unknownState) guess(c *Conn) guess.Guess {
	if t := c.Info.Transport; t != UDP && datagrams(t) {
		return guess.Guess{}
	}
	start := guess.Start{Client: u.sides[ToServer], Server: u.sides[ToClient], ClientPort: c.Info.ClientPort, ServerPort: c.Info.ServerPort,
		Datagrams: datagrams(c.Info.Transport), RolesKnown: c.Info.RolesKnown}
	g := guess.Of(&start)
	if c.Likely().By == guess.Upgrade && g.By != guess.Content {
		return c.Likely()
	}
	return g
}

// nameUnknown begins the summary of an unknown payload.
func nameUnknown(t Transport, g guess.Guess) string {
	switch g.By {
	case guess.Content:
		return g.Protocol + ", by its first bytes"
	case guess.Upgrade:
		return g.Protocol + ", by the request before it"
	case guess.Port:
		return t.String() + " port " + strconv.Itoa(int(g.Port)) + ", " + g.Protocol + " likely"
	}
	return t.String() + " payload"
}

// first shows the first bytes of the side that sent first, after a colon; "" if there are none.
func (u *unknownState) first() string {
	d := ToServer
	if req, resp := &u.x.req, &u.x.resp; resp.seen && (!req.seen || resp.no < req.no) {
		d = ToClient
	}
	if len(u.sides[d].Head) == 0 {
		return ""
	}
	return ": " + guess.First(u.sides[d].Head, d == ToServer)
}

// UnknownProtocols are the engine's own rows for payloads without a matching protocol, one per
// transport.
func UnknownProtocols() (list []*Protocol) {
	for t := range transports {
		list = append(list, unknownProtocol(t))
	}
	return list
}
