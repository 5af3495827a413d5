package finding

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// Outside is the name of everything outside in a Pair.
const Outside = "outside"

// Allow is the list of allowed outside destinations, and of allowed connections between namespaces.
type Allow struct {
	Prefixes []netip.Prefix
	Domains  []string // example.org, or *.example.org for all subdomains
	Pairs    []Pair
}

// Pair allows connections from one namespace to another. A name is *, for every namespace, or Outside.
type Pair struct{ From, To string }

// Permits reports whether traffic to an outside address is allowed, by address or by any of its
// names.
func (a Allow) Permits(ip string, names []string) bool {
	if addr, err := netip.ParseAddr(ip); err == nil {
		for _, p := range a.Prefixes {
			if p.Contains(addr.Unmap()) || p.Contains(addr) {
				return true
			}
		}
	}
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		for _, d := range a.Domains {
			if name != "" && (name == d || strings.HasPrefix(d, "*.") && strings.HasSuffix(name, d[1:])) {
				return true
			}
		}
	}
	return false
}

// Connects reports whether connections from one namespace to another are allowed. Within one
// namespace they always are.
func (a Allow) Connects(from, to string) bool {
	return from == to || slices.ContainsFunc(a.Pairs, func(p Pair) bool {
		return (p.From == "*" && from != Outside || p.From == from) && (p.To == "*" && to != Outside || p.To == to)
	})
}

// Destinations reports whether the list has outside destinations.
func (a Allow) Destinations() bool { return len(a.Prefixes)+len(a.Domains) > 0 }

// Empty reports whether the list has no entries.
func (a Allow) Empty() bool { return !a.Destinations() && len(a.Pairs) == 0 }

// ParseAllow parses addresses, CIDR prefixes, domains and pairs of namespaces. Its error is an
// *ask.InputError.
func ParseAllow(list []string) (Allow, error) {
	var a Allow
	for _, s := range list {
		s = strings.ToLower(strings.TrimSpace(s))
		if from, to, ok := strings.Cut(s, "->"); ok {
			p := Pair{strings.TrimSpace(from), strings.TrimSpace(to)}
			if !namespace(p.From) || !namespace(p.To) {
				return a, ask.Wrong("allow", "a pair of namespaces must be such as shop->payments, *->monitoring or outside->shop, not %q", ask.Clip(s, 60))
			}
			a.Pairs = append(a.Pairs, p)
		} else if p, err := netip.ParsePrefix(s); err == nil {
			a.Prefixes = append(a.Prefixes, p.Masked())
		} else if ip, err := netip.ParseAddr(s); err == nil {
			a.Prefixes = append(a.Prefixes, netip.PrefixFrom(ip, ip.BitLen()))
		} else if domain(strings.TrimPrefix(s, "*.")) {
			a.Domains = append(a.Domains, s)
		} else {
			return a, ask.Malformed("allow", "an address, a prefix such as 203.0.113.0/24, a domain such as *.example.org, or a pair of namespaces such as shop->payments", s)
		}
	}
	return a, nil
}

func domain(s string) bool {
	return s != "" && len(s) <= 253 && !strings.HasPrefix(s, ".") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// namespace reports whether s is the name of a namespace (RFC 1123 label), or *.
func namespace(s string) bool {
	return s == "*" || s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && strings.Trim(s, "-") == s
}
