package recorder

import "net/netip"

// homes are the addresses that pods of this machine were seen to have. A pod talks before
// Kubernetes has told of its address, and what it says to a service reaches the other
// socket under other addresses, so neither the source nor conversations tell whose it is.
type homes map[netip.Addr]home

type home struct {
	face *face // nil: processes of the machine itself have it, and pods in its network
	at   int64
}

const (
	maxHomes  = 16384
	homeStays = 60e9 // ns after which an address that nobody uses is nobody's
	homeAgain = 1e9  // ns after which it is noted again
)

// saw notes that a socket of x has an address.
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

// of is the interface of the pod that has an address, nil where none is known.
func (h homes) of(a netip.Addr, at int64) *face {
	if x, ok := h[a]; ok && x.fresh(at) {
		return x.face
	}
	return nil
}
