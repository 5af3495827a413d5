package dissect

import (
	"math/bits"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect/linked"
)

// grow requests n more bytes of the engine's budget.
func (c *Conn) grow(n int) bool {
	r := c.root()
	if n > 0 && c.engine.held+n > c.engine.limit && !c.engine.relieve(r, n) {
		return false
	}
	c.engine.held += n
	r.held += n
	c.engine.ranked.place(r)
	return true
}

// shrink returns n bytes. What a connection still holds at its end is returned there.
func (c *Conn) shrink(n int) {
	r := c.root()
	n = min(n, r.held)
	c.engine.held -= n
	r.held -= n
	c.engine.ranked.place(r)
}

// owe takes n bytes of the budget even if it is exhausted; repay makes up for it.
func (c *Conn) owe(n int) {
	if c.grow(n) {
		return
	}
	r := c.root()
	c.engine.held += n
	r.held += n
	r.debt += n
	c.engine.ranked.place(r)
}

// kindCost is the memory of one element of Conn.kinds, including its text.
const kindCost = int(unsafe.Sizeof(kindCount{})) + 128

// measure charges the current memory of the dissector, of the anomaly counts and of what waits for its acknowledgement.
func (c *Conn) measure() {
	n := kindCost * cap(c.kinds)
	if c.acks != nil && len(c.acks.unacked) > 1 { // one is no more than what each connection takes
		n += unackedCost * cap(c.acks.unacked)
	}
	if c.d != nil {
		n += c.d.Kept()
	}
	switch more := n - c.kept; {
	case more > 0:
		c.owe(more)
	case more < 0:
		c.shrink(-more)
	}
	c.kept = n
}

// weigh measures after a piece of input and repays debts.
func (c *Conn) weigh() {
	c.returnSegs()
	c.measure()
	if c.debt > 0 && !c.closed {
		c.protect(0, c.repay)
	}
}

// repay cuts calls to make up for what exceeded the budget.
func (c *Conn) repay() {
	for c.debt > 0 && c.engine.held > c.engine.limit {
		was := c.held
		if c.giveMemory(); c.held >= was {
			break
		}
		c.debt -= was - c.held
		c.evicted()
	}
	c.debt = 0
}

// SetBudget limits the bytes that all connections may hold from now on. If they already hold
// more, nothing is freed, but they get no more.
func (e *Engine) SetBudget(n int) { e.limit = n }

// Held is the number of bytes that the engine's connections hold.
func (e *Engine) Held() int { return e.held }

// Keep reserves n bytes of the budget for a waiting call. If the budget is exhausted, the
// connection that uses most ends its oldest calls; if that is this one, Dissector.Shed does it. It
// returns the number of reserved bytes, which Release returns: 0 if nothing more could be freed.
func (c *Conn) Keep(n int) int {
	r := c.root()
	for idle := 0; !c.grow(n); {
		was := r.held
		if !c.shed() {
			return 0
		}
		c.evicted()
		if idle++; r.held < was {
			idle = 0
		} else if idle > maxIdle { // what it gives up is not charged here
			return 0
		}
	}
	return n
}

// shed frees memory of the dissector, if it has any.
func (c *Conn) shed() bool {
	switch {
	case c.d != nil && c.d.Shed():
		return true
	case c.streams != nil && c.streams.Shed():
		return true
	}
	return c.beside != nil && c.beside.shed()
}

// Hold reserves n bytes of the budget for data that a dissector can do without, such as a message
// in pieces. If it returns false, the dissector must not keep them. Release returns them.
func (c *Conn) Hold(n int) bool { return c.grow(n) }

// Release returns n bytes that Keep or Hold took.
func (c *Conn) Release(n int) { c.shrink(n) }

// Shed frees memory of an inner connection, for the Dissector that carries it.
func (c *Conn) Shed() bool {
	r := c.root()
	was := r.held
	c.now.No = r.now.No
	c.giveMemory()
	return r.held < was
}

