package flow

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Plain is decrypted data of a connection: the content of one record or one datagram, or a piece of
// a stream.
type Plain struct {
	Conn     ID
	Ends     [2]End // client and server, as the connection was dialled
	Proto    uint8  // IP protocol number
	First    int32  // interface of its first flow
	At       int64  // packet that was worked on then, for the order of rows
	No, Time int64  // packet that completed it
	Server   bool   // the server sent it
	Stream   int64  // of QUIC; -1 if there are none
	Protocol string // as known at the end of the round, "" if it is not known
	from, to int
}

// PlainBytes are the bytes of one of the batch's Plain.
func (b *Batch) PlainBytes(p *Plain) []byte { return b.plain[p.from:p.to] }

// keepPlain is how many bytes of plaintext a batch keeps room for when it is used again.
const keepPlain = 1 << 20

func (b *Batch) resetPlain() {
	clear(b.Plain)
	b.Plain = b.Plain[:0]
	if b.plain = b.plain[:0]; cap(b.plain) > keepPlain {
		b.plain = nil
	}
}

// untold is a Plain whose protocol was not known when it arrived.
type untold struct {
	i     int
	inner *dissect.Conn
}

// plainSink is a sink that also receives decrypted data. It is a separate type because the engine
// copies nothing for other sinks.
type plainSink struct{ s *Shard }

// Call implements dissect.Sink.
func (p plainSink) Call(e dissect.Emission) { (*sink)(p.s).Call(e) }

// Anomaly implements dissect.Sink.
func (p plainSink) Anomaly(d *dissect.Conn, a table.Anomaly) { (*sink)(p.s).Anomaly(d, a) }

// Plain implements dissect.PlainSink.
func (p plainSink) Plain(inner *dissect.Conn, dir dissect.Dir, stream int64, data []byte, at dissect.Packet) {
	if len(data) == 0 {
		return
	}
	s, c := p.s, inner.Info.Owner.(*Conn)
	client, server := c.dialled()
	row := Plain{Conn: c.id, Ends: [2]End{client.value(), server.value()}, Proto: c.key.proto, First: c.flows[0].Interface, At: s.at, No: at.No, Time: at.Time, Server: (dir == dissect.ToClient) != c.flipped(), Stream: stream, from: len(s.out.plain)}
	s.out.plain = append(s.out.plain, data...)
	row.to = len(s.out.plain)
	if told := inner.Protocol(); told != nil {
		row.Protocol = told.Name
	} else {
		s.untold = append(s.untold, untold{len(s.out.Plain), inner})
	}
	s.out.Plain = append(s.out.Plain, row)
}

// tell names a protocol that was recognized after its first bytes.
//
// LIMIT: bytes whose protocol only a later round reveals have no name.
func (s *Shard) tell() {
	for _, u := range s.untold {
		if told := u.inner.Protocol(); told != nil {
			s.out.Plain[u.i].Protocol = told.Name
		}
	}
	clear(s.untold)
	s.untold = s.untold[:0]
}
