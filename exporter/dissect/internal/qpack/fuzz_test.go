package qpack

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
)

// FuzzDecoder passes random bytes to the three readers in random order. They must not panic and
// must stay within the limits.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0, 4, 0x03, 0x81, 0x10, 0x11, 1, 3, 0x3f, 0xbd, 0x01, 2, 1, 0x84})
	for _, v := range readVectors(f)[2:4] {
		var seed []byte
		for i := range v.events[:20] {
			e := &v.events[i]
			kind := byte(0)
			switch e.kind {
			case 'e':
				kind = 1
			case 'd':
				kind = 2
			}
			if len(e.data) < 256 {
				seed = append(append(seed, kind, byte(len(e.data))), e.data...)
			}
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var d Decoder
		var stream []byte
		for len(in) > 2 {
			kind, n := in[0], min(int(in[1]), len(in)-2)
			p := in[2 : 2+n]
			in = in[2+n:]
			switch kind % 6 {
			case 0:
				need, err := d.Need(int64(kind), p)
				if err != nil {
					break
				}
				fields, err := d.Decode(p, need)
				size := 0
				for i := range fields {
					size += len(fields[i].Name) + len(fields[i].Value)
				}
				if len(fields) > hpack.MaxFields || size > hpack.MaxList {
					t.Fatalf("%d fields of %d bytes, %v", len(fields), size, err)
				}
			case 1:
				stream = append(stream, p...)
				n, err := d.Insertions(stream, int64(kind)+d.Count())
				if n > len(stream) || n < 0 || err != nil && !d.Lost() {
					t.Fatalf("took %d of %d, %v", n, len(stream), err)
				}
				stream = stream[n:]
			case 2:
				if n, _ := d.Acks(p); n > len(p) {
					t.Fatalf("took %d of %d", n, len(p))
				}
			case 3:
				d.SetMax(int64(n) << (kind % 64) & maxInteger)
			case 4:
				d.LoseAcks()
			case 5:
				if kind > 250 {
					d.Lose()
				}
			}
			if d.size > maxTable || d.nUnacked > maxUnacked || d.held > maxTable/entryCost {
				t.Fatalf("table of %d bytes, %d entries, %d not acknowledged", d.size, d.held, d.nUnacked)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	v := readVectors(b)[0]
	b.ReportAllocs()
	n := 0
	for n < b.N {
		var d Decoder
		d.SetMax(v.capacity)
		for i := range v.events {
			e := &v.events[i]
			switch e.kind {
			case 'e':
				if _, err := d.Insertions(e.data, all); err != nil {
					b.Fatal(err)
				}
			case 's':
				n++
				need, err := d.Need(e.stream, e.data)
				if err == nil {
					_, err = d.Decode(e.data, need)
				}
				if err != nil {
					b.Fatal(err)
				}
			case 'd':
				if _, err := d.Acks(e.data); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
