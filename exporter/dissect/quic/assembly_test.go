package quic

import (
	"bytes"
	"math/rand"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestAssembly adds pieces of a text in any order. The result must be a prefix of the text, and
// no memory may be held at the end.
func TestAssembly(t *testing.T) {
	e, err := dissect.NewEngine(nil, nil, &dissecttest.Result{}, true)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range int64(2000) {
		rnd := rand.New(rand.NewSource(seed))
		c := e.NewConn(dissect.Info{Transport: dissect.UDP})
		text := make([]byte, 1+rnd.Intn(300))
		rnd.Read(text)
		var a assembly
		var got []byte
		have := make([]bool, len(text))
		differs, conflict := seed%4 == 0, false
		for range rnd.Intn(80) {
			off := rnd.Intn(len(text))
			piece := bytes.Clone(text[off:min(len(text), off+rnd.Intn(40))])
			if differs && len(piece) > 0 && have[off] && off >= len(got) {
				piece[0] ^= 1 // a byte that differs from the kept one
				conflict = true
			}
			r := a.place(c, int64(off), piece, dissect.Packet{})
			if r.conflict && !differs || r.refused {
				t.Fatalf("seed %d: %+v", seed, r)
			}
			if r.conflict {
				conflict = false
			}
			for i := range piece {
				have[off+i] = true
			}
			got = append(got, r.fresh...)
			for more, ok := a.pop(c); ok; more, ok = a.pop(c) {
				if more.off != int64(len(got)) {
					t.Fatalf("seed %d: piece at %d, want %d", seed, more.off, len(got))
				}
				got = append(got, more.data...)
			}
			want := 0
			for want < len(have) && have[want] {
				want++
			}
			if !bytes.Equal(got, text[:want]) || a.next != int64(want) {
				t.Fatalf("seed %d: %d bytes, want %d, or others", seed, len(got), want)
			}
		}
		if conflict {
			t.Fatalf("seed %d: a byte that differs was not reported", seed)
		}
		a.drop(c)
		if e.Held() != 0 {
			t.Fatalf("seed %d: %d bytes held", seed, e.Held())
		}
	}
}
