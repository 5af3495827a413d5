package pcapng

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"testing"
)

// sampleSizes are typical packet lengths; half of them are small.
var sampleSizes = []int{66, 66, 1514, 74, 583, 66, 1514, 1514, 54, 310, 66, 1514}

func sampleClassic(n int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, magicMicro)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	for i := range n {
		size := sampleSizes[i%len(sampleSizes)]
		b = put32(b, uint32(1700000000+i/1000), false)
		b = put32(b, uint32(i%1000*1000), false)
		b = put32(b, uint32(size), false)
		b = put32(b, uint32(size), false)
		b = append(b, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	return b
}

func sampleNg(n int, be bool) []byte {
	b := rawBlock(nil, BlockSection, be, put16(put16(put32(nil, 0x1A2B3C4D, be), 1, be), 0, be), bytes.Repeat([]byte{0xff}, 8))
	b = rawBlock(b, BlockInterface, be, put32(put32(nil, 0, be), 0, be)[:8])
	copy(b[len(b)-12:], put16(nil, 1, be))
	for i := range n {
		size := sampleSizes[i%len(sampleSizes)]
		ticks := uint64(1700000000e6) + uint64(i)*1000
		h := put32(put32(put32(put32(put32(nil, 0, be), uint32(ticks>>32), be), uint32(ticks), be), uint32(size), be), uint32(size), be)
		b = rawBlock(b, BlockEnhanced, be, h, bytes.Repeat([]byte{byte(i)}, size))
	}
	return b
}

// rawBlock appends a block with the joined parts as its padded body.
func rawBlock(b []byte, typ BlockType, be bool, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	size := uint32(12 + pad4(len(body)))
	b = put32(put32(b, uint32(typ), be), size, be)
	b = append(b, body...)
	b = append(b, make([]byte, pad4(len(body))-len(body))...)
	return put32(b, size, be)
}

func benchmarkWalk(b *testing.B, data []byte, open func() io.Reader) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var batch Batch
	for b.Loop() {
		r, err := NewReader(open(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		for r.Next(&batch) == nil {
		}
		if r.DamageTotal().Places != 0 {
			b.Fatal(r.Damage())
		}
	}
}

// Walking 1 GB of a file in the page cache, CPU seconds:
//
//	go test -bench WalkFile ./recorder/pcapng
func BenchmarkWalkFileClassic(b *testing.B) { benchmarkFile(b, sampleClassic(400000)) }
func BenchmarkWalkFileNg(b *testing.B)      { benchmarkFile(b, sampleNg(400000, false)) }
func BenchmarkWalkFileNgBig(b *testing.B)   { benchmarkFile(b, sampleNg(400000, true)) }

func BenchmarkWalkClassic(b *testing.B) {
	data := sampleClassic(100000)
	benchmarkWalk(b, data, func() io.Reader { return bytes.NewReader(data) })
}

func BenchmarkWalkNg(b *testing.B) {
	data := sampleNg(100000, false)
	benchmarkWalk(b, data, func() io.Reader { return bytes.NewReader(data) })
}

func benchmarkFile(b *testing.B, data []byte) {
	name := b.TempDir() + "/capture"
	if err := os.WriteFile(name, data, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	benchmarkWalk(b, data, func() io.Reader {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		return f
	})
}
