package dissect

import (
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// PlainSink is a Sink that also receives decrypted bytes.
type PlainSink interface {
	Sink
	// Plain receives the bytes passed to an inner connection. data is valid during the call
	// only; stream is -1 if the transport has no streams.
	Plain(inner *Conn, dir Dir, stream int64, data []byte, p Packet)
}

// NewInner starts a connection carried inside c, such as the content of TLS. by names the
// decryption method for column decrypted_by.
func (c *Conn) NewInner(by string) *Conn {
	c.Confirm() // decrypting its records proves the protocol
	in := &Conn{Info: c.Info, engine: c.engine, relatives: relatives{parent: c}, reader: reader{tlsUs: c.tlsUs}}
	in.Info.RolesKnown, in.Info.Began, in.Info.OpenedBy = true, [2]bool{true, true}, by
	in.path = append(in.path, c.path...)
	return in
}

// before is the protocol of a connection that changed to TLS.
type before struct {
	proto *Protocol
	d     Dissector
}

// Continue begins the protocol that c was before it changed to TLS in its inner connection, if it has nothing to detect.
func (c *Conn) Continue(in *Conn) {
	if f := c.facts; f != nil && f.before != nil {
		in.begin(f.before.proto, Yes)
		in.d.(Continuer).Continue(f.before.d)
	}
}

// NewStreams starts the protocol that one of the ALPN names selects for the connection's
// streams. It returns nil, nil if no protocol has any of these names.
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
			c.noteInside(in.path)
			in.streams = p.NewStreams(in)
			return in, in.streams
		}
	}
	return nil, nil
}

// NewStream starts an inner connection for one stream of a QUIC connection that no protocol reads
// as a whole. Detection finds the protocol of the stream.
func (c *Conn) NewStream(by string) *Conn {
	in := c.NewInner(by)
	in.Info.Transport = QUIC
	return in
}

// ConnCost is the memory of an inner connection, in addition to what it keeps.
const ConnCost = int(unsafe.Sizeof(Conn{}))

// NewTunnel starts the named protocol for bytes that c carries unchanged, such as a WebSocket in an
// HTTP/2 stream. Without a name, detection finds it. If c has datagrams, they carry a stream. It
// returns nil if the engine does not know the protocol.
func (c *Conn) NewTunnel(name string, info *UpgradeInfo) *Conn {
	p := c.engine.byName[name]
	if name != "" && (p == nil || p.New == nil) {
		return nil
	}
	in := c.NewInner(c.Info.OpenedBy)
	if datagrams(in.Info.Transport) {
		in.Info.Transport = TCP // a stream
	}
	if name == "" {
		return in
	}
	in.begin(p, Yes)
	if g, ok := in.d.(Upgrader); ok {
		g.Upgraded(info)
	}
	return in
}

// Carry passes in.Data[a:b] of the outer connection to a tunnel in it.
func (c *Conn) Carry(in *Input, a, b int) { c.Data(in.Dir, in.Data[a:b], in.within(a, b)) }

// CarryAs is Carry for bytes that were decoded from in.Data[a:b].
func (c *Conn) CarryAs(in *Input, a, b int, data []byte) { c.Data(in.Dir, data, in.within(a, b)) }

// CarryMessage is Carry for bytes that were decoded from a whole message, the request of x, whose
// last byte is in.Data[b-1]. x must not be used afterwards.
func (c *Conn) CarryMessage(in *Input, x *Exchange, b int, data []byte) {
	p := in.Packet(b - 1)
	p.Seq, p.Ack, p.Also = x.req.seq, x.req.ack, others(x.cites, p.No)
	x.release(c)
	c.Data(in.Dir, data, p)
}

// noteInside records the protocols inside a connection at the outermost one.
func (c *Conn) noteInside(path []string) {
	r := c.root()
	if len(path) > len(r.inside) {
		r.inside = path
	}
}

// Inner is the innermost known protocol inside the connection: the connection's own if it
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

// Feed passes bytes decoded from in.Data[a:b] of the outer connection to an inner connection.
// Their capture time is that of the last of these bytes.
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

// FeedDatagram is Feed for an outer connection that carries datagrams.
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

// Tap passes bytes that a Streams dissector is about to read to the sink, if it is a PlainSink.
func (c *Conn) Tap(dir Dir, stream int64, data []byte, p Packet) {
	if s, ok := c.engine.sink.(PlainSink); ok {
		s.Plain(c, dir, stream, data, p)
	}
}

// within is the packet that completed in.Data[a:b], with all others that carry a part of it, and
// with the sequence number of byte a. This keeps the identity of an inner byte independent of
// how a record was split into segments.
func (in *Input) within(a, b int) Packet {
	first := in.at(a)
	p := in.Packet(b - 1)
	p.Seq, p.Ack = first.Seq+uint32(in.base+int64(a)-first.off), first.Ack
	if first.No == p.No && len(first.Also) == 0 {
		return p
	}
	var cites table.Cites
	in.Cite(&cites, a, b)
	p.Also = others(cites, p.No)
	return p
}

// others lists the packets of a citation but one.
func others(cites table.Cites, but int64) (list []int64) {
	for _, r := range cites {
		for no := r.First; no <= r.Last; no++ {
			if no != but {
				list = append(list, no)
			}
		}
	}
	return list
}
