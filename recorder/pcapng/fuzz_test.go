package pcapng

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"net/netip"
)

func addSeeds(f *testing.F) {
	f.Add(sampleNg(3, false))
	f.Add(sampleNg(3, true))
	f.Add(sampleClassic(3))
	f.Add(classicFile(true, magicModified, 2, 4, 1, nil, make([]byte, 12), record{1, 2, 60, 60}))
	idb := rawBlock(nil, BlockInterface, false, []byte{1, 0, 0, 0, 0, 0, 0, 0}, []byte{9, 0, 1, 0, 0x83, 0, 0, 0, 14, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(append(append(sampleNg(1, false), idb...), rawBlock(nil, BlockEnhanced, false, []byte{1, 0, 0, 0}, make([]byte, 16), []byte{1, 0, 2, 0, 'h', 'i', 0, 0})...))
	f.Add(append(sampleNg(1, false), rawBlock(nil, BlockNames, false, []byte{1, 0, 6, 0, 1, 2, 3, 4, 'a', 0, 0, 0, 0, 0, 0, 0})...))
	f.Add(append(sampleNg(1, false), rawBlock(nil, BlockSecrets, false, []byte{0x4b, 0x53, 0x4c, 0x54, 4, 0, 0, 0, 'k', 'e', 'y', '\n'})...))
	f.Add(append(sampleNg(2, false)[:200], sampleNg(2, true)...))
	f.Add(append(sampleClassic(2)[:100], append(sampleNg(2, true), sampleClassic(1)...)...))
}

// FuzzReader checks that there is no panic, that memory stays within a few windows, that
// packets are inside the file in order, and that the result is the same for any window size.
func FuzzReader(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks := 0
		r, err := NewReader(bytes.NewReader(data), Options{Window: 4096, OnBlock: func(b Block) {
			blocks++
			ParseSection(b)
			ParseNames(b)
			ParseStatistics(b)
			ParseSecrets(b)
			ParseCustom(b)
		}})
		if err != nil {
			return
		}
		var b Batch
		last := int64(-1)
		packets := []Packet{}
		for r.Next(&b) == nil {
			for _, p := range b.Packets {
				if p.Offset <= last || p.Offset+int64(len(p.Data)) > int64(len(data)) || !bytes.Contains(data[p.Offset:], p.Data) {
					t.Fatalf("packet %+v in a file of %d bytes, after %d", p, len(data), last)
				}
				last = p.Offset
				p.Comments()
				p.Flags()
				p.DropCount()
				p.Hashes()
				p.Verdicts()
				p.ProcessThread()
				p.Data, p.Options = bytes.Clone(p.Data), bytes.Clone(p.Options)
				packets = append(packets, p)
			}
			if cap(b.buf) > 4*len(data)+1<<20 {
				t.Fatalf("a buffer of %d bytes for a file of %d bytes", cap(b.buf), len(data))
			}
		}
		if total := r.DamageTotal(); total.Bytes > int64(len(data))*2 || int64(len(r.Damage())) > total.Places {
			t.Fatalf("damage %+v in %d bytes", total, len(data))
		}
		again, r2 := readAll(t, data, Options{})
		if len(again) != len(packets) || r2.DamageTotal() != r.DamageTotal() {
			t.Fatalf("%d packets and %+v with a small window, %d and %+v with a large one", len(packets), r.DamageTotal(), len(again), r2.DamageTotal())
		}
		for i := range packets {
			if !same(packets[i], again[i]) {
				t.Fatalf("packet %d: %+v with a small window, %+v with a large one", i, packets[i], again[i])
			}
		}
	})
}

// FuzzRoundTrip checks that what is read from any bytes is read the same after it was
// written in either byte order.
func FuzzRoundTrip(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		items, r, err := readItems(bytes.NewReader(data), Options{})
		if err != nil || r.Format() != FormatPcapng || r.DamageTotal().Places > 0 || len(items) == 0 {
			return
		}
		for _, be := range []bool{false, true} {
			out, err := rewrite(items, r, be)
			if err != nil {
				continue // unknown blocks keep their byte order, times may not fit
			}
			again, r2, err := readItems(bytes.NewReader(out), Options{})
			if err != nil {
				t.Fatal(err)
			}
			want, got := contentOf(items, r), contentOf(again, r2)
			want.Blocks, got.Blocks = nil, nil
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(Interface{}, clock{}, recordFormat{}),
				cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add(gz(f, sampleClassic(2)))
	f.Add(zst(f, sampleClassic(2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := Open(bytes.NewReader(data), Limits{MaxOutput: 1 << 20})
		if err != nil {
			return
		}
		defer src.Close()
		if r, err := NewReader(src, Options{}); err == nil {
			if n, _ := drain(r, nil); n > 1<<17 {
				t.Fatalf("%d packets from at most 1 MiB", n)
			}
		}
	})
}

// FuzzSocket reads any bytes as a socket option; a valid option is written back unchanged.
func FuzzSocket(f *testing.F) {
	a4, a6 := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	for _, s := range []Socket{{Cookie: 1, Netns: 2, Kind: 1}, {Cookie: 1, Kind: 2, PID: 3, TID: 4}, {Cookie: 1, Ends: &SocketEnds{a4, a4}},
		{Cookie: 1, Kind: 7, PID: 1 << 31, Ends: &SocketEnds{a6, a6}}} {
		f.Add(s.AppendOption(nil), false)
		f.Add(s.AppendOption(nil), true)
	}
	f.Fuzz(func(t *testing.T, options []byte, bigEndian bool) {
		p := Packet{Kind: KindEnhanced, Options: options, BigEndian: bigEndian}
		s, ok := p.Socket()
		if !ok {
			if s != (Socket{}) {
				t.Fatalf("refused, but returned %+v", s)
			}
			return
		}
		b := s.AppendOption(nil)
		if len(b) != s.OptionSize() {
			t.Fatalf("%d bytes, want %d", len(b), s.OptionSize())
		}
		again, ok := (&Packet{Kind: KindEnhanced, Options: b}).Socket()
		if s.PID == 0 {
			s.TID = 0 // a thread without a process is ignored
		}
		if !ok || !cmp.Equal(s, again, cmpopts.EquateComparable(netip.AddrPort{})) {
			t.Fatalf("%+v became %+v, %t", s, again, ok)
		}
	})
}
