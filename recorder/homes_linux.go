package recorder

import "net/netip"

// homes are the addresses at which pods of this machine were seen. A pod sends packets
// before Kubernetes reports its address, and what it sends to a service arrives at the other
// socket under other addresses, so neither source nor conversation identifies the pod.
type homes map[netip.Addr]home

type home struct {
	face *face // nil: used by processes of the machine itself and by pods in its network
	at   int64
}

const (
	maxHomes  = 16384
	homeStays = 60e9 // ns after which an unused address is free again
	homeAgain = 1e9  // ns after which it is recorded again
)

// saw records that a socket of x has an address.
func (h homes) saw(a netip.Addr, x *face, at int64) {
	if x.group.ID == 0 || x.group.Path == "" || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return
	}
	known, ok := h[a]
	if !ok && len(h) >= maxHomes {
		clear(h)
	}
	switch fresh := ok && known.fresh(at); {
	case x.group.Pod == "":
		x = nil
	case fresh && known.face == nil:
		return // a pod in the machine's own network
	}
	if !ok || known.face != x || at-known.at > homeAgain || at < known.at {
		h[a] = home{x, at}
	}
}

func (x home) fresh(at int64) bool { return at-x.at < homeStays && at > x.at-homeStays }

// of returns the interface of the pod that has an address, or nil if none is known.
func (h homes) of(a netip.Addr, at int64) *face {
	if x, ok := h[a]; ok && x.fresh(at) {
		return x.face
	}
	return nil
}
