package decode

import (
	"math/rand"
	"testing"
)

// plainSum is RFC 1071 word by word.
func plainSum(b []byte) uint16 {
	var n uint32
	for i := 0; i < len(b); i += 2 {
		n += uint32(b[i]) << 8
		if i+1 < len(b) {
			n += uint32(b[i+1])
		}
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

func TestChecksum(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for n := range 300 {
		for _, fill := range []int{0, 255, -1} {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(fill)
				if fill < 0 {
					b[i] = byte(rnd.Intn(256))
				}
			}
			if got, want := checksum(b, 0), plainSum(b); got != want {
				t.Fatalf("%d bytes of %d: %04x, want %04x", n, fill, got, want)
			}
		}
	}
}

// finish4 fills in the checksums of an IPv4 packet with 20 bytes of header.
func finish4(p []byte) []byte {
	p[10], p[11] = 0, 0
	put := func(at int, n uint16) { p[at], p[at+1] = byte(n>>8), byte(n) }
	put(10, ^plainSum(p[:20]))
	at := 20 + 16
	if p[9] == protoUDP {
		at = 20 + 6
	}
	put(at, 0)
	size := len(p) - 20
	pseudo := append(append([]byte{}, p[12:20]...), 0, p[9], byte(size>>8), byte(size))
	put(at, ^plainSum(append(pseudo, p[20:]...)))
	return p
}

func TestChecksumsAreVerified(t *testing.T) {
	tcp := func() []byte {
		p := []byte{0x45, 0, 0, 45, 0, 1, 0x40, 0, 64, protoTCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
			0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}
		return finish4(p)
	}
	udp := func() []byte {
		return finish4([]byte{0x45, 0, 0, 31, 0, 1, 0, 0, 64, protoUDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 99, 0, 11, 0, 0, 'a', 'b', 'c'})
	}
	const sums = BadIPSum | BadSum | UnfinishedSum
	for _, tt := range []struct {
		name string
		make func() []byte
		cut  int
		want Problem
	}{
		{"right", tcp, 0, 0},
		{"a payload byte changed", func() []byte { p := tcp(); p[44]++; return p }, 0, BadSum},
		{"a header byte changed", func() []byte { p := tcp(); p[8]--; return p }, 0, BadIPSum},
		{"an address changed", func() []byte { p := tcp(); p[15]++; return p }, 0, BadIPSum | BadSum},
		{"correct, and 0", func() []byte {
			p := tcp()
			p[42], p[43] = 0, 0
			finish4(p)
			p[42], p[43] = p[36], p[37] // the sum moves into the payload
			return finish4(p)
		}, 0, 0},
		{"cut by the snap length", func() []byte { p := tcp(); p[44]++; return p }, 1, 0},
		{"only that of the pseudo-header", func() []byte {
			p := tcp()
			n := plainSum([]byte{10, 0, 0, 1, 10, 0, 0, 2, 0, protoTCP, 0, 25})
			p[36], p[37] = byte(n>>8), byte(n)
			return p
		}, 0, UnfinishedSum},
		{"that of the pseudo-header without a length, as Windows sends to its adapter", func() []byte {
			p := tcp()
			n := plainSum([]byte{10, 0, 0, 1, 10, 0, 0, 2, 0, protoTCP})
			p[36], p[37] = byte(n>>8), byte(n)
			return p
		}, 0, UnfinishedSum},
		{"UDP, that of the pseudo-header without a length", func() []byte {
			p := udp()
			n := plainSum([]byte{10, 0, 0, 1, 10, 0, 0, 2, 0, protoUDP})
			p[26], p[27] = byte(n>>8), byte(n)
			return p
		}, 0, BadSum},
		{"no checksums at all", func() []byte { p := tcp(); p[10], p[11], p[36], p[37] = 0, 0, 0, 0; return p }, 0, UnfinishedSum},
		{"UDP", udp, 0, 0},
		{"UDP, a payload byte changed", func() []byte { p := udp(); p[30]++; return p }, 0, BadSum},
		{"UDP without a checksum", func() []byte { p := udp(); p[26], p[27], p[30] = 0, 0, 'x'; return p }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.make()
			var f Frame
			New(Options{}).Decode(Input{LinkType: 101, Data: p[:len(p)-tt.cut], OrigLen: uint32(len(p))}, &f)
			if got := f.Problems & sums; got != tt.want {
				t.Errorf("problems %b, want %b", got, tt.want)
			}
			if codes := (f.Problems & sums).Codes(); codes != nil {
				t.Errorf("codes %v, want none: checksums are judged per connection", codes)
			}
		})
	}
}
