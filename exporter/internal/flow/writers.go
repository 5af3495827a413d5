package flow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// writers are the processes that wrote what one end of a connection sent, where there were
// several: two may use a socket in turn. Places are TCP's sequence numbers, which are equal
// wherever a segment is seen, and numbers of packets otherwise.
type writers struct {
	one  int32     // the only one so far, 0: none is known
	list []written // once there were two
	next uint32    // behind the highest sequence number of which the writer is known
}

// written says that from a place on a process wrote.
type written struct {
	from  int64
	owner int32
	exact bool // the kernel said so of the packet
}

const (
	maxWritten  = 256 // stretches of one end; the oldest are forgotten first
	writtenCost = 16  // bytes that one takes
)

// Writer is who wrote a message. Owner is 0 where the connection's owner counts.
type Writer struct {
	Owner int32
	Guess bool // another may have written it
}

// wrote takes what a packet tells of who wrote it.
func (s *Shard) wrote(c *Conn, dir dissect.Dir, p *Packet) {
	if p.Direction != decode.DirOut || p.OwnerRank == 0 || p.PayloadLen <= 0 {
		return
	}
	w := &c.writers[dir]
	place := p.No
	if c.transport == dissect.TCP {
		if w.one != 0 && int32(p.Seq-w.next) < 0 {
			return // sent again
		}
		w.next = p.Seq + uint32(p.PayloadLen)
		place = int64(p.Seq)
	}
	switch n := len(w.list); {
	case w.one == 0:
		w.one = p.Owner
	case n == 0 && w.one == p.Owner:
	case n == 0:
		if !p.Wrote {
			return // who used the socket last, which says little
		}
		s.take(c, 2*writtenCost)
		w.list = append(w.list, written{place - 1<<30, w.one, true}, written{place, p.Owner, true})
	case w.list[n-1].owner == p.Owner && w.list[n-1].exact == p.Wrote:
	case n == maxWritten:
		copy(w.list, w.list[1:])
		w.list[n-1] = written{place, p.Owner, p.Wrote}
	default:
		s.take(c, writtenCost)
		w.list = append(w.list, written{place, p.Owner, p.Wrote})
	}
}

// of says who wrote a message.
func (w *writers) of(m *dissect.Span, tcp bool) Writer {
	if len(w.list) == 0 {
		return Writer{}
	}
	last := w.list[len(w.list)-1]
	if !m.Seen {
		return Writer{last.owner, true}
	}
	first, end := m.First, m.Last
	if tcp {
		first, end = int64(m.Seq), int64(m.Seq)+max(m.Bytes-1, 0)
	}
	behind := func(place, from int64) bool {
		if tcp {
			return int32(uint32(place)-uint32(from)) >= 0
		}
		return place >= from
	}
	var found Writer
	for i := len(w.list) - 1; i >= 0; i-- {
		x := &w.list[i]
		if !behind(end, x.from) {
			continue
		}
		found.Guess = found.Guess || !x.exact || found.Owner != 0 && found.Owner != x.owner
		found.Owner = x.owner
		if behind(first, x.from) {
			return found
		}
	}
	return Writer{w.list[0].owner, true} // of before the oldest that is known
}
