package httpfield

import "strings"

// SameAuthority reports whether two authorities name the same host and port. The scheme, if any, gives a port that one of
// them lacks; without a scheme a missing port is any port.
func SameAuthority(scheme, a, b string) bool {
	if scheme == "" {
		p, q := portOf(a), portOf(b)
		return strings.EqualFold(HostOf(a), HostOf(b)) && (p == q || p == "" || q == "")
	}
	return strings.EqualFold(Proxied(scheme, a).V, Proxied(scheme, b).V)
}

// portOf is the port of an authority, empty if it has none.
func portOf(authority string) string {
	rest := authority[strings.LastIndexByte(authority, '@')+1:]
	rest = rest[strings.LastIndexByte(rest, ']')+1:]
	_, port, _ := strings.Cut(rest, ":")
	if strings.Contains(port, ":") { // an IPv6 address without brackets
		return ""
	}
	return port
}

// OddHost says what of a Host or :authority value cannot be in a host and port (RFC 9110 section 7.2, RFC 3986 section
// 3.2), so that readers find other hosts in it. It is empty for a proper value.
func OddHost(value string) string {
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c <= ' ' || c == 0x7f:
			return "white space or a control character"
		case c == '@':
			return "user information"
		case c == '/' || c == '\\' || c == '?' || c == '#':
			return "a path, query or fragment"
		}
	}
	return ""
}
