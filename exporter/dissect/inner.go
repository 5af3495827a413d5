package dissect

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// PlainSink is a Sink that also wants what came out of encryption.
type PlainSink interface {
	Sink
	// Plain gets the bytes that an inner connection was given; data is valid during the
	// call only. stream is -1 where there are none.
	Plain(inner *Conn, dir Dir, stream int64, data []byte, p Packet)
}

// NewInner starts a connection that another one carries inside, such as what TLS
// encrypts; by says what opened it and goes into decrypted_by.
func (c *Conn) NewInner(by string) *Conn {
	c.Confirm() // what opens is what it seemed
	in := &Conn{Info: c.Info, engine: c.engine, parent: c, by: by, tlsUs: c.tlsUs}
	in.Info.RolesKnown = true
	in.path = append(in.path, c.path...)
	return in
}

// NewStreams starts what the connection carries on many streams: the protocol that one
// of the ALPN names chooses. Nil, nil where no protocol has any of them.
func (c *Conn) NewStreams(by string, alpn ...string) (*Conn, Streams) {
	for _, name := range alpn {
		for _, p := range c.engine.Protocols {
			if p.NewStreams == nil || !slices.Contains(p.ALPN, name) {
				continue
			}
			in := c.NewInner(by)
			in.Info.Transport = QUIC
			in.proto, in.state = p, reading
			in.path = append(in.path, p.Name)
			c.told(in.path)
			return in, p.NewStreams(in)
		}
	}
	return nil, nil
}

// NewStream starts an inner connection for one stream of a QUIC connection that no
// protocol reads as a whole; what it carries is told by content.
func (c *Conn) NewStream(by string) *Conn {
	in := c.NewInner(by)
	in.Info.Transport = QUIC
	return in
}

// told notes at the outermost connection which protocols it carries inside.
func (c *Conn) told(path []string) {
	r := c.root()
	if len(path) > len(r.inside) {
		r.inside = path
	}
}

// Inner is the innermost protocol known to be inside the connection, its own where it
// carries none, or "".
func (c *Conn) Inner() string {
	path := c.path
	if len(c.inside) > len(path) {
		path = c.inside
	}
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1]
}

// Feed gives an inner connection bytes that came out of in.Data[a:b] of the outer one.
// They count as captured when the last of these bytes was.
func (c *Conn) Feed(in *Input, a, b int, data []byte) {
	if c.closed {
		return
	}
	p := in.within(a, b)
	if s, ok := c.engine.sink.(PlainSink); ok {
		s.Plain(c, in.Dir, -1, data, p)
	}
	c.Data(in.Dir, data, p)
}

// FeedDatagram is Feed where the outer connection carries datagrams.
func (c *Conn) FeedDatagram(in *Input, a, b int, data []byte) {
	if c.closed {
		return
	}
	p := in.within(a, b)
	if s, ok := c.engine.sink.(PlainSink); ok {
		s.Plain(c, in.Dir, -1, data, p)
	}
	c.Datagram(in.Dir, data, p)
}

// Tap shows bytes that a Streams dissector is about to be given to a sink that wants
// what came out of encryption.
func (c *Conn) Tap(dir Dir, stream int64, data []byte, p Packet) {
	if s, ok := c.engine.sink.(PlainSink); ok {
		s.Plain(c, dir, stream, data, p)
	}
}

// within is the packet that completed in.Data[a:b], with all others that carry a part of
// it, and with the sequence number of byte a: an inner byte's identity must not depend on
// how a record was cut into segments.
func (in *Input) within(a, b int) Packet {
	first := in.at(a)
	p := in.Packet(b - 1)
	p.Seq, p.Ack = first.Seq+uint32(in.base+int64(a)-first.off), first.Ack
	if first.No == p.No && len(first.Also) == 0 {
		return p
	}
	var cites table.Cites
	in.Cite(&cites, a, b)
	var also []int64
	for _, r := range cites {
		for no := r.First; no <= r.Last; no++ {
			if no != p.No {
				also = append(also, no)
			}
		}
	}
	p.Also = also
	return p
}
