package flow

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// The memory of connections themselves, in bytes; a test measures it.
const (
	connCost    = 1520 // with its first flow, and with what the joiner knows of both
	flowCost    = 768  // each further flow
	rareCost    = int(unsafe.Sizeof(rareStats{}))
	talkCost    = 1664    // stream and dissector, once there is payload
	defaultRoom = 8 << 20 // before SetBudget
)

// Held is the memory of connections, in bytes: their own, and that of data that is out of order, not yet consumed by a
// dissector, or part of unfinished bodies and calls.
func (s *Shard) Held() int { return s.engineHeld() + s.streamLimit - s.budget.Left + s.taken }

func (s *Shard) engineHeld() int {
	if s.engine == nil {
		return 0
	}
	return s.engine.Held()
}

// Open is the number of connections that have not ended.
func (s *Shard) Open() int { return s.count }

// SetBudget sets how many bytes connections may use. Connections themselves have seven eighths of
// it, so that some is left for their rows.
func (s *Shard) SetBudget(n int) {
	s.room = n
	n = max(n-s.taken, n/8)
	stream := s.streamLimit - s.budget.Left // held of it
	if s.engine != nil {
		s.engine.SetBudget(max(n-stream, 0))
	}
	limit := max(n-s.engineHeld(), 0)
	s.budget.Left += limit - s.streamLimit
	s.streamLimit = limit
}

// SetOutlet sets the function for rows of a round beyond limit bytes: drain returns once the batch
// has room again. Without it, a batch has no limit.
func (s *Shard) SetOutlet(limit int, drain func()) { s.rowLimit, s.drain = limit, drain }

// makeRoom passes the rows on if they need too much memory.
func (s *Shard) makeRoom() {
	if s.drain != nil && s.out.size > s.rowLimit {
		s.out.mark()
		s.drain()
	}
}

// expire closes connections that were silent too long, at most the given number.
func (s *Shard) expire(last dissect.Packet, left int) {
	for _, l := range [...]struct {
		l    *list
		idle int64
	}{{&s.closing, closedLinger}, {&s.opening, tcpIdle}, {&s.asking, datagramIdle}, {&s.settled, datagramIdle}, {&s.other, datagramIdle}, {&s.tcp, tcpIdle}} {
		for ; l.l.head != nil && left > 0 && s.now-l.l.head.touched > l.idle; left-- {
			why := dissect.EndTimeout
			if l.l == &s.closing {
				why = l.l.head.closeReason()
			}
			s.end(l.l.head, why, last)
		}
	}
}

// limit closes the connections that were silent longest if all together need too much memory, or those without an
// answer, or those that have ended and wait for late packets, or questions that are all answered: the more there are,
// the more often the collector has to examine all of them.
func (s *Shard) limit(at dissect.Packet) {
	for left := endsByPacket; left > 0; left-- {
		var c *Conn
		switch {
		case s.closing.n*(connCost+talkCost) > s.room/4:
			c = s.closing.head
		case s.settled.n*(connCost+talkCost) > s.room/4:
			c = s.settled.head
		case s.opening.n*connCost+s.asking.n*(connCost+talkCost) > s.room/4:
			c = s.unanswered().head
		case s.taken > s.room-s.room/8, s.taken > s.room/2 && s.Held() > s.room-s.room/256:
			c = s.first()
		}
		if c == nil {
			return
		}
		why := dissect.EndEvicted
		switch c.list {
		case &s.closing:
			why = c.closeReason()
		case &s.settled:
			why = dissect.EndTimeout
		}
		s.end(c, why, at)
	}
}

// forget drops what is remembered of conversations once none is open.
func (s *Shard) forget() {
	if s.count == 0 {
		s.history.Drop()
		s.taken -= s.datagrams.drop()
	}
}

// first is the connection to give up first. A flood of unanswered requests ends its own connections first: it costs
// others only if it is a small part of all connections. If all have sent something lately, the newest goes: it is as
// likely to be needed as another, and if each in turn went, none would get its answers.
func (s *Shard) first() *Conn {
	for _, l := range [...]*list{&s.closing, &s.settled} {
		if l.head != nil {
			return l.head
		}
	}
	flood := s.unanswered()
	switch {
	case flood.n > s.count/8:
		return flood.head
	case s.other.head != nil:
		return s.other.head
	case s.tcp.head == nil:
		return flood.head
	case s.now-s.tcp.head.touched < dissect.Patience:
		return s.established.Newest()
	}
	return s.tcp.head
}

// unanswered are the longer of the two lists of connections that may be a flood.
func (s *Shard) unanswered() *list {
	if s.asking.n > s.opening.n {
		return &s.asking
	}
	return &s.opening
}

// take charges a connection for its own memory.
func (s *Shard) take(c *Conn, n int) {
	c.cost += int32(n)
	s.taken += n
}
