package byid

import (
	"reflect"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Call is a request with its response, or a single message.
type Call[R table.CallRow, N any] struct {
	X    dissect.Exchange
	Row  R
	Note N // what the protocol remembers of the request
}

// Pairs is the Dissector, except for Read, of a protocol whose calls are one request and its
// response, each read whole from the front of the input. Embed it and call Start.
type Pairs[K comparable, R table.CallRow, N any] struct {
	Table[K, *Call[R, N]]
	Alone bool // a response without a request is complete
	Steps bool // a call may have more messages than a request and a response

	fill func(c *Call[R, N], why string)
}

// Start prepares p for a connection. A request that waits longer than wait ns counts as unanswered;
// 0 is never. fill sets the columns about the end of a call; why is the value of column error.
func (p *Pairs[K, R, N]) Start(c *dissect.Conn, wait int64, fill func(c *Call[R, N], why string)) {
	p.fill = fill
	p.Table = Table[K, *Call[R, N]]{Conn: c, Emit: p.End, Wait: wait}
}

// Settled implements dissect.Settler.
func (p *Pairs[K, R, N]) Settled() bool { return !p.Steps && p.Len() == 0 }

// Request returns a call that begins with a request, in.Data[:n], of either side.
func (p *Pairs[K, R, N]) Request(in *dissect.Input, n int, row R) *Call[R, N] {
	c := &Call[R, N]{Row: row}
	c.X.Request(in, 0, n)
	c.X.Reversed = in.Dir == dissect.ToClient
	return c
}

// Response adds a response, in.Data[:n], to its call. If c is nil, no request was captured: the
// response is a call of its own with the row.
func (p *Pairs[K, R, N]) Response(in *dissect.Input, n int, c *Call[R, N], row R) *Call[R, N] {
	if c == nil {
		c = &Call[R, N]{Row: row}
		c.X.Reversed = in.Dir == dissect.ToServer
	}
	c.X.Response(in, 0, n)
	return c
}

// Await keeps a call until its response comes. text is the memory that its row refers to.
func (p *Pairs[K, R, N]) Await(key K, c *Call[R, N], text int) {
	if key == p.took && p.tookAt != (dissect.Instant{}) {
		c.X.Follows(p.Conn, p.tookAt)
	}
	if old, ok := p.Get(key); ok {
		old.X.Displaced(p.Conn, &c.X)
	}
	p.Put(key, c, int(unsafe.Sizeof(*c)+reflect.TypeOf(c.Row).Elem().Size())+text)
}

// End emits a call. why is empty if it ended normally.
func (p *Pairs[K, R, N]) End(c *Call[R, N], why string) {
	if (why == "" || why == "no_response") && !p.Alone && !c.X.HasRequest() {
		why = "no_request"
	}
	b := c.Row.Base()
	b.Error, b.Complete = table.NonEmpty(why), why == ""
	p.fill(c, why)
	if !p.Steps {
		p.Conn.Unaffected(&c.X, dissect.ToServer, dissect.ToClient)
	}
	p.Conn.Emit(&c.X, c.Row)
}
