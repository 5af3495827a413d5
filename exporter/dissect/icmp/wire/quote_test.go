package wire

import (
	"encoding/hex"
	"strings"
	"testing"
)

// TestQuoteOfARoute: the destination of a quoted packet is the end of its route, as for the packet itself.
func TestQuoteOfARoute(t *testing.T) {
	const fixed, first, last = "6000000000002b40" + "fd000000000000000000000000000001" + "fd000000000000000000000000000002", "fd000000000000000000000000000003", "fd000000000000000000000000000004"
	const ports = "3039003500080000"
	for name, c := range map[string]struct{ header, want string }{
		"type 0":                 {"1104000200000000" + first + last + ports, "fd00::4"},
		"mobile IPv6":            {"1102020100000000" + first + ports, "fd00::3"},
		"segment routing":        {"1104040101000000" + last + first + ports, "fd00::4"},
		"at its end":             {"1104040001000000" + last + first + ports, "fd00::2"},
		"cut within the route":   {"1104040101000000" + last, "fd00::2"},
		"a route without places": {"1100000100000000" + ports, "fd00::2"},
	} {
		b, err := hex.DecodeString(fixed + c.header)
		if err != nil {
			t.Fatal(err)
		}
		q, ok := QuoteOf(b)
		if !ok || q.Dst.String() != c.want {
			t.Errorf("%s: destination %s, want %s", name, q.Dst, c.want)
		}
		if src, dst, ok := q.Ports(); ok == strings.HasPrefix(name, "cut") || ok && (src != 12345 || dst != 53) {
			t.Errorf("%s: ports %d and %d, %v", name, src, dst, ok)
		}
	}
}
