package dissect

import "net/netip"

// Limits of announced connections.
const (
	maxExpected    = 1024         // in one engine
	expectedWithin = int64(120e9) // ns from the announcement to the first packet
	expectedSlack  = int64(1e9)   // ns by which the packets of two connections may be out of order
)

// Expected is a TCP connection or UDP conversation that another connection announced, such as an
// FTP data connection. No other connection may be mistaken for it: it must come after the
// announcement, between the hosts that the announcement allows, and its content decides. A protocol
// that is certain of its content reads it. The dissector of New can still refuse it by an error of
// Read; then it is detected like any other.
//
// No side opens a UDP conversation, so Opener and Listener are just its ends. Its first datagram
// decides whether the dissector of New reads it: the dissector calls Conn.Confirm or returns an
// error.
type Expected struct {
	Transport Transport
	Opener    netip.Addr // who opens it; invalid if that is not known
	Listener  netip.Addr // who accepts it: one of two, because the announced address may be translated
	Other     netip.Addr // may be invalid
	Port      uint16     // of the listener

	Name  string                   // of its protocol
	New   func(c *Conn) Dissector  // makes its dissector
	Found func(c *Conn, as string) // it was found, but another protocol reads it

	at    int64 // capture time of the announcement
	ended bool
}

// listening is an end that accepts an expected connection.
type listening struct {
	addr netip.Addr
	port uint16
	kind Transport
}

// Expect announces a connection. It is for one connection: Unexpect withdraws it.
func (c *Conn) Expect(x *Expected) {
	e := c.engine
	if e.expected == nil {
		e.expected = map[listening]*Expected{}
	}
	x.at = c.root().now.Time
	for _, addr := range [...]netip.Addr{x.Listener, x.Other} {
		if addr.IsValid() && len(e.expected) < maxExpected {
			e.expected[listening{addr, x.Port, x.Transport}] = x
		}
	}
}

// Unexpect withdraws an announcement.
func (c *Conn) Unexpect(x *Expected) {
	x.ended = true
	for _, addr := range [...]netip.Addr{x.Listener, x.Other} {
		if k := (listening{addr, x.Port, x.Transport}); c.engine.expected[k] == x {
			delete(c.engine.expected, k)
		}
	}
}

// expectedOf is the announcement of a new connection, which it uses up; nil if there is none.
func (e *Engine) expectedOf(info *Info) *Expected {
	switch {
	case len(e.expected) == 0:
		return nil
	case info.Transport == UDP:
		if x := e.expectedAt(info, info.Server, info.ServerPort, info.Client); x != nil {
			return x
		}
		return e.expectedAt(info, info.Client, info.ClientPort, info.Server)
	case info.Transport != TCP || !info.RolesKnown:
		return nil
	}
	return e.expectedAt(info, info.Server, info.ServerPort, info.Client)
}

// expectedAt is the announcement of a connection between this listener and opener.
func (e *Engine) expectedAt(info *Info, listener netip.Addr, port uint16, opener netip.Addr) *Expected {
	x := e.expected[listening{listener, port, info.Transport}]
	if x == nil || x.ended || x.Opener.IsValid() && x.Opener != opener || info.Opened.Time < x.at-expectedSlack || info.Opened.Time > x.at+expectedWithin {
		return nil
	}
	return x
}

// expected is the announcement of the connection, nil if there is none.
func (c *Conn) expected() *Expected {
	if c.facts == nil {
		return nil
	}
	return c.facts.expect
}

// expectedBegins begins the dissector of an announced connection: of TCP, once no protocol matches its
// content.
func (c *Conn) expectedBegins() bool {
	x := c.expected()
	if x == nil || x.ended {
		return false
	}
	c.facts.expect = nil
	c.Unexpect(x)
	c.begin(&Protocol{Name: x.Name, Detect: func(Dir, []byte) Verdict { return No }, New: x.New}, Likely)
	c.claim.trial = x.Transport == UDP
	return true
}

// unexpected reports that another protocol reads an announced connection.
func (c *Conn) unexpected(as string) {
	if x := c.expected(); x != nil && !x.ended {
		c.facts.expect = nil
		c.Unexpect(x)
		x.Found(c, as)
	}
}

// Carried adds y's part of the response, or of the request, to x: bytes that another connection
// carried. y must not be used afterwards.
func (x *Exchange) Carried(c *Conn, y *Exchange, response bool) {
	p := &x.req
	if response {
		p = &x.resp
	}
	for _, q := range [...]*part{&y.req, &y.resp} {
		if q.seen {
			p.bytes += q.bytes
			p.extend(q.end())
		}
	}
	y.held = 0
	x.short = x.short || y.short
	x.Include(c, y)
}

// Resume declares that the current packet of another connection completed the next rows of c.
func (c *Conn) Resume(other *Conn) {
	now := other.root().now
	c.now, c.root().now = now, now
}
