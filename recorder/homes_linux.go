package recorder

import "net/netip"

// podAddrs are the addresses at which pods of this machine were seen. A pod sends packets
// before Kubernetes reports its address, and what it sends to a service arrives at the other
// socket under other addresses, so neither source nor conversation identifies the pod.
type podAddrs map[netip.Addr]podAddr

type podAddr struct {
	iface *iface // nil: used by processes of the machine itself and by pods in its network
	at    int64
}

const (
	maxPodAddrs    = 16384
	podAddrTTL     = 60e9 // ns after which an unused address is free again
	podAddrRefresh = 1e9  // ns after which it is recorded again
)

// note records that a socket of x has an address.
func (h podAddrs) note(a netip.Addr, x *iface, at int64) {
	if x.group.ID == 0 || x.group.Path == "" || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return
	}
	known, ok := h[a]
	if !ok && len(h) >= maxPodAddrs {
		clear(h)
	}
	switch fresh := ok && known.fresh(at); {
	case x.group.Pod == "":
		x = nil
	case fresh && known.iface == nil:
		return // a pod in the machine's own network
	}
	if !ok || known.iface != x || at-known.at > podAddrRefresh || at < known.at {
		h[a] = podAddr{x, at}
	}
}

func (x podAddr) fresh(at int64) bool { return at-x.at < podAddrTTL && at > x.at-podAddrTTL }

// of returns the interface of the pod that has an address, or nil if none is known.
func (h podAddrs) of(a netip.Addr, at int64) *iface {
	if x, ok := h[a]; ok && x.fresh(at) {
		return x.iface
	}
	return nil
}
