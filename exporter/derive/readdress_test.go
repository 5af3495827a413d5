package derive

import "testing"

// TestHeaderAtFindsTheChecksum checks which checksum covers the addresses of a header.
func TestHeaderAtFindsTheChecksum(t *testing.T) {
	v6 := func(next byte, rest ...byte) []byte {
		return append(append([]byte{0x60, 0, 0, 0, 0, 0, next, 64}, make([]byte, 32)...), rest...)
	}
	v4 := make([]byte, 24, 44)
	v4[0], v4[9] = 0x46, 6 // with 4 bytes of options
	for _, c := range []struct {
		name string
		data []byte
		src  place
		want int
	}{
		{"TCP behind options of IPv4", append(v4, make([]byte, 20)...), place{12, 4}, 24 + 16},
		{"UDP over IPv6", v6(17, make([]byte, 8)...), place{8, 16}, 40 + 6},
		{"UDP behind a routing header", v6(43, append([]byte{17, 2}, make([]byte, 22+8)...)...), place{8, 16}, 64 + 6},
		{"UDP behind an authentication header", v6(51, append([]byte{17, 4}, make([]byte, 22+8)...)...), place{8, 16}, 64 + 6},
		{"the first fragment", v6(44, append([]byte{58, 0, 0, 1}, make([]byte, 4+8)...)...), place{8, 16}, 48 + 2},
		{"a later fragment", v6(44, append([]byte{58, 0, 0, 9}, make([]byte, 4+8)...)...), place{8, 16}, 0},
		{"an extension header that is cut", v6(60, 17, 9, 0, 0, 0, 0, 0, 0), place{8, 16}, 0},
		{"no next header", v6(59), place{8, 16}, 0},
	} {
		if h, ok := headerAt(c.data, c.src); !ok || h.place != c.want {
			t.Errorf("%s: checksum at %d (%v), want %d", c.name, h.place, ok, c.want)
		}
	}
}
