package read

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// oneWay finds interfaces that show one direction only of all conversations, such as a mirror of what a port receives. An
// acknowledgment is the proof: what it acknowledges was sent, but not captured.
//
// LIMIT: if some conversations of an interface have both directions, those that lack one count as not answered, except
// TCP connections.
type oneWay struct {
	first   [1024]firstSeen // by hash: conversations of which one direction was seen so far
	now     []int32         // interfaces, ascending; replaced, never changed
	changed bool
}

// firstSeen is a conversation's first packet on interfaces that showed no other direction.
type firstSeen struct {
	hash  uint64
	src   flow.End
	iface int32
	used  bool
}

// see processes a packet of a conversation.
func (w *oneWay) see(links []link, fr *decode.Frame, f *flow.Packet) {
	l := &links[f.Interface]
	if l.bothWays {
		return
	}
	if !l.acks && f.Proto == 6 && f.TCPFlags&(decode.ACK|decode.RST) == decode.ACK {
		l.acks, w.changed = true, true
	}
	hash, src := fr.FlowHash(), flow.End{Addr: f.Src, Port: f.SrcPort}
	x := &w.first[hash%uint64(len(w.first))]
	if !x.used || x.hash != hash {
		*x = firstSeen{hash, src, f.Interface, true}
	} else if x.src != src {
		l.bothWays, links[x.iface].bothWays, w.changed = true, true, true
	}
}

// interfaces are those that show one direction only.
func (w *oneWay) interfaces(links []link) []int32 {
	if w.changed {
		w.now, w.changed = nil, false
		for i := range links {
			if l := &links[i]; l.acks && !l.bothWays {
				w.now = append(w.now, int32(i))
			}
		}
	}
	return w.now
}
