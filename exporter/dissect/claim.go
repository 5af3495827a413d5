package dissect

import "fmt"

// Limits of one claim.
const (
	maxHeldRows = 8       // rows held back
	rowCost     = 2 << 10 // of a row that is held back, in addition to the memory of its messages
	maxMisses   = 16      // segments of the other side that do not begin with a message
)

// claim is a protocol that is likely but not certain. Its rows are held back until one is
// complete, and the bytes it read are also recorded in u, for the row of an unknown payload in
// case the claim is wrong.
type claim struct {
	u       unknownState
	rows    []Emission
	held    int  // bytes of the budget that the rows use
	flipped bool // the claim swapped the sides
	by      Dir  // direction whose bytes led to the claim
	misses  int  // segments searched without finding where to continue
	crypt   bool // the connection was encrypted before
	trial   bool // of DetectLast: only Conn.Confirm proves it
}

// refusal is a claim that was withdrawn.
type refusal struct {
	p       *Protocol
	flipped bool // Conn.flipped during the claim
}

// Confirm states that the bytes read so far can only be this protocol: a later error then means
// damage, not another protocol.
func (c *Conn) Confirm() {
	cl := c.claim
	c.claim = nil
	if cl == nil {
		return
	}
	cl.u.x.release(c)
	c.shrink(cl.held)
	for _, e := range cl.rows {
		e.At = c.now.No
		c.send(e)
	}
}

// Unproved reports whether the protocol is only likely. If so, a message that this side must not
// send is an error.
func (c *Conn) Unproved() bool { return c.claim != nil }

// holdBack keeps a row of an unproved claim. Rows with bodies are not kept, because the bytes of
// a finished body are no longer charged to the budget.
func (c *Conn) holdBack(e Emission) bool {
	cl := c.claim
	if cl == nil {
		return false
	}
	if e.Row.Base().Complete || e.ReqBody != nil || e.RespBody != nil || len(cl.rows) == maxHeldRows {
		c.Confirm()
		return false
	}
	b := e.Row.Base()
	cost := rowCost + 2*int(min(b.RequestBytes+b.ResponseBytes, maxBuffered)) + citeCost*len(b.Cites)
	if !c.grow(cost) {
		c.Confirm()
		return false
	}
	cl.held += cost
	cl.rows = append(cl.rows, e)
	return true
}

// contradicted handles an error of Read: data are bytes that the claimed protocol cannot send.
// If the capture began in mid-connection, the first bytes of the other side are excused because
// they may be the rest of a message, unless they can only be another protocol. It returns the number of bytes consumed.
func (c *Conn) contradicted(dir Dir, data []byte, why string) int {
	cl, s := c.claim, &c.sides[dir]
	p := &cl.u.x.req
	if dir == ToClient {
		p = &cl.u.x.resp
	}
	excused := dir != cl.by && !c.Info.RolesKnown && !p.seen && c.verdict(c.proto, dir.Other(), true, data) < Likely
	if excused {
		_, other := c.findProtocol(dir, false, data)
		excused = other != Yes
	}
	if !excused {
		c.withdraw(why)
		return 0
	}
	c.skipSegs(dir, data, s.off, s.segs)
	s.seeking, s.looks = true, 0
	c.resync(dir, LossMalformed)
	return len(data)
}

// withdraw returns a connection to detection because the claimed protocol cannot send the bytes
// that came. The bytes that the claim read are part of the row of the unknown payload.
func (c *Conn) withdraw(why string) {
	cl, d := c.claim, c.d
	c.claim, c.d, c.upgrade = nil, nil, nil
	c.quiet = true
	d.Close(EndUpgrade)
	c.quiet = false
	if c.parent == nil && !cl.crypt {
		c.crypt = nil
	}
	cl.u.x.release(c)
	c.shrink(cl.held)
	c.root().calls -= int64(len(cl.rows))
	if c.parent != nil {
		c.calls -= int64(len(cl.rows))
	}
	if cl.u.x.req.seen || cl.u.x.resp.seen {
		if c.unknown == nil {
			c.unknown = &unknownState{}
		}
		c.unknown.merge(c, &cl.u)
	}
	if !cl.trial {
		c.AnomalyFrom("engine", "withdrawn", fmt.Sprintf("the bytes are not %s, although their start looked like it: %s", c.proto.Name, why), 0)
	}
	if r := c.root(); len(r.inside) == len(c.path) && r != c {
		r.inside = nil
	}
	c.refused = append(c.refused, refusal{c.proto, c.flipped})
	c.path = c.path[:len(c.path)-1]
	c.state, c.proto = detecting, nil
	if cl.flipped {
		c.flip()
	}
	for i := range c.sides {
		s := &c.sides[i]
		s.seeking, s.need, s.endSeen, s.looks, s.more = false, 0, false, 0, false
	}
}

// muted reports whether a withdrawn dissector is being closed, in this connection or in one that
// carries it.
func (c *Conn) muted() bool {
	for ; c != nil; c = c.parent {
		if c.quiet {
			return true
		}
	}
	return false
}
