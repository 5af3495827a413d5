package flow

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func (s *Shard) anomaly(f *Flow, at dissect.Packet, source, kind, detail string, bytes int64) {
	s.out.Anomalies = append(s.out.Anomalies, AnomalyRow{f.id, at.No, table.Anomaly{TsNs: at.Time, Ts: table.MicrosOf(at.Time),
		Source: source, Kind: kind, Detail: detail, PacketNo: table.Some(at.No), Bytes: bytes, Count: 1}})
}

// sink receives the rows of the engine.
type sink Shard

// Call implements dissect.Sink.
func (s *sink) Call(e dissect.Emission) {
	s.out.size += callMemory(&e, s.rowSizes[e.Protocol])
	s.out.Calls = append(s.out.Calls, (*Shard)(s).callRow(&e))
	(*Shard)(s).makeRoom()
}

// callRow fills the columns of a call that its connection knows.
func (s *Shard) callRow(e *dissect.Emission) CallRow {
	c := e.Conn.Info.Owner.(*Conn)
	b := e.Row.Base()
	src, dst := c.dialled()
	swapped := e.Conn.Flipped() != e.Reversed
	if swapped {
		src, dst = dst, src
	}
	b.SrcIP, b.SrcPort, b.DstIP, b.DstPort = s.texts.of(src.addr), int32(src.port), s.texts.of(dst.addr), int32(dst.port)
	if b.ClockID == c.flows[0].clock || b.ClockID == dissect.NoClock {
		b.ClockID = c.clock // of the several interfaces with this clock
	}
	if c.transport == dissect.Other {
		b.Transport = transportName(c.transport, c.key.proto)
	}
	asked, answered := dissect.ToServer, dissect.ToClient
	if swapped {
		asked, answered = answered, asked
	}
	var writers [2]Writer
	tcp := c.transport == dissect.TCP
	if c.writers != nil {
		writers[asked], writers[answered] = c.writers[asked].of(&e.Request, tcp), c.writers[answered].of(&e.Response, tcp)
	}
	return CallRow{Conn: c.id, At: e.At, Row: e.Row, Swapped: swapped, Writers: writers, ReqBody: e.ReqBody, RespBody: e.RespBody, Details: e.Details, Hidden: e.Hidden, Objects: e.Objects, Ticket: e.Ticket}
}

// Anomaly implements dissect.Sink.
func (s *sink) Anomaly(d *dissect.Conn, a table.Anomaly) {
	c := d.Info.Owner.(*Conn)
	s.out.Anomalies = append(s.out.Anomalies, AnomalyRow{c.flows[0].id, a.PacketNo.V, a})
}

// Receipt implements dissect.ReceiptSink.
func (s *sink) Receipt(d *dissect.Conn, r dissect.Receipt) {
	row := table.Receipt{ResponseDelivered: r.Delivered, ResponseAck: r.Ack, ResentUs: r.ResentAfter}
	if r.Resent > 0 {
		row.ResentSegments = table.Some(r.Resent)
	}
	s.out.Receipts = append(s.out.Receipts, ReceiptRow{d.Info.Owner.(*Conn).id, r.At, r.Ticket, row})
}
