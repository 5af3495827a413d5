package columnar

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/rle"
)

func TestIndexesAreTheSameBytesEverywhere(t *testing.T) {
	for _, tt := range []struct {
		name  string
		index []int32
		width int
		want  []byte
	}{
		{"a run", slices.Repeat([]int32{5}, 20), 3, []byte{3, 40, 5}},
		{"a run of two-byte values", slices.Repeat([]int32{0x1ff}, 8), 9, []byte{9, 16, 0xff, 1}},
		{"one entry", slices.Repeat([]int32{0}, 300), 0, []byte{0, 0xd8, 4}},
		{"packed", []int32{0, 1, 2, 3, 4, 5, 6, 7}, 3, []byte{3, 3, 0x88, 0xc6, 0xfa}},
		{"a part of a group", []int32{1, 0, 1}, 1, []byte{1, 3, 5}},
		{"a run after a group", append([]int32{0, 1, 0, 1, 0, 1, 0, 1}, slices.Repeat([]int32{1}, 9)...), 1, []byte{1, 3, 0xaa, 18, 1}},
		{"a run that begins inside of a group", append([]int32{0, 1, 0, 1}, slices.Repeat([]int32{0}, 12)...), 1, []byte{1, 3, 0x0a, 16, 0}},
	} {
		if got := appendIndexes(nil, tt.index, tt.width); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: % x, want % x", tt.name, got, tt.want)
		}
	}
}

// TestIndexesCanBeReadBack reads the written indexes with the library.
func TestIndexesCanBeReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		entries := 1 + r.IntN(1<<r.IntN(17))
		var index []int32
		for n := r.IntN(400); len(index) < n; {
			index = append(index, slices.Repeat([]int32{int32(r.IntN(entries))}, 1+r.IntN(1+r.IntN(20)))...)
		}
		out := appendIndexes(nil, index, width(entries))
		got, err := new(rle.DictionaryEncoding).DecodeInt32(nil, out)
		if err != nil || len(got) < len(index) || !slices.Equal(got[:len(index)], index) {
			t.Fatalf("%d entries: %v\ngot  %v\nwant %v", entries, err, got, index)
		}
	}
}
