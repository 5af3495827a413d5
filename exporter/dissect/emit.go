package dissect

import (
	"fmt"
	"reflect"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Emission is a finished call on its way to the tables.
type Emission struct {
	Row      table.CallRow
	Protocol int   // index into Engine.Protocols
	Conn     *Conn // connection it belongs to
	At       int64 // number of the packet that completed it
	Reversed bool  // the server sent the request, see Exchange.Reversed
	Request  Span
	Response Span
	ReqBody  *Body
	RespBody *Body
	Details  []Detail
	Hidden   []Hidden // if the engine traces
	Objects  []table.Object
	Ticket   uint32 // of the Receipt that follows, unique in the connection; 0: none

	response unacked
}

// Sink receives the output of an engine, in order.
type Sink interface {
	Call(e Emission)
	Anomaly(c *Conn, a table.Anomaly)
}

// Emit passes on a finished call. The engine fills the columns that all protocols share from x
// and the connection. The caller must not change the row afterwards.
func (c *Conn) Emit(x *Exchange, row table.CallRow, details ...Detail) {
	i, ok := c.engine.rowIndex[reflect.TypeOf(row)]
	if !ok {
		panic(fmt.Sprintf("dissect: %T is not the row of a registered protocol", row))
	}
	c.emit(i, x, row, details)
}

// Excludes reports whether a protocol that other protocols carry, such as ClickHouse in HTTP, must be skipped.
func (c *Conn) Excludes(protocol string) bool {
	p := c.engine.byName[protocol]
	return p != nil && p.Excluded
}

// Registered reports whether the engine knows the protocol of row.
func (c *Conn) Registered(row table.CallRow) bool {
	_, ok := c.engine.rowIndex[reflect.TypeOf(row)]
	return ok
}

func (c *Conn) emit(proto int, x *Exchange, row table.CallRow, details []Detail) {
	if c.muted() {
		return
	}
	b := row.Base()
	b.Protocol = c.engine.Protocols[proto].Name
	b.Transport = c.Info.Transport.String()
	outer, turned := c, false
	for ; outer.parent != nil; outer = outer.parent {
		turned = turned || outer.isBeside && outer.parent.flipped != outer.turned
	}
	if c.Info.Transport == TCP { // datagrams may carry the stream
		b.Transport = outer.Info.Transport.String()
	}
	b.Ordinal = outer.calls
	if x.Ordinal.OK {
		b.Ordinal = x.Ordinal.V
	}
	first := outer.calls == 0
	outer.calls++
	if c != outer {
		if c.calls == 0 && c.tlsUs >= 0 {
			b.TLSUs = table.Some(c.tlsUs)
		}
		first = c.calls == 0
		c.calls++
	}
	c.describe(b)
	if first && c.Info.ConnectUs >= 0 && c.Info.Transport == TCP {
		b.ConnectUs = table.Some(c.Info.ConnectUs)
	}
	x.fill(c, b)
	c.Done(x)
	x.release(c)
	b.CallID = c.id(x, b.Protocol)
	for _, body := range [...]*Body{x.ReqBody, x.RespBody} {
		if body != nil {
			body.Finish()
		}
	}
	fillBody(x.ReqBody, &b.RequestBodyHash, &b.RequestBodySize, &b.RequestBodyWire)
	fillBody(x.RespBody, &b.ResponseBodyHash, &b.ResponseBodySize, &b.ResponseBodyWire)
	c.judge(x, b)
	c.deliver(x, b)
	c.notePending(x, b)
	c.markUntimed(x, b)
	b.Anomalies, c.callAnom = c.callAnom, 0
	switch {
	case !b.Complete && !b.Error.OK && b.Outcome == table.OK && x.losses.of != c.losses.of: // it waited for something
		b.Error, b.Outcome = table.Some(string(c.losses.last)), table.Unread
	case !b.Complete:
	case x.losses.of != c.losses.of:
		b.Complete, b.Error = false, table.Some(string(c.losses.last))
	case x.short:
		b.Complete, b.Error = false, table.Some(string(LossGap))
	}
	e := Emission{response: c.response(x, b), Row: row, Protocol: proto, Conn: outer, At: c.now.No, Reversed: x.Reversed != turned, Request: x.req.span(), Response: x.resp.span(),
		ReqBody: x.ReqBody, RespBody: x.RespBody, Details: details, Hidden: c.engine.hiddenOf(x),
		Objects: append(x.ReqBody.objects("request", c.engine.kinds), x.RespBody.objects("response", c.engine.kinds)...)}
	if !c.holdBack(e) && !c.awaitTaken(x, e) {
		c.send(e)
	}
}

// describe sets the columns that say how the connection is carried.
func (c *Conn) describe(b *table.Call) {
	if c.Info.OpenedBy != "" {
		b.DecryptedBy = table.Some(c.Info.OpenedBy)
	}
	for ; c != nil && !b.ProxiedTo.OK; c = c.parent {
		if c.facts != nil {
			b.ProxiedTo = c.facts.passedTo
		}
	}
}

func fillBody(b *Body, hash *table.Opt[table.Hash], size, wire *table.Opt[int64]) {
	if b == nil || b.size == 0 && b.missing == 0 {
		return
	}
	*hash, *wire = table.Some(b.Hash), table.Some(b.WireSize())
	if !b.Large {
		*size = table.Some(b.decoded)
	}
}

type kindCount struct {
	source, kind string
	count, bytes int64
	last         table.Anomaly
}
