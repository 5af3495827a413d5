package servicemap

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// allowList is a parsed allow-list of destinations.
type allowList struct {
	ranges     []netip.Prefix
	names      []string // exact, lower case
	suffixes   []string // ".example.com"
	namespaces []string
}

// readAllow parses an allow-list. It returns nil if the list is empty.
func readAllow(list []string) (*allowList, error) {
	if len(list) == 0 {
		return nil, nil
	}
	a := &allowList{}
	for _, item := range list {
		item = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(item), "."))
		ns, isNS := strings.CutPrefix(item, "namespace:")
		p, err := prefix(item)
		switch {
		case isNS && ns != "":
			a.namespaces = append(a.namespaces, ns)
		case err == nil:
			a.ranges = append(a.ranges, p)
		case strings.HasPrefix(item, "*.") && len(item) > 2:
			a.suffixes = append(a.suffixes, item[1:])
		case item == "" || strings.ContainsAny(item, "*/: "):
			return nil, ask.Malformed("allow", "an address, a range, a domain, *.domain or namespace:NAME", item)
		default:
			a.names = append(a.names, item)
		}
	}
	return a, nil
}

func prefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}

func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := prefix(strings.TrimSpace(s))
		if err != nil {
			return nil, ask.Malformed("inside", "an address or a range such as 203.0.113.0/24", s)
		}
		out = append(out, p)
	}
	return out, nil
}

// allIn reports whether every address is in one of the ranges.
func allIn(addresses []string, ranges []netip.Prefix) bool {
	for _, s := range addresses {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return false
		}
		found := false
		for _, p := range ranges {
			found = found || p.Contains(a.Unmap())
		}
		if !found {
			return false
		}
	}
	return true
}

// allows reports whether the list allows a client to call a destination: by the client's namespace,
// by the name that the client used or that DNS gave, or because all addresses are allowed. A client
// can write any name in a Host header, so an address that is allowed only by name may belong to
// someone else; name_from shows the source of the name.
func (a *allowList) allows(r *externalRow) bool {
	return a.allowsCall(r.Namespace, r.Name) || len(r.Addresses) > 0 && len(a.ranges) > 0 && allIn(r.Addresses, a.ranges)
}

// allowsCall reports whether the list allows all that a namespace calls, or the name of a destination.
func (a *allowList) allowsCall(namespace, name string) bool {
	return slices.ContainsFunc(a.namespaces, func(ns string) bool { return strings.EqualFold(ns, namespace) }) || a.allowsName(name)
}

// judged is the verdict about a destination, and the clients that are not allowed to reach it, after one more client.
func judged(ok bool, violators []string, client string) (allowed *bool, _ []string) {
	if !ok {
		violators = ask.AddName(violators, client)
	}
	return new(len(violators) == 0), violators
}

// rank orders what is not allowed before the rest.
func rank(allowed *bool) int {
	if allowed != nil && !*allowed {
		return 0
	}
	return 1
}

// allowsName reports whether the list allows a name.
func (a *allowList) allowsName(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return slices.Contains(a.names, name) || slices.ContainsFunc(a.suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}
