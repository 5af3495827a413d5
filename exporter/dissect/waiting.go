package dissect

import (
	"reflect"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Waiter is a Dissector that can show the calls that still wait for their answer, for a live run. It
// changes nothing: the calls are emitted later. A row must not share memory that changes.
type Waiter interface {
	// Waiting shows the calls, oldest first, with error "cut", as at the end of a capture.
	Waiting(show func(x *Exchange, row table.CallRow))
}

// Carrier is a Dissector of encryption, with the connection inside it.
type Carrier interface {
	Inside() *Conn // nil if there is none
}

// Settler is a Dissector whose datagrams each say all that their reader needs, apart from the requests that wait.
type Settler interface {
	// Settled reports whether no request waits. Later datagrams can then be read as another conversation.
	Settled() bool
}

// Settled reports whether nothing is lost if this conversation of datagrams ends here.
func (c *Conn) Settled() bool {
	s, ok := c.d.(Settler)
	return ok && c.Info.Transport == UDP && c.claim == nil && c.beside == nil && s.Settled()
}

// maxWaiting is how many waiting calls of a connection are shown.
const maxWaiting = 256

// Waiting shows the calls of the connection that still wait, as far as its protocol can show them.
func (c *Conn) Waiting(show func(Emission)) {
	for c.d != nil && c.claim == nil {
		if w, ok := c.d.(Waiter); ok {
			c.showWaiting(w, show)
		}
		in, ok := c.d.(Carrier)
		if !ok || in.Inside() == nil {
			return
		}
		c = in.Inside()
	}
}

func (c *Conn) showWaiting(w Waiter, show func(Emission)) {
	n := int64(0)
	w.Waiting(func(x *Exchange, row table.CallRow) {
		if n >= maxWaiting || !x.HasRequest() {
			return
		}
		proto := c.engine.rowIndex[reflect.TypeOf(row)]
		b := row.Base()
		b.Protocol, b.Transport = c.engine.Protocols[proto].Name, c.Info.Transport.String()
		b.Ordinal = c.root().calls + n
		n++
		if x.Ordinal.OK {
			b.Ordinal = x.Ordinal.V
		}
		c.describe(b)
		b.Error, b.Complete = table.Some("cut"), false
		x.fill(c, b)
		b.Cites = slices.Clone(b.Cites)
		b.CallID = c.id(x, b.Protocol)
		c.judge(x, b)
		c.deliver(x, b)
		show(Emission{Row: row, Protocol: proto, Conn: c.root(), At: c.root().now.No, Reversed: x.Reversed, Request: x.req.span(), Response: x.resp.span()})
	})
}