// evicted records once per connection that calls were cut.
func (c *Conn) evicted() {
	r := c.root()
	if r.cut {
		return
	}
	r.cut = true
	r.AnomalyFrom("engine", "evicted", "the memory limit was reached: the oldest pending calls were cut, or bodies were not kept", 0)
}

// ranked lists the connections that use memory by the power of two of their size. It finds the
// largest one, within a factor of two, at once.
type ranked [bits.UintSize + 1]linked.List[Conn]

// rank is the position of a connection in the list.
type rank struct {
	at    uint8 // 0: it holds nothing, or had nothing to free
	place linked.Place[Conn]
}

// place moves c to the rank of its size.
func (l *ranked) place(c *Conn) {
	if at := uint8(bits.Len(uint(max(c.held, 0)))); at != c.rank.at {
		l.remove(c)
		l.push(c, at)
	}
}

func (l *ranked) push(c *Conn, at uint8) {
	if at == 0 {
		return
	}
	c.rank.at = at
	l[at].Add(&c.rank.place, c)
}

func (l *ranked) remove(c *Conn) {
	if c.rank.at == 0 {
		return
	}
	l[c.rank.at].Remove(&c.rank.place)
	c.rank.at = 0
}

// Patience is ns of silence after which a connection is given up, or gives up its memory, before others like it.
const Patience = 10e9

// fattest is the connection that holds most, other than c; nil if there is none. Of several, it is the one that has
// held so much for the longest time. If even that one has sent something lately, it is the newest: it is as likely to be
// needed as another, and if each in turn gave up its calls, none would get its answers.
func (l *ranked) fattest(c *Conn) *Conn {
	for at := len(l) - 1; at > 0; at-- {
		v := l[at].Oldest()
		switch {
		case v == nil:
		case v == c:
			return c.rank.place.Next()
		case c.now.Time-v.now.Time < Patience:
			if v = l[at].Newest(); v == c {
				v = c.rank.place.Prev()
			}
			return v
		default:
			return v
		}
	}
	return nil
}

// relieve makes room for n bytes of c at the cost of connections that hold more.
func (e *Engine) relieve(c *Conn, n int) bool {
	if n > e.limit/2 || e.relieving {
		return false
	}
	e.relieving = true
	defer func() { e.relieving = false }()
	for e.held+n > e.limit {
		v := e.ranked.fattest(c)
		if v == nil {
			return false
		}
		was := v.held
		v.now.No = c.now.No
		v.protect(0, v.giveMemory)
		if v.held < was {
			v.evicted()
		} else {
			e.ranked.remove(v)
		}
	}
	return true
}

// giveMemory frees what costs least: calls that wait to be taken, else the oldest call, else the unread bytes, else all state of
// the dissector.
func (c *Conn) giveMemory() {
	r := c.root()
	was := r.held
	c.release(func(*untaken) bool { return true })
	if r.held < was || c.shed() && r.held < was {
		return
	}
	if c.state == detecting && len(c.sides[0].buf)+len(c.sides[1].buf) > 0 {
		c.giveUp()
	}
	if u := c.unknown; u != nil && u.x.held > 0 {
		c.emitUnknown(EndEvicted)
		return
	}
	for d := range c.sides {
		if len(c.sides[d].buf) > 0 && c.state == reading {
			c.lost(Dir(d), "limit", "the engine reached its memory limit")
		}
	}
	if r.held == was && c.d != nil && (c.kept > 0 || c == r) {
		c.abandon()
	}
	if r.held == was {
		c.flushAnomalies()
		c.measure()
	}
}

// abandon ends the dissector; the next message that identifies a protocol begins another one.
func (c *Conn) abandon() {
	if c.claim != nil && c.claim.trial {
		c.withdraw("")
		return
	}
	c.Confirm()
	d := c.d
	c.d, c.upgrade = nil, nil
	d.Close(EndEvicted)
	c.measure()
	c.path = c.path[:len(c.path)-1]
	c.state, c.proto = detecting, nil
	for i := range c.sides {
		s := &c.sides[i]
		s.seeking, s.need, s.endSeen, s.looks, s.more = false, 0, false, 0, false
	}
}
