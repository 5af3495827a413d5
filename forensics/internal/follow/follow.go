// Package follow puts the bytes of a flow in order: those of TCP by sequence numbers, with gaps for
// missing bytes, and those of datagrams in the order of the capture.
package follow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
)

const maxWaiting = 4 << 20 // bytes of one direction that wait for missing bytes before them

// Stream is the data that the two sides of a connection sent, by time.
type Stream struct {
	Pieces    []Piece
	Bytes     int64 // of all pieces
	Gaps      int64 // bytes that the capture lacks
	Truncated bool  // there is more
}

// Piece is data that one side sent without interruption by the other, after an optional gap.
type Piece struct {
	FromServer bool
	TsNs       int64  // of its first packet
	PacketNo   int64  // its first packet
	Cited      string // file and frame of its first packet
	Data       []byte
	Gap        int64 // bytes missing before Data
}

// Follower reassembles a connection.
type Follower struct {
	TCP  bool
	Most int // bytes of both directions
	Out  Stream

	sides [2]side
}

// side is one direction of a TCP connection.
type side struct {
	begun   bool
	next    uint32 // sequence number of the next byte
	acked   uint32 // acknowledged by the other side
	ackSeen bool
	waiting []segment // segments after a gap, by sequence number
	held    int
}

type segment struct {
	seq  uint32
	data []byte
	lost int // bytes cut by the snap length
	no   int64
	time int64
}

// Packet adds a packet of one side.
func (f *Follower) Packet(p *decode.Frame, fromServer bool, no, time int64) {
	if !f.TCP {
		if lost := p.PayloadLen - len(p.Payload); len(p.Payload) > 0 || lost > 0 {
			f.emit(fromServer, no, time, 0, p.Payload)
			f.gap(fromServer, no, time, lost)
		}
		return
	}
	if !p.L4 {
		return
	}
	s, other := &f.sides[index(fromServer)], &f.sides[index(!fromServer)]
	if p.Flags&decode.ACK != 0 {
		if !other.ackSeen || int32(p.Ack-other.acked) > 0 {
			other.acked, other.ackSeen = p.Ack, true
		}
		f.release(other, !fromServer)
	}
	seq := p.Seq
	if p.Flags&decode.SYN != 0 {
		seq++
		if !s.begun {
			s.begun, s.next = true, seq
		}
	}
	if len(p.Payload) == 0 && p.PayloadLen == 0 {
		return
	}
	if !s.begun {
		s.begun, s.next = true, seq
	}
	f.segment(s, fromServer, segment{seq: seq, data: p.Payload, lost: max(0, p.PayloadLen-len(p.Payload)), no: no, time: time})
}

func index(fromServer bool) int {
	if fromServer {
		return 1
	}
	return 0
}

// segment processes one segment, or queues it until the missing bytes before it arrive.
func (f *Follower) segment(s *side, fromServer bool, g segment) {
	if int32(g.seq-s.next) <= 0 {
		f.add(s, fromServer, g)
		f.release(s, fromServer)
		return
	}
	g.data = append([]byte(nil), g.data...) // the buffer of the packet is reused
	at := len(s.waiting)
	for at > 0 && int32(g.seq-s.waiting[at-1].seq) < 0 {
		at--
	}
	s.waiting = append(s.waiting, segment{})
	copy(s.waiting[at+1:], s.waiting[at:])
	s.waiting[at] = g
	s.held += len(g.data) + 64
	for s.held > maxWaiting {
		f.jump(s, fromServer)
	}
	f.release(s, fromServer)
}

// add emits the new bytes of a segment that begins at or before the next byte.
func (f *Follower) add(s *side, fromServer bool, g segment) {
	old := int(int32(s.next - g.seq))
	if old >= len(g.data)+g.lost {
		return
	}
	if old < len(g.data) {
		f.emit(fromServer, g.no, g.time, 0, g.data[old:])
	}
	if lost := g.lost - max(0, old-len(g.data)); lost > 0 {
		f.gap(fromServer, g.no, g.time, lost)
	}
	s.next = g.seq + uint32(len(g.data)+g.lost)
}

// release processes queued segments that are now in order. Bytes that the other side acknowledged
// but the capture lacks are a gap.
func (f *Follower) release(s *side, fromServer bool) {
	for len(s.waiting) > 0 {
		g := s.waiting[0]
		missing := int32(g.seq - s.next)
		if missing > 0 && !(s.ackSeen && int32(s.acked-g.seq) >= 0) {
			return
		}
		f.jump(s, fromServer)
	}
}

// jump records a gap up to the first queued segment.
func (f *Follower) jump(s *side, fromServer bool) {
	g := s.waiting[0]
	s.waiting = s.waiting[1:]
	s.held -= len(g.data) + 64
	if missing := int32(g.seq - s.next); missing > 0 {
		f.gap(fromServer, g.no, g.time, int(missing))
		s.next = g.seq
	}
	f.add(s, fromServer, g)
}

// Finish emits all queued segments.
func (f *Follower) Finish() {
	for i := range f.sides {
		for len(f.sides[i].waiting) > 0 && !f.Out.Truncated {
			f.jump(&f.sides[i], i == 1)
		}
	}
}

func (f *Follower) gap(fromServer bool, no, time int64, n int) {
	if n > 0 {
		f.Out.Gaps += int64(n)
		f.emit(fromServer, no, time, int64(n), nil)
	}
}

// emit appends to the last piece if the same side continues without a gap. Datagrams stay separate.
func (f *Follower) emit(fromServer bool, no, time int64, gap int64, data []byte) {
	if left := f.Most - int(f.Out.Bytes); len(data) > left {
		data, f.Out.Truncated = data[:left], true
	}
	f.Out.Bytes += int64(len(data))
	if n := len(f.Out.Pieces); f.TCP && n > 0 && gap == 0 && f.Out.Pieces[n-1].FromServer == fromServer {
		f.Out.Pieces[n-1].Data = append(f.Out.Pieces[n-1].Data, data...)
		return
	}
	f.Out.Pieces = append(f.Out.Pieces, Piece{FromServer: fromServer, TsNs: time, PacketNo: no, Gap: gap, Data: append([]byte(nil), data...)})
}
