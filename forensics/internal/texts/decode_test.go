package texts

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	parquetdelta "github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

func TestNumbersAreReadAsTheyWereWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for width := 1; width <= 32; width++ {
		for _, n := range []int{1, 7, 8, 9, 64, 1000} {
			want := make([]int32, n)
			for i := range want {
				if i == 0 || r.IntN(3) > 0 { // runs too
					want[i] = int32(r.Uint32() & (1<<width - 1))
				} else {
					want[i] = want[i-1]
				}
			}
			var got []uint32
			data, err := (&rle.Encoding{BitWidth: width}).EncodeInt32(nil, want)
			if err == nil {
				got, err = hybrid(got, data, width, n)
			}
			if err != nil || !slices.EqualFunc(got, want, func(a uint32, b int32) bool { return a == uint32(b) }) {
				t.Errorf("%d numbers of %d bits: %v", n, width, err)
			}
		}
	}
	for _, n := range []int{0, 1, 2, 31, 32, 33, 128, 129, 5000} {
		for _, most := range []int64{0, 1, 100, math.MaxInt32, math.MaxInt64} {
			want := make([]int64, n)
			for i := range want {
				if want[i] = r.Int64(); most < math.MaxInt64 {
					want[i] = r.Int64N(most+1) - most/2
				}
			}
			data, err := new(parquetdelta.BinaryPackedEncoding).EncodeInt64(nil, want)
			if err != nil {
				t.Fatal(err)
			}
			got, rest, err := delta(nil, append(data, "rest"...), n, n)
			if err != nil || !slices.Equal(got, want) || string(rest) != "rest" {
				t.Errorf("%d differences up to %d: %v, rest %q", n, most, err, rest)
			}
		}
	}
}

func TestNumbersThatCannotBe(t *testing.T) {
	for name, row := range map[string]struct {
		data  []byte
		width int
		want  error
	}{
		"nothing":                       {nil, 3, errShort},
		"a run without its number":      {[]byte{8 << 1}, 3, errShort},
		"a run of none":                 {[]byte{0, 1}, 3, errShort},
		"packed groups that are cut":    {[]byte{2<<1 | 1, 1, 2, 3}, 3, errShort},
		"more packed than can be":       {binary.AppendUvarint(nil, math.MaxUint64), 3, errShort},
		"wider than 32 bits":            {[]byte{2, 1}, 33, errWidth},
		"a length that does not end":    {[]byte{0x80, 0x80}, 3, errShort},
		"no packed group at all":        {[]byte{1}, 3, errShort},
		"no packed group, and no width": {[]byte{1}, 0, errShort},
	} {
		if _, err := hybrid[uint32](nil, row.data, row.width, 20); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
	head := func(list ...uint64) (b []byte) {
		for _, n := range list {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	for name, row := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":                     {nil, errShort},
		"blocks of nothing":           {head(0, 1, 20, 0), errDelta},
		"blocks of too much":          {head(1<<40, 4, 20, 0), errDelta},
		"miniblocks of half a number": {head(128, 3, 20, 0), errDelta},
		"other numbers than said":     {head(128, 4, 21, 0), errDelta},
		"cut before the block":        {head(128, 4, 20, 0), errShort},
		"cut within the block":        {append(head(128, 4, 20, 0, 0), 7, 7, 7, 7, 1, 2), errShort},
		"65 bits":                     {append(head(128, 4, 20, 0, 0), 65, 0, 0, 0), errWidth},
	} {
		if _, _, err := delta(nil, row.data, 20, 20); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

// FuzzColumn reads whatever bytes as a data page or a dictionary.
func FuzzColumn(f *testing.F) {
	f.Add([]byte{4, 0, 0, 0, 'a', 'b', 'c', 'd'}, byte(0), uint16(1), byte(0))
	f.Add([]byte{2, 0, 0, 0, 8, 1, 2, 0, 0, 0, 8, 2, 1, 8, 0}, byte(8), uint16(4), byte(3))
	f.Add([]byte{2, 0, 0, 0, 8, 1, 128, 1, 4, 4, 2, 0, 'x', 'y', 'z'}, byte(6), uint16(4), byte(1))
	f.Fuzz(func(t *testing.T, page []byte, encoding byte, n uint16, shape byte) {
		col := &column{leaf: leaf{typ: typeBytes, maxRep: int8(shape >> 1 & 1), maxDef: int8(shape & 1)}, chunk: chunk{values: int32(n)}}
		if shape&2 != 0 {
			col.maxDef = 2
		}
		if shape&4 != 0 {
			col.typ = typeInt64
		}
		if shape&8 != 0 {
			col.typ, col.width = typeFixed, 16
		}
		if encoding == encRLEDict {
			col.coded = true
			col.dict.block = []byte{1, 0, 0, 0, 'a', 0, 0, 0, 0}
			if err := col.dict.plain(leaf{typ: typeBytes}, 2); err != nil {
				t.Fatal(err)
			}
		}
		if col.readPage(header{encoding: int64(encoding), values: int64(n), rle: true}, page) != nil || col.typ == typeInt64 {
			return
		}
		if col.fits(int(n)) == nil && col.maxRep == 0 {
			walk := entries{col: col, row: -1}
			seen := 0
			for row := range int(n) {
				for k := walk.value(row); k >= 0; k = walk.value(row) {
					_ = col.text(k)
					seen++
				}
			}
			if seen != col.count {
				t.Errorf("%d values, want %d", seen, col.count)
			}
		}
	})
}

// FuzzFooter reads whatever bytes as a footer.
func FuzzFooter(f *testing.F) {
	f.Add([]byte{0x15, 2, 0x19, 0x2c, 0x48, 1, 'r', 0x15, 2, 0, 0x15, 12, 0x25, 2, 0x18, 1, 'a', 0, 0x16, 2, 0x19, 0x1c, 0x19, 0x1c, 0x3c, 0x45, 12, 0, 0, 0x26, 2, 0, 0})
	f.Fuzz(func(_ *testing.T, footer []byte) {
		p := &part{names: map[string]int{}, size: 1 << 30}
		if p.parse(footer) == nil {
			s := &Scan{Places: []Place{{Columns: []string{"a"}}, {Columns: []string{"h"}, Headers: true}}}
			for i := range p.groups {
				p.groups[i].bytes(s, p.columns(s))
			}
		}
		readHeader(&thrift{b: footer})
	})
}
