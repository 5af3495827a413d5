package pcapng

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// patch returns a copy of data with bytes replaced at off.
func patch(data []byte, off int, with ...byte) []byte {
	c := bytes.Clone(data)
	copy(c[off:], with)
	return c
}

func cut(data []byte, from, to int) []byte {
	return append(bytes.Clone(data[:from]), data[to:]...)
}

func insert(data []byte, at int, more []byte) []byte {
	return append(append(bytes.Clone(data[:at]), more...), data[at:]...)
}

func TestDamageIsSkippedAndCounted(t *testing.T) {
	ng, old := sampleNg(100, false), sampleClassic(100)
	list, _ := readAll(t, ng, Options{})
	at := func(n int) int { return int(list[n].Offset) }
	list2, _ := readAll(t, old, Options{})
	rec := func(n int) int { return int(list2[n].Offset) }
	spb := rawBlock(nil, BlockSimple, false, []byte{0xff, 0, 0, 0, 1, 2, 3, 4})
	noise := make([]byte, 1001)
	for i := range noise {
		noise[i] = byte(rand.New(rand.NewPCG(1, uint64(i))).Uint32())
	}
	type want struct {
		packets, places, bytes int
		kind                   DamageKind
	}
	for _, c := range []struct {
		name string
		data []byte
		want want
	}{
		{"a valid pcapng", ng, want{100, 0, 0, ""}},
		{"a block cut at the end", ng[:len(ng)-10], want{99, 1, len(ng) - 10 - at(99), DamageTruncated}},
		{"a header cut at the end", ng[:at(99)+5], want{99, 1, 5, DamageTruncated}},
		{"a wrong trailer in a valid chain", patch(ng, at(11)-4, 9), want{100, 1, 0, DamageTrailer}},
		{"a length of 4 GB", patch(ng, at(10)+4, 0xff, 0xff, 0xff, 0xff), want{99, 1, at(11) - at(10), DamageLength}},
		{"a length of 7", patch(ng, at(10)+4, 7, 0, 0, 0), want{99, 1, at(11) - at(10), DamageLength}},
		{"a length that swallows the next blocks", patch(ng, at(10)+4, 0, 0x08), want{99, 1, at(11) - at(10), DamageTrailer}},
		{"a length that ends where another block ends", patch(ng, at(10)+4, byte(at(14)-at(10)), byte((at(14)-at(10))>>8)), want{99, 1, at(11) - at(10), DamageTrailer}},
		{"a length beyond the end of the file", patch(ng, at(10)+4, 0, 0, 1, 0), want{99, 1, at(11) - at(10), DamageLength}},
		{"a captured length beyond the block", patch(ng, at(10)+20, 0xff, 0xff), want{99, 1, at(11) - at(10), DamageCaplen}},
		{"a packet of no interface", patch(ng, at(10)+8, 1), want{99, 1, at(11) - at(10), DamageInterface}},
		{"bytes lost inside a block", cut(ng, at(10)+40, at(10)+51), want{99, 1, at(11) - at(10) - 11, DamageTrailer}},
		{"noise between blocks", insert(ng, at(10), noise), want{100, 1, len(noise), DamageLength}},
		{"zeros between blocks", insert(ng, at(10), make([]byte, 5000)), want{100, 1, 5000, DamageZeros}},
		{"zeros at the end", append(bytes.Clone(ng), make([]byte, 9999)...), want{100, 1, 9999, DamageZeros}},
		{"a simple packet cut by its block", insert(ng, at(10), spb), want{100, 1, len(spb), DamageCaplen}},
		{"a block too short for a packet", insert(ng, at(10), rawBlock(nil, BlockEnhanced, false, []byte("abcd"))), want{100, 1, 16, DamageBlock}},
		{"an option beyond its block", insert(ng, at(10), rawBlock(nil, BlockEnhanced, false, make([]byte, 20), []byte{1, 0, 99, 0})), want{101, 1, 0, DamageOptions}},
		{"without an interface", cut(ng, 28, 48), want{0, 100, len(ng) - 48, DamageInterface}},

		{"a valid pcap", old, want{100, 0, 0, ""}},
		{"a record cut at the end", old[:len(old)-10], want{99, 1, len(old) - 10 - rec(99), DamageTruncated}},
		{"a record header cut at the end", old[:rec(99)+5], want{99, 1, 5, DamageTruncated}},
		{"a record of 4 GB", patch(old, rec(10)+8, 0xff, 0xff, 0xff, 0xff), want{99, 1, rec(11) - rec(10), DamageLength}},
		{"a record of 1 MB", patch(old, rec(10)+8, 0, 0, 0x10, 0), want{99, 1, rec(11) - rec(10), DamageLength}},
		{"a record longer than its packet", patch(old, rec(10)+8, 0xff, 0x0f), want{99, 1, rec(11) - rec(10), DamageRecord}},
		{"a record longer than the file", patch(old, rec(10)+8, 0xff, 0xff), want{99, 1, rec(11) - rec(10), DamageLength}},
		{"noise between records", insert(old, rec(10), noise), want{100, 1, len(noise), DamageLength}},
		{"zeros between records", insert(old, rec(10), make([]byte, 5001)), want{100, 1, 5001, DamageZeros}},
		{"zeros after records", append(bytes.Clone(old), make([]byte, 4096)...), want{100, 1, 4096, DamageZeros}},
		{"one record of zeros", insert(old, rec(10), make([]byte, 16)), want{101, 0, 0, ""}},
	} {
		for _, window := range []int{0, 4096} {
			got, r := readAll(t, c.data, Options{Window: window})
			total := r.DamageTotal()
			var kind DamageKind
			if len(r.Damage()) > 0 {
				kind = r.Damage()[0].Kind
			}
			if is := (want{len(got), int(total.Places), int(total.Bytes), kind}); is != c.want {
				t.Errorf("%s, window %d: got %+v, want %+v; %v", c.name, window, is, c.want, r.Damage())
			}
		}
	}
}

