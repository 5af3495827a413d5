package columnar

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
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

// The descriptions of row groups stay in memory until their part ends.
func TestManySmallGroupsEndAPart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "t")
	w, err := Create(dir, everySchema, Options{GroupBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	largest := 0
	for _, row := range rowsOf(n, 1) {
		if err := Append(w, []everything{row}); err != nil {
			t.Fatal(err)
		}
		if w.part != nil {
			largest = max(largest, w.part.footer)
		}
	}
	got, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	for _, p := range got.Parts {
		rows += p.Rows
	}
	if rows != n || len(got.Parts) < 2 || largest > minFooter {
		t.Errorf("%d rows in %d parts, %d bytes of descriptions", rows, len(got.Parts), largest)
	}
}
