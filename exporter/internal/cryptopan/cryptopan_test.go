package cryptopan

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// key is that of the sample of the authors' reference implementation.
var key = [32]byte{21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2}

// TestPublishedVectors compares with the reference implementation's trace (IPv4).
func TestPublishedVectors(t *testing.T) {
	m := New(key)
	for addr, want := range map[string]string{
		"128.11.68.132": "135.242.180.132", "129.118.74.4": "134.136.186.123", "130.132.252.244": "133.68.164.234", "141.223.7.43": "141.167.8.160",
		"141.233.145.108": "141.129.237.235", "152.163.225.39": "151.140.114.167", "156.29.3.236": "147.225.12.42", "165.247.96.84": "162.9.99.234",
		"166.107.77.190": "160.132.178.185", "192.102.249.13": "252.138.62.131", "192.215.32.125": "252.43.47.189", "192.233.80.103": "252.25.108.8",
		"192.41.57.43": "252.222.221.184", "193.150.244.223": "253.169.52.216", "195.205.63.100": "255.186.223.5", "198.200.171.101": "249.199.68.213",
		"2001:db8::1": "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1e", "2001:db8::2": "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1c",
	} {
		b := netip.MustParseAddr(addr).AsSlice()
		m.Replace(b)
		if got, _ := netip.AddrFromSlice(b); got.String() != want {
			t.Errorf("%s becomes %s, want %s", addr, got, want)
		}
	}
}

// common is the number of first bits that two addresses share.
func common(a, b []byte) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return 8 * len(a)
}

func TestPrefixesStay(t *testing.T) {
	m := New(key)
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{4, 16} {
		for range 200 {
			a := make([]byte, size)
			for i := range a {
				a[i] = byte(r.Uint32())
			}
			b := append([]byte(nil), a...)
			bit := r.IntN(8 * size)
			b[bit/8] ^= 0x80 >> (bit % 8)
			want := common(a, b)
			m.Replace(a)
			m.Replace(b)
			if got := common(a, b); got != want {
				t.Fatalf("%d common bits become %d", want, got)
			}
		}
	}
}
