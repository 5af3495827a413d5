package workload

import (
	"net/netip"
	"slices"
)

// Ranges are the addresses of the cluster, sorted, without duplicates.
type Ranges struct {
	Pods     []netip.Prefix // spec.podCIDRs of nodes, and addresses of pods outside them
	Services []netip.Prefix // ServiceCIDR objects, and addresses of services outside them
	Nodes    []netip.Prefix // addresses of nodes
}

// Ranges returns the known ranges of the cluster. The result is shared and read only.
func (x *Index) Ranges() Ranges { return x.current().ranges }

var neverExternal = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),          // this network, RFC 1122
	netip.MustParsePrefix("100.64.0.0/10"),      // carrier NAT, RFC 6598
	netip.MustParsePrefix("255.255.255.255/32"), // broadcast
}

// External reports whether an address is outside the cluster and public: not private
// (RFC 1918, RFC 4193), link-local, loopback, multicast, broadcast, carrier NAT or
// unspecified, and neither in a range nor an address of the cluster.
func (x *Index) External(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() ||
		addr.IsMulticast() || addr.IsUnspecified() {
		return false
	}
	for _, p := range neverExternal {
		if p.Contains(addr) {
			return false
		}
	}
	return !x.current().contains(addr)
}

// contains reports whether a range or an object of the cluster has the address.
func (v *view) contains(addr netip.Addr) bool {
	if h := v.addrs[addr]; h != nil && len(h.pods)+len(h.services)+len(h.nodes) > 0 {
		return true
	}
	for _, bits := range v.insideBits {
		if p, err := addr.Prefix(bits); err == nil {
			if _, ok := v.inside[p]; ok {
				return true
			}
		}
	}
	return false
}

func (b *builder) addRanges() {
	r := &b.v.ranges
	for _, n := range b.x.nodes {
		r.Pods = append(r.Pods, n.cidrs...)
	}
	for _, c := range b.x.cidrs {
		r.Services = append(r.Services, c.prefixes...)
	}
	for _, list := range [][]netip.Prefix{r.Pods, r.Services} {
		for _, p := range list {
			b.v.inside[p] = struct{}{}
			b.v.insideBits = append(b.v.insideBits, p.Bits())
		}
	}
	slices.Sort(b.v.insideBits)
	b.v.insideBits = slices.Compact(b.v.insideBits)
	ranges := map[netip.Prefix]struct{}{}
	for p := range b.v.inside {
		ranges[p] = struct{}{}
	}
	covered := func(a netip.Addr) bool {
		for _, bits := range b.v.insideBits {
			if p, err := a.Prefix(bits); err == nil {
				if _, ok := ranges[p]; ok {
					return true
				}
			}
		}
		return false
	}
	for a, h := range b.v.addrs {
		whole := netip.PrefixFrom(a, a.BitLen())
		if len(h.nodes) > 0 {
			r.Nodes = append(r.Nodes, whole)
			continue
		}
		if covered(a) {
			continue
		}
		if len(h.pods) > 0 {
			r.Pods = append(r.Pods, whole)
		} else if len(h.services) > 0 {
			r.Services = append(r.Services, whole)
		}
	}
	for _, list := range []*[]netip.Prefix{&r.Pods, &r.Services, &r.Nodes} {
		slices.SortFunc(*list, comparePrefix)
		*list = slices.Compact(*list)
	}
}
