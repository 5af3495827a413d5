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
// stamp, window and options within a second, and before the first one is answered, is the
// same SYN. Both numbers are random to an onlooker, so two connections do not meet in
// them; a SYN without a time stamp is never matched, since scanners send the same numbers
// to many ports, and one that was answered is not, since replayed captures repeat them.
//
// LIMIT: conversations whose SYN was not captured, and UDP, are not paired; nor are two
// files whose clocks differ by more than the connection took to be answered.
type views struct {
	syns    map[synKey]synSeen
	open    map[tuple]synKey // SYNs not yet answered, by their ends
	synRing []synKey
	synAt   int
	known   recent[tuple, *flow.View] // by the ends in a fixed order
}

type synKey struct {
	seq, tsval  uint32
	window, mss uint16
	wscale      int8
}

type synSeen struct {
	client, server flow.End
	at             int64
}

type tuple [2]flow.End

// tupleOf orders two ends.
func tupleOf(a, b flow.End) tuple {
	if b.Before(a) {
		a, b = b, a
	}
	return tuple{a, b}
}

// find answers the view through which a TCP packet is seen, nil where its addresses are
// the ones that its connection was dialled with.
func (v *views) find(f *decode.Frame, at int64) *flow.View {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	if f.Flags&(decode.SYN|decode.ACK) == decode.SYN|decode.ACK && len(v.open) > 0 {
		v.answered(tupleOf(src, dst))
	}
	if f.Flags&(decode.SYN|decode.ACK|decode.RST|decode.FIN) == decode.SYN {
		return v.syn(f, src, dst, at)
	}
	if len(v.known.m) == 0 {
		return nil
	}
	return v.known.m[tupleOf(src, dst)]
}

func (v *views) syn(f *decode.Frame, src, dst flow.End, at int64) *flow.View {
	t := tupleOf(src, dst)
	if !f.HasTS {
		delete(v.known.m, t)
		return nil
	}
	k := synKey{f.Seq, f.TSVal, f.Window, f.MSS, f.WScale}
	first, ok := v.syns[k]
	if !ok || at-first.at > synSlack || first.at-at > synSlack {
		v.remember(k, synSeen{src, dst, at})
		delete(v.known.m, t) // the ports are used for another connection now
		return nil
	}
	if tupleOf(first.client, first.server) == t {
		return nil
	}
	if old := v.known.m[t]; old != nil && old.Dialled == [2]flow.End{first.client, first.server} {
		return old
	}
	view := &flow.View{Dialled: [2]flow.End{first.client, first.server}, Seen: [2]flow.End{src, dst}}
	v.add(t, view)
	return view
}

func (v *views) remember(k synKey, s synSeen) {
	if v.syns == nil {
		v.syns, v.open = map[synKey]synSeen{}, map[tuple]synKey{}
	}
	if len(v.synRing) < maxSYNs {
		v.synRing = append(v.synRing, k)
	} else {
		old := v.syns[v.synRing[v.synAt]]
		delete(v.open, tupleOf(old.client, old.server))
		delete(v.syns, v.synRing[v.synAt])
		v.synRing[v.synAt] = k
		v.synAt = (v.synAt + 1) % maxSYNs
	}
	v.syns[k] = s
	v.open[tupleOf(s.client, s.server)] = k
}

// answered ends the time in which a SYN's other views are looked for.
func (v *views) answered(t tuple) {
	if k, ok := v.open[t]; ok {
		delete(v.open, t)
		delete(v.syns, k)
	}
}

func (v *views) add(t tuple, view *flow.View) { v.known.put(t, view, maxViews) }

// dial puts the addresses that the connection was dialled with in the place of those
// that the packet shows.
func dial(f *decode.Frame, v *flow.View) {
	client, server := v.Dialled[0], v.Dialled[1]
	if (flow.End{Addr: f.Src, Port: f.SrcPort}) == v.Seen[0] {
		f.Src, f.SrcPort, f.Dst, f.DstPort = client.Addr, client.Port, server.Addr, server.Port
	} else {
		f.Src, f.SrcPort, f.Dst, f.DstPort = server.Addr, server.Port, client.Addr, client.Port
	}
}
