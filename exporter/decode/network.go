package decode

import "encoding/binary"

// Network identifies a virtual network: it is a hash of the VLAN ids, MPLS labels and tunnels
// around the packet, and 0 if there are none. Equal addresses in different networks may be
// different machines. namespace is the captured network namespace, 0 if unknown. It only
// separates addresses with a different meaning in each namespace, because a packet between two
// pods shows in the namespaces of both.
//
// The order of a tunnel's ends does not matter, so both directions are one network. An id that
// one end assigns for its received packets (GTP-U, L2TP) counts with that end; each direction
// then has its own network, as with MPLS.
func (f *Frame) Network(namespace uint64) uint64 {
	var h uint64
	for _, v := range f.VLANs[:f.NVLANs] {
		if v != 0 { // 0 is a priority, not a network: IEEE 802.1Q 9.6
			h = mix(h ^ (uint64(v)+1)*hashA)
		}
	}
	for _, l := range f.Labels[:f.NLabels] {
		h = mix(h ^ (uint64(l)+1)*hashB)
	}
	for i := range f.Tunnels[:f.NTunnels] {
		t := &f.Tunnels[i]
		h = mix(h ^ uint64(t.Kind)<<48 ^ uint64(t.VLAN)<<32 ^ uint64(t.ID))
		switch t.Kind {
		case TunnelGTPU, TunnelL2TP:
			h = mix(h ^ endHash(&t.Dst, 0))
		default:
			h = mix(h ^ (endHash(&t.Src, 0) + endHash(&t.Dst, 0)))
		}
	}
	if namespace != 0 && (f.Src.local() || f.Dst.local()) {
		h = mix(h ^ mix(namespace))
	}
	return h
}

// local reports whether the address is a loopback or link-local one, which every machine and
// every network namespace has (RFC 6890).
func (a *Addr) local() bool {
	if a.Is4() {
		return a[12] == 127 || a[12] == 169 && a[13] == 254
	}
	if a[0] == 0xfe && a[1]&0xc0 == 0x80 {
		return true
	}
	return binary.BigEndian.Uint64(a[:8]) == 0 && binary.BigEndian.Uint64(a[8:]) == 1
}
