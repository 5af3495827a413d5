package proof

import (
	"net/netip"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// socketViews finds connections with addresses that are translated behind a socket of the
// recorded machine, as by a sidecar's redirection, a service address or masquerading: the
// packets that leave the socket have other ends than the socket, and the recorder reports both.
// No packet can forge that.
//
// The program dialled the ends of its socket, so these are the conversation's ends. A server
// behind a translator has other ends than its client dialled. Its packets are first seen coming
// in, under ends that the client's socket has already explained; if the client is on another
// machine, these ends count as the dialled ones.
type socketViews struct {
	known recent[place, socketView] // by other ends
	views *views                    // from handshakes
	pairs *pairs                    // from payload
}

type socketView struct {
	view   *flow.View
	cookie uint64   // of the socket with packets that leave under these ends
	from   flow.End // the source of these packets
}

// memory is the views' memory in bytes.
func (v *socketViews) memory() int { return v.known.memory(int(unsafe.Sizeof(flow.View{}))) }

// see replaces the ends in the packet with the dialled ones. s holds the ends of its socket, nil
// if they are the same.
func (v *socketViews) see(fr *decode.Frame, f *flow.Packet, namespace uint64, s *pcapng.Socket) {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	at := place{tupleOf(src, dst), f.Network}
	known := v.known.m[at]
	view := known.view
	if own := s.Ends; own != nil && possible(own, f.Version == 4) {
		local, remote := endOf(own.Local), endOf(own.Remote)
		fr.Src, fr.Dst = local.Addr, remote.Addr
		of := place{tupleOf(local, remote), fr.Network(namespace)}
		fr.Src, fr.Dst = src.Addr, dst.Addr
		view = v.learn(at, of, [2]flow.End{src, dst}, [2]flow.End{local, remote}, f, s.Cookie)
	} else if view != nil && f.Direction == decode.DirOut && src == known.from && s.Cookie != known.cookie {
		delete(v.known.m, at) // another socket has the ports now
		return
	}
	if view == nil {
		return
	}
	f.See(view)
	fr.Src, fr.Dst, fr.SrcPort, fr.DstPort = f.Src, f.Dst, f.SrcPort, f.DstPort
}

// learn records that a packet with the ends shown left a socket with the ends own.
func (v *socketViews) learn(at, of place, shown, own [2]flow.End, f *flow.Packet, cookie uint64) *flow.View {
	dialled, network := own, of.network
	if x := v.known.m[of].view; x != nil { // it is a server's socket, which its client explained
		dialled, network = x.Dialled, x.Network
		if own[0] != x.Seen[0] {
			dialled = [2]flow.End{dialled[1], dialled[0]}
		}
	} else if x := v.shown(of, at); x != nil {
		v.known.put(of, socketView{x, cookie, own[0]}, v.views.limit.Scale(maxViews))
		return nil
	}
	if tupleOf(dialled[0], dialled[1]) == at.tuple {
		delete(v.known.m, at)
		return nil
	}
	if x := v.known.m[at].view; x != nil && tupleOf(x.Dialled[0], x.Dialled[1]) == tupleOf(dialled[0], dialled[1]) {
		return x
	}
	from := shown[0]
	// A translator changes the destination of a client's packets, and the source of a server's.
	if f.TCPFlags&(decode.SYN|decode.ACK) != decode.SYN && shown[0] != own[0] && shown[1] == own[1] {
		dialled, shown = [2]flow.End{dialled[1], dialled[0]}, [2]flow.End{shown[1], shown[0]}
	}
	view := &flow.View{Dialled: dialled, Seen: shown, Network: network, By: flow.BySocket}
	v.known.put(at, socketView{view, cookie, from}, v.views.limit.Scale(maxViews))
	return view
}

// shown returns the view of the conversation dialled at other ends, if handshakes or payload
// have shown it: the ends belong to a server that a client on the recorded machine dialled from
// another namespace.
func (v *socketViews) shown(of, dialled place) *flow.View {
	if x := v.views.known.m[of]; x != nil && tupleOf(x.view.Dialled[0], x.view.Dialled[1]) == dialled.tuple {
		return x.view
	}
	if t := v.pairs.talks.m[of]; t != nil && t.like != nil && t.like.of.at == dialled {
		if !t.like.proven {
			v.pairs.prove(t)
		}
		return t.like.view
	}
	return nil
}

// possible reports whether a socket with a packet's IP version can have such ends: no recorder
// writes others.
func possible(e *pcapng.SocketEnds, v4 bool) bool {
	for _, x := range []netip.AddrPort{e.Local, e.Remote} {
		if a := x.Addr().Unmap(); x.Port() == 0 || a.IsUnspecified() || a.Is4() != v4 {
			return false
		}
	}
	return e.Local != e.Remote
}

func endOf(a netip.AddrPort) flow.End {
	return flow.End{Addr: a.Addr().As16(), Port: a.Port()}
}
