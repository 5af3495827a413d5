package ws

import (
	"math/rand"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestHandshakeNotCaptured has connections whose frames alone show what they are, and such that they do not.
func TestHandshakeNotCaptured(t *testing.T) {
	bins := chunks{sends(0x82, "\x00\x01"), says(0x82, "\x00\x02"), sends(0x82, "\x00\x03"), says(0x82, strings.Repeat("\xff", 300)), sends(0x82, "\x00\x04"), says(0x82, "\x05"), sends(0x82, "\x06")}
	for _, tt := range []struct {
		name   string
		begun  bool // the beginning of the connection was captured
		chunks chunks
		rows   int
	}{
		{"texts", false, chunks{sends(0x81, `{"id":1,"ask":"price"}`), says(0x81, `{"id":1,"price":17}`)}, 2},
		{"the server's text first", false, chunks{says(0x81, "the price is 17 €"), sends(0x81, "thanks, goodbye"), sends(0x88, bye), says(0x88, bye)}, 3},
		{"binary messages", false, bins, 7},
		{"the end of a frame first", false, chunks{dissecttest.Server(" the end of a text"), says(0x81, "the next text"), sends(0x81, "the next question")}, 2},
		{"compressed messages", false, chunks{says(0xc1, "\xf2\x48"), says(0xc1, "\xca\xc9"), says(0xc1, "\x02\x11"), says(0xc1, "\x01\x00")}, 4},
		{"the handshake of another protocol was captured", true, bins, 0},
		{"few binary messages", false, bins[:4], 0},
		{"a text with control characters", false, chunks{sends(0x81, "\x00\x01\x02\x03\x04\x05\x06\x07\x08")}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, Protocols: []*dissect.Protocol{Protocol()}, Roles: tt.begun}, tt.chunks...)
			n := 0
			for _, row := range r.Rows() {
				if row.Base().Protocol == "ws" {
					n++
				}
			}
			if n != tt.rows {
				t.Errorf("%d rows of ws, want %d", n, tt.rows)
			}
		})
	}
}

// TestDetectIsStrict shows random bytes, with a first byte that a frame may have.
func TestDetectIsStrict(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	found := 0
	for range 1_000_000 {
		b := make([]byte, 8+r.Intn(120))
		r.Read(b)
		b[0] = []byte{0x81, 0x82, 0xc1, 0xc2, 0x89, 0x8a}[r.Intn(6)]
		if v := detect(dissect.Dir(r.Intn(2)), b); v >= dissect.Likely {
			found++
		}
	}
	if found > 20 {
		t.Errorf("%d of 1,000,000 random heads are frames", found)
	}
}
