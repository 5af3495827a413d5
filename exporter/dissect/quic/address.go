package quic

import (
	"net/netip"

	"github.com/pcapsule/pcapsule/exporter/cursor"
)

// preferred renders preferred_address: its addresses, one of which may be absent.
func preferred(b []byte) string {
	c := cursor.New(b)
	four, port4 := c.Bytes(4), c.Uint16()
	six, port6 := c.Bytes(16), c.Uint16()
	if c.Short() {
		return ""
	}
	s := ""
	if a := netip.AddrFrom4([4]byte(four)); !a.IsUnspecified() || port4 != 0 {
		s = netip.AddrPortFrom(a, port4).String()
	}
	if a := netip.AddrFrom16([16]byte(six)); !a.IsUnspecified() || port6 != 0 {
		if s != "" {
			s += ","
		}
		s += netip.AddrPortFrom(a, port6).String()
	}
	return s
}

// preferredID is the connection id in preferred_address and its reset token.
func preferredID(b []byte) (id, token []byte) {
	c := cursor.New(b)
	c.Skip(4 + 2 + 16 + 2)
	n := c.Uint8()
	id, token = c.Bytes(int(n)), c.Bytes(16)
	if c.Short() || n == 0 || n > maxID {
		return nil, nil
	}
	return id, token
}
