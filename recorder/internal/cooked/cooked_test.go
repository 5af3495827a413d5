package cooked

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestChecksumNotReady(t *testing.T) {
	// 10.0.0.1:1 → 10.0.0.2:2, UDP, 1 byte: the pseudo-header's sum is 0x001D + 0x000A…
	partial := "4500001d0000000040110000" + "0a000001" + "0a000002" + "00010002" + "0009" + "141d" + "41"
	whole := strings.Replace(partial, "141d", "beef", 1)
	later := strings.Replace(partial, "45000"+"01d00000000", "4500001d00000010", 1)
	for _, c := range []struct {
		name, packet string
		want         bool
	}{
		{"pseudo-header's sum", partial, true},
		{"another sum", whole, false},
		{"a later fragment has no checksum", later, false},
		{"cut before the checksum", partial[:50], false},
		{"empty", "", false},
	} {
		b, err := hex.DecodeString(c.packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := checksumNotReady(b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
