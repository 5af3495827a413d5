package proof

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
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
	data     [2]bool  // it is no SYN
	copies   []*talk  // its views, and possible ones
	like     *like    // nil if it is not a view
	shook    *talk    // has shown the same SYN-ACK, with random numbers
	syn      uint64   // hash of its first SYN
	isn      uint32   // number of that
	repeated *message // its SYN, if another conversation has shown that
	looked   uint8    // messages already examined, up to the limit
	since    int64    // time of the first of them
	next     *talk    // of a later SYN on the same ends, while nothing has answered that
	accepted bool     // its SYN-ACK was captured
	stays    bool     // it is not a view, and will not be one
	tcp      bool
	swapped  bool  // direction 0 is from the second end of the tuple
	first    uint8 // direction of its first message
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
	lapsed    bool       // its packets were sent on before a proof, which only counts for later questions
	bridged   bool       // answers are kept for the ends between two translations
	late      bool       // the original had an answer before these ends showed the question
	asked     [2]message // the messages that started the wait: in the original and under these ends
	questions int        // questions without an answer
	answers   []message
	between   *talk     // the view whose answers these ends repeat, see beginBetween; nil: they show questions too
	acks      []message // of the side that was asked, without payload
	awaited   []spot
	view      *flow.View
}

// spot is the position of a packet in an unsent round.
type spot struct {
	in *round.Round
	i  int32
}

func (s spot) packet() *flow.Packet { return &s.in.Packets[s.i] }

// wait is the time of a possible view since one of its messages.
type wait struct {
	of    *talk
	since int64 // number of its packet
}

// over reports whether the wait has ended.
func (w wait) over() bool {
	return w.of.like == nil || w.of.like.proven || w.of.like.asked[1].no != w.since
}

// newTalk makes the conversation of the packet that shows it first. A SYN-ACK has the number of its SYN (RFC 9293
// section 3.4), which may come later.
func newTalk(at place, hash uint64, f *flow.Packet) *talk {
	t := &talk{at: at, hash: hash, tcp: f.Proto == protoTCP, swapped: flow.End{Addr: f.Src, Port: f.SrcPort} != at.tuple[0]}
	if f.TCPFlags&(decode.SYN|decode.ACK) == decode.SYN|decode.ACK {
		t.isn = f.Ack - 1
	}
	return t
}

// dialled returns the conversation of a SYN on the ends of t. A SYN with another number may be stray (RFC 5961 section
// 4), so what else these ends show is in t until something answers it.
func (t *talk) dialled(syn uint64, f *flow.Packet) *talk {
	switch {
	case t.syn == syn: // a retransmission
		return t
	case t.next != nil && t.next.syn == syn:
		return t.next
	case t.syn == 0 && (t.last == [2]int64{} || t.isn == f.Seq):
		t.syn, t.isn = syn, f.Seq
		return t
	}
	t.forget()
	t.next = newTalk(t.at, t.hash, f)
	t.next.syn, t.next.isn = syn, f.Seq
	return t.next
}

// forget forgets a later SYN on the ends of t.
func (t *talk) forget() {
	if t.next != nil {
		t.next.end()
		t.next = nil
	}
}

// redialled reports whether a packet shows that the SYN of another conversation on the ends of t was not stray.
func (t *talk) redialled(f *flow.Packet) bool {
	return t.next != nil && (&redial{from: t.next.ends()[0], seq: t.next.isn}).answered(f)
}

// replaced ends a conversation, and returns the one that is on its ends now.
func (t *talk) replaced() *talk {
	next := t.next
	t.next = nil
	t.end()
	return next
}

// end removes the links of a conversation to its views, and to the conversation of which it may be a view.
func (t *talk) end() {
	t.leave()
	for _, c := range t.copies {
		c.like = nil
	}
	t.copies = nil
}

// unshaken reports whether the capture lacks the SYN or the SYN-ACK of a connection, so that an acknowledgement may be the
// only answer which two views have in common. One of a SYN-ACK proves no more than that.
func (t *talk) unshaken() bool {
	return t.tcp && (t.syn == 0 || !t.accepted) && (t.isn == 0 || t.looked > 1)
}

// turn counts the directions from the other end.
func (t *talk) turn() {
	t.swapped, t.first = !t.swapped, 1-t.first
	t.last[0], t.last[1] = t.last[1], t.last[0]
	t.data[0], t.data[1] = t.data[1], t.data[0]
}

// answers reports whether a message of a direction is one of the side that spoke second.
func (t *talk) answers(dir uint8) bool { return dir != t.first }

// said reports whether the conversation has shown a message.
func (t *talk) said(m *message, dir uint8) bool { return m.of == t && m.dir == dir }
