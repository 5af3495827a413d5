package pcapng

import (
	"bytes"
	"fmt"
	"testing"
)

// several are captures of all formats, each with 3 packets.
func several() map[string][]byte {
	rec := record{1700000000, 500, 60, 70}
	file := func(be bool, magic, network uint32, between, extra int) []byte {
		return classicFile(be, magic, 2, 4, network, make([]byte, between), make([]byte, extra), rec)
	}
	return map[string][]byte{
		"pcap":              file(false, magicMicro, 1, 0, 0),
		"big-endian pcap":   file(true, magicMicro, 113, 0, 0),
		"nanoseconds":       file(true, magicNano, 101, 0, 0),
		"modified":          file(false, magicModified, 1, 0, 12),
		"Nokia":             file(false, magicMicro, 1, 0, 4),
		"lcap":              file(false, magicIxiaHW, 1, 4, 0),
		"pcapng":            sampleNg(3, false),
		"big-endian pcapng": sampleNg(3, true),
		"without packets":   file(false, magicNano, 127, 0, 0)[:24],
	}
}

// TestCapturesThatFollowACapture has files that are several captures after one another.
func TestCapturesThatFollowACapture(t *testing.T) {
	all := several()
	for first, a := range all {
		for second, b := range all {
			name := fmt.Sprintf("%s, then %s", first, second)
			data := bytes.Join([][]byte{a, b, a}, nil)
			var want []Packet
			for _, one := range [][]byte{a, b, a} {
				list, _ := readAll(t, one, Options{})
				want = append(want, list...)
			}
			for _, window := range []int{0, 64, 4096} {
				items, r, err := readItems(bytes.NewReader(data), Options{Window: window})
				if err != nil || r.DamageTotal().Places > 0 || r.Packets() != int64(len(want)) || r.Sections() != 3 {
					t.Errorf("%s: %d packets of %d, %d sections, %v, %v", name, r.Packets(), len(want), r.Sections(), r.Damage(), err)
					continue
				}
				n := 0
				for _, it := range items {
					if it.p == nil {
						continue
					}
					w := want[n]
					if p := it.p; !bytes.Equal(p.Data, w.Data) || p.Time != w.Time || p.LinkType != w.LinkType || r.Interfaces()[p.Interface].LinkType != w.LinkType {
						t.Errorf("%s: packet %d is %+v, want %+v", name, n, *p, w)
					}
					n++
				}
				if err := readAgain(items, r, data); err != nil {
					t.Errorf("%s: read again: %v", name, err)
				}
			}
			var out bytes.Buffer
			if _, err := Strip(&out, bytes.NewReader(data)); err != nil || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("%s: stripped to %d bytes of %d: %v", name, out.Len(), len(data), err)
			}
			out.Reset()
			if _, err := Rewrite(&out, bytes.NewReader(data), keepAllOf()); err != nil || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("%s: rewritten to %d bytes of %d: %v", name, out.Len(), len(data), err)
			}
		}
	}
}

