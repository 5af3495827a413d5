package proof

import (
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// place is a pair of ends in a network.
type place struct {
	tuple
	network uint64
}

// message is a payload seen in a conversation.
type message struct {
	hash  uint64
	at    int64
	no    int64
	iface int32
	clock int32
	dir   uint8
	syn   bool
	drawn bool // a SYN-ACK with numbers that both sides drew at random (RFC 9293 section 3.4.1)

	of    *talk // the conversation that showed it first
	other *talk // the conversation that showed it last
	by    int   // conversations that have shown it
}

// talk is a conversation of two ends in one network.
type talk struct {
	at       place
	hash     uint64   // of the ends; it selects the shard
	last     [2]int64 // 1 + number of the newest message of each direction
	copies   []*talk  // its views, and possible ones
	like     *like    // nil if it is not a view
	shook    *talk    // has shown the same SYN-ACK, with random numbers
	syn      uint64   // hash of its first SYN
	isn      uint32   // number of that
	repeated *message // its SYN, if another conversation has shown that
	looked   uint8    // messages already examined, up to the limit
	since    int64    // time of the first of them
	was      *talk    // on the same ends before its SYN, while nothing has answered that
	stays    bool     // it is not a view, and will not be one
	tcp      bool
	swapped  bool // direction 0 is from the second end of the tuple
}

// ends are the sender of direction 0 and the other side.
func (t *talk) ends() [2]flow.End {
	if t.swapped {
		return [2]flow.End{t.at.tuple[1], t.at.tuple[0]}
	}
	return t.at.tuple
}

// mayView reports whether a conversation may become a view of another one, for which it makes room.
func (t *talk) mayView(x *talk) bool {
	return x.like == nil && len(t.copies) == 0 && x.tcp == t.tcp && x.room()
}

// room makes room for another view. A translator that forgot a conversation gives it a new view, so
// the proven one that was silent longest goes, unless it waits for an answer.
func (t *talk) room() bool {
	if len(t.copies) < maxCopies {
		return true
	}
	var oldest *talk
	for _, c := range t.copies {
		if asked := c.like.asked[0].dir; c.like.proven && c.last[1-asked] > c.last[asked] && (oldest == nil || c.last[1-asked] < oldest.last[1-asked]) {
			oldest = c
		}
	}
	if oldest != nil {
		oldest.leave()
	}
	return oldest != nil
}

// like makes a conversation a view of another, or a possible one.
type like struct {
	of        *talk
	proven    bool
	follows   bool       // both have shown the last question
	equal     bool       // both have shown the same answer
	late      bool       // the original had an answer before these ends showed the question
	asked     [2]message // the messages that started the wait: in the original and under these ends
	questions int        // questions without an answer
	answers   []message
	acks      []message // of the side that was asked, without payload
	awaited   []spot
	view      *flow.View
}

// spot is the position of a packet in an unsent round.
type spot struct {
	in *round.Round
	i  int32
}

// wait is the time of a possible view since one of its messages.
type wait struct {
	of    *talk
	since int64 // number of its packet
}

// over reports whether the wait has ended.
func (w wait) over() bool {
	return w.of.like == nil || w.of.like.proven || w.of.like.asked[1].no != w.since
}

// dialled returns the conversation of a SYN on the ends of t. One with another number than the first begins another
// conversation. What t showed before stays its own, because the SYN may be stray (RFC 5961 section 4).
func (t *talk) dialled(syn uint64, f *flow.Packet) *talk {
	if t.syn == syn {
		return t // a retransmission
	}
	t.leave()
	for _, c := range t.copies {
		c.like = nil
	}
	client := flow.End{Addr: f.Src, Port: f.SrcPort}
	next := &talk{at: t.at, hash: t.hash, syn: syn, isn: f.Seq, tcp: true, swapped: client != t.at.tuple[0]}
	if t.syn == 0 { // its beginning was not captured, or comes late
		*t = *next
		return t
	}
	t.copies, t.was, next.was = nil, nil, t
	return next
}

// answered notes that the SYN of a conversation was not stray.
func (t *talk) answered(f *flow.Packet) {
	if t.was != nil && (&redial{from: t.ends()[0], seq: t.isn}).answered(f) {
		t.was = nil
	}
}

// said reports whether the conversation has shown a message, or would have without a stray SYN.
func (t *talk) said(m *message, dir uint8) bool {
	return m.of == t && m.dir == dir || m.of.was == t && (m.dir == dir) == (m.of.swapped == t.swapped)
}
