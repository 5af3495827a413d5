package read

import (
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// place is a pair of ends in a network.
type place struct {
	tuple
	network uint64
}

// message is a payload that a conversation showed.
type message struct {
	hash  uint64
	at    int64
	no    int64
	iface int32
	dir   uint8

	of    *talk // that showed it first
	other *talk // that showed it last
	by    int   // conversations that have shown it
}

// talk is what two ends in one network say.
type talk struct {
	at      place
	hash    uint64   // of the ends, as shards are cut by it
	last    [2]int64 // 1 + number of the newest message of each direction
	copies  []*talk  // its views, and what may be one
	like    *like    // nil if it is no view
	syn     uint64   // hash of the SYN that began it, if it has no time stamp
	looked  uint8    // messages that were looked at
	tcp     bool
	swapped bool // direction 0 is from the second end of the tuple
}

// ends are who sends in direction 0 and the other.
func (t *talk) ends() [2]flow.End {
	if t.swapped {
		return [2]flow.End{t.at.tuple[1], t.at.tuple[0]}
	}
	return t.at.tuple
}

// like is what makes a conversation a view of another, or may make it one.
type like struct {
	of        *talk
	proven    bool
	follows   bool       // the last question was seen in both
	asked     [2]message // with which the wait began: as the original and as these ends showed it
	questions int        // that wait for an answer
	answers   []message
	awaited   []spot
	view      *flow.View
}

// spot is where a packet stands in a round that was not sent.
type spot struct {
	in *round.Round
	i  int32
}

// wait is that of a possible view since a message of it.
type wait struct {
	of    *talk
	since int64 // number of its packet
}

// over reports whether the wait has ended.
func (w wait) over() bool {
	return w.of.like == nil || w.of.like.proven || w.of.like.asked[1].no != w.since
}

// dialled begins a conversation anew if a SYN shows that its ports are used again.
func (t *talk) dialled(syn uint64, f *flow.Packet) {
	if t.syn == syn {
		return // sent again
	}
	t.leave()
	for _, c := range t.copies {
		c.like = nil
	}
	client := flow.End{Addr: f.Src, Port: f.SrcPort}
	*t = talk{at: t.at, hash: t.hash, syn: syn, tcp: true, swapped: client != t.at.tuple[0]}
}
