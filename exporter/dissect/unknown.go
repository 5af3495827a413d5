package dissect

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// unknownHead is how much of an unknown payload a row shows.
const unknownHead = 64

// Unknown is the row of a payload that no protocol fits: one a connection, so that
// nothing is silent. Its protocol is the transport's name.
type Unknown struct {
	table.Call
	RequestHead  []byte `col:"payload_request_head" doc:"first 64 bytes that the client sent"`
	ResponseHead []byte `col:"payload_response_head" doc:"first 64 bytes that the server sent"`
}

type unknownState struct {
	x    Exchange
	head [2][]byte
	gap  int64
}

func unknownProtocol(t Transport) *Protocol {
	name := t.String()
	switch t { // these names are folders of their own
	case ICMP:
		name = "icmp_payload"
	case QUIC:
		name = "quic_stream"
	}
	return &Protocol{Name: name, Doc: "payload of " + t.String() + " that no protocol fits",
		Transports: []Transport{t}, Row: &Unknown{}}
}

// giveUp ends detection: what was kept and what will come is counted in one row.
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

// skip counts the bytes of one segment into the unknown row, after a look whether a
// protocol begins here: a capture may start in the middle of a connection.
func (c *Conn) skip(dir Dir, data []byte, p Packet) {
	s := &c.sides[dir]
	if (c.Info.Transport == TCP || c.Info.Transport == QUIC) && s.looks < detectSegments {
		s.looks++
		if q, _ := c.ask(dir, data); q != nil {
			c.begin(q)
			s.segs = append(s.segs[:0], seg{s.off, p})
			c.take(dir, data)
			return
		}
	}
	c.skipSegs(dir, data, s.off, []seg{{s.off, p}})
	s.off += int64(len(data))
}

func (c *Conn) skipSegs(dir Dir, data []byte, off int64, segs []seg) {
	if c.unknown == nil {
		c.unknown = &unknownState{}
	}
	u := c.unknown
	in := Input{Dir: dir, Data: data, base: off, segs: segs}
	if dir == ToServer {
		u.x.Request(&in, 0, len(data))
	} else {
		u.x.Response(&in, 0, len(data))
	}
	if n := unknownHead - len(u.head[dir]); n > 0 {
		u.head[dir] = append(u.head[dir], data[:min(n, len(data))]...)
	}
	c.RowBytes += int64(len(data))
}

func (c *Conn) unknownGap(n int64) {
	if c.unknown != nil {
		c.unknown.gap += n
	}
}

func (c *Conn) emitUnknown(why End) {
	u := c.unknown
	if u == nil {
		return
	}
	c.unknown = nil
	row := &Unknown{RequestHead: u.head[ToServer], ResponseHead: u.head[ToClient]}
	row.Complete = u.gap == 0 && (why == EndFin || c.Info.Transport != TCP && c.Info.Transport != QUIC)
	if u.gap > 0 {
		row.Error = table.Some("gap")
	} else if !row.Complete {
		row.Error = table.Some(why.CallError())
		if why == EndReuse || why == EndUpgrade {
			row.Error = table.Some("cut")
		}
	}
	row.Summary = c.Info.Transport.String() + " payload, " + strconv.FormatInt(u.x.req.bytes, 10) + " bytes sent, " +
		strconv.FormatInt(u.x.resp.bytes, 10) + " received"
	c.emit(c.engine.unknown[c.Info.Transport], &u.x, row, nil)
}

// UnknownProtocols are the engine's own rows for payloads that no protocol fits, one a
// transport.
func UnknownProtocols() (list []*Protocol) {
	for t := range transports {
		list = append(list, unknownProtocol(t))
	}
	return list
}
