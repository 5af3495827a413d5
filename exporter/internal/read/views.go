package read

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// Limits of the search for connections seen under other addresses.
const (
	maxSYNs  = 8192       // first packets remembered
	maxViews = 65_536     // translated conversations known at once
	synSlack = int64(1e9) // ns within which a translated SYN follows its original
)

// views finds connections that the capture shows under more than one pair of addresses,
// as on a node where a service's address is translated to a pod's. A translator rewrites
// addresses and ports and leaves the rest: a SYN with the same sequence number, time
// stamp, window and options within a second, and before the first one is answered, is
// probably the same SYN. A SYN without a time stamp is never matched, since scanners send
// the same numbers to many ports, and one that was answered is not, since replayed captures
// repeat them.
//
// Anyone who sees a SYN can send its copy elsewhere. So payload is taken for that of the
// first connection only after both SYN-ACKs had the same sequence number, which the server
// chose (RFC 9293 section 3.4.1); until then the two share handshakes, which carry nothing.
//
// LIMIT: conversations whose SYN was not captured, and UDP, are not paired; nor are two
// files whose clocks differ by more than the connection took to be answered.
type views struct {
	syns  recent[synKey, *dial] // not answered so far
	dials recent[tuple, *dial]  // by the ends that were dialled
	known recent[tuple, *seen]  // other ends
}

type synKey struct {
	seq, tsval  uint32
	window, mss uint16
	wscale      int8
}

// dial is a connection's first SYN.
type dial struct {
	client, server flow.End
	at             int64
	key            synKey
	answer         answer
}

// seen is a view of a connection.
type seen struct {
	view   *flow.View
	of     *dial
	answer answer
}

// answer is the sequence number of a SYN-ACK.
type answer struct {
	seq   uint32
	known bool
}

// proven reports whether the server's number is the same in both views.
func (s *seen) proven() bool { return s.answer.known && s.answer == s.of.answer }

type tuple [2]flow.End

// tupleOf orders two ends.
func tupleOf(a, b flow.End) tuple {
	if b.Before(a) {
		a, b = b, a
	}
	return tuple{a, b}
}

// find returns the view through which a TCP packet is seen, nil if its addresses are the
// ones that its connection was dialled with.
func (v *views) find(f *decode.Frame, at int64) *flow.View {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	switch f.Flags & (decode.SYN | decode.ACK | decode.RST | decode.FIN) {
	case decode.SYN:
		return v.syn(f, src, dst, at)
	case decode.SYN | decode.ACK:
		return v.answered(f, tupleOf(src, dst))
	}
	if len(v.known.m) == 0 {
		return nil
	}
	t := tupleOf(src, dst)
	s := v.known.m[t]
	switch {
	case s == nil:
		return nil
	case f.PayloadLen > 0 && !s.proven():
		delete(v.known.m, t)
		return nil
	}
	return s.view
}

func (v *views) syn(f *decode.Frame, src, dst flow.End, at int64) *flow.View {
	t := tupleOf(src, dst)
	if !f.HasTS {
		delete(v.known.m, t)
		return nil
	}
	k := synKey{f.Seq, f.TSVal, f.Window, f.MSS, f.WScale}
	first := v.syns.m[k]
	if first == nil || at-first.at > synSlack || first.at-at > synSlack {
		d := &dial{client: src, server: dst, at: at, key: k}
		v.syns.put(k, d, maxSYNs)
		v.dials.put(t, d, maxViews)
		delete(v.known.m, t) // the ports are used for another connection now
		return nil
	}
	if tupleOf(first.client, first.server) == t {
		return nil
	}
	if old := v.known.m[t]; old != nil && old.of == first {
		return old.view
	}
	s := &seen{of: first, view: &flow.View{Dialled: [2]flow.End{first.client, first.server}, Seen: [2]flow.End{src, dst}}}
	v.known.put(t, s, maxViews)
	return s.view
}

// answered takes a SYN-ACK: that of a first SYN ends the time in which its other views are
// looked for, and one with another number than in another view shows that they are two.
func (v *views) answered(f *decode.Frame, t tuple) *flow.View {
	ack := answer{f.Seq, true}
	if d := v.dials.m[t]; d != nil && f.Ack == d.key.seq+1 {
		if !d.answer.known {
			d.answer = ack
		}
		if v.syns.m[d.key] == d {
			delete(v.syns.m, d.key)
		}
	}
	s := v.known.m[t]
	if s == nil {
		return nil
	}
	if !s.answer.known {
		s.answer = ack
	}
	if s.of.answer.known && !s.proven() {
		delete(v.known.m, t)
		return nil
	}
	return s.view
}

// dialled puts the addresses that the connection was dialled with in the place of those
// that the packet shows.
func dialled(f *decode.Frame, v *flow.View) {
	client, server := v.Dialled[0], v.Dialled[1]
	if (flow.End{Addr: f.Src, Port: f.SrcPort}) == v.Seen[0] {
		f.Src, f.SrcPort, f.Dst, f.DstPort = client.Addr, client.Port, server.Addr, server.Port
	} else {
		f.Src, f.SrcPort, f.Dst, f.DstPort = server.Addr, server.Port, client.Addr, client.Port
	}
}