func TestFramesEndWhereWiresharkStops(t *testing.T) {
	ng := sampleNg(20, false)
	list, _ := readAll(t, ng, Options{})
	got, _ := readAll(t, patch(ng, int(list[5].Offset)+4, 7, 0, 0, 0), Options{})
	if got[4].Frame != 5 || got[5].Frame != 0 || got[5].Index != 5 {
		t.Errorf("frames %d and %d, index %d", got[4].Frame, got[5].Frame, got[5].Index)
	}
}

func TestDamageListIsBounded(t *testing.T) {
	data := sampleNg(5000, false)
	bad := cut(data, 28, 48) // without an interface every packet is a place
	_, r := readAll(t, bad, Options{MaxDamage: 10})
	if len(r.Damage()) != 10 || r.DamageTotal().Places != 5000 {
		t.Errorf("%d listed, %d counted", len(r.Damage()), r.DamageTotal().Places)
	}
}

func TestInterfaceAfterDamageIsUncertain(t *testing.T) {
	data := sampleNg(20, false)
	list, _ := readAll(t, data, Options{})
	idb := rawBlock(nil, BlockInterface, false, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	bad := insert(patch(data, int(list[5].Offset)+4, 7, 0, 0, 0), int(list[10].Offset), idb)
	_, r := readAll(t, bad, Options{})
	if !hasKind(r, DamageInterface) || len(r.Interfaces()) != 2 {
		t.Errorf("%v", r.Damage())
	}
}

// All complete packets before a cut are read, and nothing else.
func TestTruncationKeepsCompletePackets(t *testing.T) {
	for name, data := range map[string][]byte{"pcapng": sampleNg(12, false), "big-endian": sampleNg(12, true), "pcap": sampleClassic(12)} {
		whole, _ := readAll(t, data, Options{})
		first := 24
		if name != "pcap" {
			first = 12
		}
		for n := first; n < len(data); n++ {
			got, r := readAll(t, data[:n], Options{Window: 4096})
			want := 0
			for want < len(whole) && end(whole, data, want) <= n {
				want++
			}
			if len(got) != want {
				t.Fatalf("%s cut at %d: %d packets, want %d; %v", name, n, len(got), want, r.Damage())
			}
		}
	}
}

func end(list []Packet, data []byte, n int) int {
	if n+1 < len(list) {
		return int(list[n+1].Offset)
	}
	return len(data)
}

// Every byte is either in a block that was read or counted as damage.
func TestNothingIsLostSilently(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		data := sampleNg(40, rnd.IntN(2) == 0)
		for range 1 + rnd.IntN(6) {
			at := 12 + rnd.IntN(len(data)-12)
			data[at] ^= byte(1 + rnd.IntN(255))
		}
		used := int64(0)
		items, r, err := readItems(bytes.NewReader(data), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			used += int64(u32(data[it.off+4:], it.bigEndian()))
		}
		skipped := int64(0)
		for _, d := range r.Damage() {
			skipped += d.Length
		}
		if used+skipped != int64(len(data)) && !hasKind(r, DamageBlock) {
			t.Errorf("%d bytes read and %d skipped of %d: %v", used, skipped, len(data), r.Damage())
		}
	}
}

func (it item) bigEndian() bool {
	if it.p != nil {
		return it.p.BigEndian
	}
	return it.block.BigEndian
}

// A file full of long false lengths must not cost a long read for each of them.
func TestFalseLengthsCostLittle(t *testing.T) {
	data := sampleNg(1, false)
	for len(data) < 8<<20 {
		for range 3 { // a scan would not trust a shorter chain
			data = rawBlock(data, BlockEnhanced, false, make([]byte, 20))
		}
		bad := rawBlock(nil, BlockEnhanced, false, make([]byte, 20), []byte("data"))
		data = append(data, patch(bad, 4, 0, 0, 0x30, 0)...) // 3 MiB
	}
	r, err := NewReader(bytes.NewReader(data), Options{Window: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	copied := 0
	for r.Next(&b) == nil {
		copied += len(r.carry)
	}
	if copied > 200*len(data) {
		t.Errorf("%d bytes moved for a file of %d", copied, len(data))
	}
	if want := int64(len(data)-len(sampleNg(1, false)))/132*3 + 1; r.Packets() != want {
		t.Errorf("%d packets, want %d", r.Packets(), want)
	}
}
