package servicemap

import (
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// allowList is an allow-list.
type allowList struct {
	ranges     []netip.Prefix
	names      []string // exact, lower case
	suffixes   []string // ".example.com"
	namespaces []string
}

// readAllow reads an allow-list; nil where there is none.
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
			return nil, ask.Wrong("allow", "%q, want an address, a range, a domain, *.domain or namespace:NAME", item)
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

func prefixes(field string, list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := prefix(strings.TrimSpace(s))
		if err != nil {
			return nil, ask.Wrong(field, "%q, want an address or a range such as 203.0.113.0/24", s)
		}
		out = append(out, p)
	}
	return out, nil
}

// allIn says that every address lies in one of the ranges.
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

// holds says that a client may call a destination: by its namespace, by the name that was
// asked for or that DNS gave, or because all addresses are allowed. A name in a Host
// header is what the client says: an address that is allowed by name only may still be
// another's, which name_from shows.
func (a *allowList) holds(r *externalRow) bool {
	for _, ns := range a.namespaces {
		if strings.EqualFold(ns, r.Namespace) {
			return true
		}
	}
	name := strings.ToLower(strings.TrimSuffix(r.Name, "."))
	for _, n := range a.names {
		if n == name {
			return true
		}
	}
	for _, s := range a.suffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return len(r.Addresses) > 0 && len(a.ranges) > 0 && allIn(r.Addresses, a.ranges)
}
