package sha

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

// TestFastIsTheSame compares a hash that gives whole blocks to a function with crypto/sha256, for writes of any size.
func TestFastIsTheSame(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(g.Uint32())
	}
	given := 0
	for range 300 {
		f := &fast{sha256.New(), func(s State, blocks []byte) State {
			if len(blocks)%sha256.BlockSize != 0 {
				t.Fatalf("%d bytes are no whole blocks", len(blocks))
			}
			given += len(blocks)
			h := sha256.New()
			Resume(h, s, 0)
			h.Write(blocks)
			s, _ = StateOf(h)
			return s
		}}
		want := sha256.New()
		for n, all := 0, g.IntN(len(data)); n < all; {
			size := min(all-n, []int{0, 1, 63, 64, 65, worth - 1, worth, worth + 1, 1 << 16, g.IntN(1 << 17)}[g.IntN(10)])
			if k, err := f.Write(data[n : n+size]); k != size || err != nil {
				t.Fatal(k, err)
			}
			want.Write(data[n : n+size])
			n += size
			if g.IntN(4) == 0 && !bytes.Equal(f.Sum(nil), want.Sum(nil)) {
				t.Fatalf("after %d bytes: %x, want %x", n, f.Sum(nil), want.Sum(nil))
			}
		}
		if s, n := StateOf(f); !bytes.Equal(f.Sum(nil), want.Sum(nil)) {
			t.Fatalf("%x, want %x", f.Sum(nil), want.Sum(nil))
		} else if w, m := StateOf(want); s != w || n != m {
			t.Fatalf("state %x of %d bytes, want %x of %d", s, n, w, m)
		}
	}
	if given == 0 {
		t.Fatal("the function was not used")
	}
}
