package flow

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// writers are the processes that wrote what one end of a connection sent. Two may use a socket in turn, and queued
// bytes may leave while another process writes, or none. Positions are TCP's sequence numbers, which are equal at every
// vantage, else numbers of packets.
type writers struct {
	first written   // the only stretch so far
	list  []written // once there were two
	any   bool      // first is there
	sole  int32     // the only process that the kernel named, 0: none, severalWriters
	next  uint32    // behind the highest sequence number of which the writer is known
}

// written is a process that wrote from a position on.
type written struct {
	from  int64
	owner int32
	exact bool // the kernel named it for the packet
}

const (
	maxWritten  = 256 // stretches of one end; the oldest are forgotten first
	writtenCost = 16  // bytes that one takes
	writersCost = int(unsafe.Sizeof([2]writers{}))

	severalWriters = -1
)

// Writer is the process that wrote a message. Owner is 0 if the connection's owner counts.
type Writer struct {
	Owner int32
	Guess bool // another may have written it
}

// wrote records the writer that a packet shows.
func (s *Shard) wrote(c *Conn, dir dissect.Dir, p *Packet) {
	if c.writers == nil {
		if p.OwnerRank == 0 {
			return
		}
		c.writers = &[2]writers{}
		s.take(c, writersCost)
	}
	w := &c.writers[dir]
	if p.Direction != decode.DirOut || p.PayloadLen <= 0 || p.OwnerRank == 0 && !w.any {
		return
	}
	x := written{p.No, p.Owner, p.Wrote}
	if p.OwnerRank == 0 {
		x.owner = 0
	}
	if c.transport == dissect.TCP {
		if w.any && int32(p.Seq-w.next) < 0 {
			return // sent again
		}
		w.next = p.Seq + uint32(p.PayloadLen)
		x.from = int64(p.Seq)
	}
	switch {
	case !x.exact || w.sole == x.owner:
	case w.sole == 0:
		w.sole = x.owner
	default:
		w.sole = severalWriters
	}
	if !w.any {
		w.first, w.any = x, true
		return
	}
	last := w.first
	if n := len(w.list); n > 0 {
		last = w.list[n-1]
	}
	if last.owner == x.owner && last.exact == x.exact {
		return
	}
	switch len(w.list) {
	case 0:
		s.take(c, 2*writtenCost)
		w.first.from = x.from - 1<<30
		w.list = append(w.list, w.first, x)
	case maxWritten:
		copy(w.list, w.list[1:])
		w.list[maxWritten-1] = x
	default:
		s.take(c, writtenCost)
		w.list = append(w.list, x)
	}
}

// of returns the writer of a message. It is exact if the kernel named the writer of the packet in which the message
// begins, and no other writer of a later one.
func (w *writers) of(m *dissect.Span, tcp bool) Writer {
	if len(w.list) == 0 {
		return Writer{}
	}
	if !m.Seen {
		if w.sole == severalWriters {
			return Writer{w.list[len(w.list)-1].owner, true}
		}
		return Writer{}
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
	var other int32 // writer of what follows
	for i := len(w.list) - 1; i >= 0; i-- {
		x := &w.list[i]
		switch {
		case !behind(end, x.from):
		case behind(first, x.from) && x.exact && w.sole == x.owner:
			return Writer{} // the connection's
		case behind(first, x.from):
			return Writer{x.owner, !x.exact || other != 0 && other != x.owner}
		case x.exact && other != 0 && other != x.owner:
			other = -1 // two others
		case x.exact:
			other = x.owner
		}
	}
	return Writer{w.list[0].owner, true} // earlier than the oldest known one
}