// TestCapturesThatFollowACutCapture cuts the first capture at any byte.
func TestCapturesThatFollowACutCapture(t *testing.T) {
	all := several()
	for first, a := range all {
		_, r := readAll(t, a, Options{})
		from := int64(48)
		if h := r.ifaces[0].record; h.header > 0 { // four records show how long their headers are
			more := a[h.first:]
			a = bytes.Join([][]byte{a, more, more}, nil)
			from = int64(len(a) - len(more))
		}
		list, r := readAll(t, a, Options{})
		for second, b := range all {
			if first == "without packets" || second == "without packets" {
				continue
			}
			if second == "pcapng" || second == "big-endian pcapng" {
				b = longer(b) // or a length in it could be that of the cut block
			}
			_, r1 := readAll(t, b, Options{})
			for to := from; to < int64(len(a)); to++ {
				whole, ends := int64(0), r.ifaces[0].record.first
				for _, p := range list {
					size := int64(len(p.Data))
					if h := r.ifaces[0].record.header; h > 0 {
						size += int64(h)
					} else {
						size = int64(32 + pad4(len(p.Data)))
					}
					if p.Offset+size <= to {
						whole, ends = whole+1, p.Offset+size
					}
				}
				if h := r.ifaces[0].record.header; h > 0 && ends+int64(h)+60-to == r1.ifaces[0].record.first {
					continue // LIMIT: the cut record ends where the other file's header ends
				}
				data := append(bytes.Clone(a[:to]), b...)
				got, r2 := readAll(t, data, Options{})
				if int64(len(got)) != whole+3 {
					t.Fatalf("%s cut at %d, then %s: %d packets, want %d: %v", first, to, second, len(got), whole+3, r2.Damage())
				}
				if d := r2.Damage(); ends > 0 && to > ends && (len(d) != 1 || d[0].Offset != ends || d[0].Length != to-ends) {
					t.Fatalf("%s cut at %d, then %s: damage %v, want %d bytes at %d", first, to, second, d, to-ends, ends)
				}
			}
		}
	}
}

// TestACaptureInAPacketIsData has a packet that carries a capture, before damage.
func TestACaptureInAPacketIsData(t *testing.T) {
	for name, inner := range several() {
		var outer []byte
		outer = append(outer, several()["pcap"]...)
		n := uint32(len(inner))
		outer = put32(put32(put32(put32(outer, 1700000000, false), 1, false), n, false), n, false)
		outer = append(outer, inner...)
		outer = append(outer, bytes.Repeat([]byte{0xee}, 100)...)
		outer = append(outer, several()["pcap"][24:]...)
		got, r := readAll(t, outer, Options{})
		if len(got) != 7 || !bytes.Equal(got[3].Data, inner) || len(r.Interfaces()) != 1 || r.DamageTotal().Bytes != 100 {
			t.Errorf("%s: %d packets, %d interfaces, %v", name, len(got), len(r.Interfaces()), r.Damage())
		}
	}
}

// TestStripOfSecretsAfterAClassicCapture has them in a section that follows classic pcap.
func TestStripOfSecretsAfterAClassicCapture(t *testing.T) {
	old, ng := sampleClassic(3), sampleNg(3, false)
	data := bytes.Join([][]byte{old, ng, secretsBlock(false, "CLIENT_RANDOM 00 11\n"), old}, nil)
	var out bytes.Buffer
	s, err := Strip(&out, bytes.NewReader(data))
	if err != nil || s.Blocks != 1 || s.Packets != 9 || !bytes.Equal(out.Bytes(), bytes.Join([][]byte{old, ng, old}, nil)) {
		t.Errorf("%+v, %v, %d bytes", s, err, out.Len())
	}
}

// TestTooManyCapturesInAFile has one more capture than there can be interfaces.
func TestTooManyCapturesInAFile(t *testing.T) {
	old := several()["pcap"]
	data := append(bytes.Repeat(old[:24], maxInterfaces), old...)
	got, r := readAll(t, data, Options{})
	if len(got) != 0 || r.DamageTotal().Places != 3 || len(r.Interfaces()) != maxInterfaces {
		t.Errorf("%d packets, %d interfaces, %v", len(got), len(r.Interfaces()), r.Damage())
	}
}

// longer appends an option to the packets of a capture, so that they have other lengths.
func longer(ng []byte) []byte {
	r, err := NewReader(bytes.NewReader(ng), Options{})
	if err != nil {
		panic(err)
	}
	be := r.be
	out := bytes.Clone(ng[:48])
	for at := 48; at < len(ng); {
		size := int(u32(ng[at+4:], be))
		option := append(put16(put16(nil, OptComment, be), 7, be), "longer!\x00"...)
		out = rawBlock(out, BlockEnhanced, be, ng[at+8:at+size-4], option)
		at += size
	}
	return out
}
