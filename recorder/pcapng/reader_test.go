package pcapng

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"
)

func readAll(t testing.TB, data []byte, opt Options) ([]Packet, *Reader) {
	t.Helper()
	items, r, err := readItems(bytes.NewReader(data), opt)
	if err != nil {
		t.Fatal(err)
	}
	var list []Packet
	for _, it := range items {
		if it.p != nil {
			list = append(list, *it.p)
		}
	}
	return list, r
}

func same(a, b Packet) bool {
	return a.Offset == b.Offset && a.Index == b.Index && a.Frame == b.Frame && a.Time == b.Time &&
		a.Interface == b.Interface && a.OrigLen == b.OrigLen && a.LinkType == b.LinkType &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Options, b.Options)
}

func TestWindowSizeDoesNotMatter(t *testing.T) {
	for name, data := range map[string][]byte{
		"pcap": sampleClassic(3000), "pcapng": sampleNg(3000, false), "big-endian pcapng": sampleNg(3000, true),
	} {
		want, _ := readAll(t, data, Options{})
		if len(want) != 3000 {
			t.Fatalf("%s: %d packets", name, len(want))
		}
		for _, window := range []int{64, 100, 4096, 65537} {
			got, r := readAll(t, data, Options{Window: window})
			if !slices.EqualFunc(want, got, same) || r.DamageTotal().Places != 0 {
				t.Errorf("%s, window %d: %d packets, %v", name, window, len(got), r.Damage())
			}
		}
		items, _, err := readItems(iotest.OneByteReader(bytes.NewReader(data)), Options{Live: true, Window: 4096})
		n := 0
		for _, it := range items {
			if it.p != nil && same(*it.p, want[it.p.Index]) {
				n++
			}
		}
		if n != 3000 || err != nil {
			t.Errorf("%s, a byte at a time: %d packets, %v", name, n, err)
		}
	}
}

func TestLiveStreamReturnsPacketsImmediately(t *testing.T) {
	data := sampleNg(2, false)
	in, out := io.Pipe()
	defer in.Close()
	go out.Write(data[:len(data)-1]) // ends with the pipe
	r, err := NewReader(in, Options{Live: true})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	if err := r.Next(&b); err != nil || len(b.Packets) != 1 {
		t.Fatalf("%d packets, %v", len(b.Packets), err)
	}
}

func TestSeveralBatchesAtOnce(t *testing.T) {
	data := sampleNg(2000, false)
	r, err := NewReader(bytes.NewReader(data), Options{Window: 5000})
	if err != nil {
		t.Fatal(err)
	}
	var batches []*Batch
	for {
		b := &Batch{}
		if err := r.Next(b); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, b)
	}
	n := 0
	for _, b := range batches {
		for _, p := range b.Packets {
			if want := bytes.Repeat([]byte{byte(p.Index)}, sampleSizes[p.Index%int64(len(sampleSizes))]); !bytes.Equal(p.Data, want) {
				t.Fatalf("packet %d was overwritten", p.Index)
			}
			n++
		}
	}
	if n != 2000 {
		t.Errorf("%d packets", n)
	}
}

func TestWalkingAllocatesNothingPerPacket(t *testing.T) {
	for name, data := range map[string][]byte{"pcap": sampleClassic(20000), "pcapng": sampleNg(20000, false)} {
		var b Batch
		allocs := testing.AllocsPerRun(5, func() {
			r, err := NewReader(bytes.NewReader(data), Options{})
			if err != nil {
				t.Fatal(err)
			}
			for r.Next(&b) == nil {
			}
		})
		if allocs > 20 {
			t.Errorf("%s: %.0f allocations for 20000 packets", name, allocs)
		}
	}
}

func TestOtherFileTypesAreNamed(t *testing.T) {
	for _, c := range []struct{ name, data, looks string }{
		{"an empty file", "", "an empty file"},
		{"a text file", "hello, this is a log line\n", "text"},
		{"text in UTF-8", "grüße, 你好\n", "text"},
		{"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00", "gzip"},
		{"zstd", "\x28\xb5\x2f\xfd\x00\x00", "zstd"},
		{"a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a Git LFS pointer (git lfs pull downloads the file itself)"},
		{"a zip", "PK\x03\x04\x00\x00", "a zip archive"},
		{"zeros", strings.Repeat("\x00", 100), "zero bytes"},
		{"a section header without byte order", "\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x01\x02\x03\x04", "PCAPNG with the invalid byte-order magic 01 02 03 04"},
		{"an unknown format", "\x01\x02\x03\x04\x05\x06\x07\x08\x09", "an unknown format that begins with 01 02 03 04 05 06 07 08"},
	} {
		_, err := NewReader(strings.NewReader(c.data), Options{})
		var e *NotCaptureError
		if !errors.As(err, &e) || !errors.Is(err, ErrNotCapture) || e.Looks != c.looks {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, head := range [][]byte{sampleClassic(1)[:23], sampleClassic(1)[:4], sampleNg(1, false)[:11], sampleNg(1, true)[:4]} {
		if _, err := NewReader(bytes.NewReader(head), Options{}); !errors.Is(err, ErrTooShort) {
			t.Errorf("%d bytes of a header: %v", len(head), err)
		}
	}
}

func TestReadErrorFollowsThePackets(t *testing.T) {
	broken := errors.New("disk on fire")
	data := sampleClassic(10)
	r, err := NewReader(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := drain(r, nil)
	if n != 10 || !errors.Is(err, broken) || !hasKind(r, DamageUnreadable) {
		t.Errorf("%d packets, %v, %v", n, err, r.Damage())
	}
}

// classicFile makes a file of three records of 60 bytes with extra bytes in each header.
func classicFile(be bool, magic uint32, major, minor uint16, network uint32, between, extra []byte, rec record) []byte {
	b := put16(put16(put32(nil, magic, be), major, be), minor, be)
	b = put32(put32(put64(b, 0, be), 65535, be), network, be)
	b = append(b, between...)
	for range 3 {
		b = put32(put32(put32(put32(b, rec.sec, be), rec.frac, be), rec.capLen, be), rec.orig, be)
		b = append(append(b, extra...), bytes.Repeat([]byte{0xab}, 60)...)
	}
	return b
}

// The expected values were observed in tshark 4.0 with the same files.
func TestPcapHeaders(t *testing.T) {
	rec := record{1000000, 500, 60, 70}
	swapped := record{1000000, 500, 70, 60}
	const micros, nanos = 1000000_000500000, 1000000_000000500
	for _, c := range []struct {
		name         string
		magic        uint32
		major, minor uint16
		network      uint32
		between      int
		extra        int
		rec          record
		time         int64
		link         uint16
		fcs          int
	}{
		{"microseconds", magicMicro, 2, 4, 1, 0, 0, rec, micros, 1, -1},
		{"nanoseconds", magicNano, 2, 4, 1, 0, 0, rec, nanos, 1, -1},
		{"modified", magicModified, 2, 4, 1, 0, 8, rec, micros, 1, -1},
		{"modified, 28 bytes", magicModified, 2, 4, 1, 0, 12, rec, micros, 1, -1},
		{"Nokia, 20 bytes", magicMicro, 2, 4, 1, 0, 4, rec, micros, 1, -1},
		{"lcap in hardware", magicIxiaHW, 2, 4, 1, 4, 0, rec, nanos, 1, -1},
		{"lcap in software", magicIxiaSW, 2, 4, 1, 4, 0, rec, nanos, 1, -1},
		{"lengths swapped before 2.3", magicMicro, 2, 2, 1, 0, 0, swapped, micros, 1, -1},
		{"lengths swapped in 2.3", magicMicro, 2, 3, 1, 0, 0, swapped, micros, 1, -1},
		{"lengths not swapped in 2.3", magicMicro, 2, 3, 1, 0, 0, rec, micros, 1, -1},
		{"lengths swapped in 543.0", magicMicro, 543, 0, 1, 0, 0, swapped, micros, 1, -1},
		{"AIX", magicMicro, 2, 2, 6, 0, 0, swapped, nanos, 1, -1},
		{"FCS of four bytes", magicMicro, 2, 4, 0x24000001, 0, 0, rec, micros, 1, 4},
		{"upper bits of the link type", magicMicro, 2, 4, 0x00010071, 0, 0, rec, micros, 0x71, -1},
	} {
		for _, be := range []bool{false, true} {
			data := classicFile(be, c.magic, c.major, c.minor, c.network, make([]byte, c.between), make([]byte, c.extra), c.rec)
			list, r := readAll(t, data, Options{})
			if len(list) != 3 || r.DamageTotal().Places != 0 {
				t.Errorf("%s: %d packets, %v", c.name, len(list), r.Damage())
				continue
			}
			for _, p := range list {
				if p.Time != c.time || p.OrigLen != 70 || len(p.Data) != 60 || p.LinkType != c.link || p.Data[0] != 0xab {
					t.Errorf("%s: packet %+v", c.name, p)
				}
				again, _, err := ReadPacketAt(bytes.NewReader(data), &r.Interfaces()[0], p.Offset, nil)
				if err != nil || again.Time != p.Time || !bytes.Equal(again.Data, p.Data) {
					t.Errorf("%s: read again: %+v, %v", c.name, again, err)
				}
			}
			if got := r.Interfaces()[0].FCSLen; got != c.fcs {
				t.Errorf("%s: FCS length %d", c.name, got)
			}
		}
	}
}

func TestReadPacketAt(t *testing.T) {
	dir := captures.Dir(t)
	for _, row := range index(t, dir) {
		src, done, err := openSource(filepath.Join(dir, row.path))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(src)
		done()
		if err != nil || len(data) > 1<<20 {
			continue
		}
		items, r, err := readItems(bytes.NewReader(data), Options{})
		if err != nil {
			continue
		}
		if err := readAgain(items, r, data); err != nil {
			t.Errorf("%s: %v", row.path, err)
		}
	}
}

func readAgain(items []item, r *Reader, data []byte) error {
	var buf []byte
	var ifaces []Interface
	for _, known := range r.Interfaces() {
		i, err := ReadInterfaceAt(bytes.NewReader(data), known.SectionOffset, known.Offset, known.ID)
		if err != nil {
			return err
		}
		ifaces = append(ifaces, i)
	}
	for _, it := range items {
		if it.p == nil {
			continue
		}
		var p Packet
		var err error
		if p, buf, err = ReadPacketAt(bytes.NewReader(data), &ifaces[it.p.Interface], it.p.Offset, buf); err != nil {
			return err
		}
		p.Index, p.Frame, p.Interface = it.p.Index, it.p.Frame, it.p.Interface
		if !same(p, *it.p) || p.Kind != it.p.Kind || p.Drops != it.p.Drops || p.TimeOK != it.p.TimeOK {
			return fmt.Errorf("at %d: %+v, was %+v", p.Offset, p, *it.p)
		}
	}
	return nil
}

func TestReadPacketAtRefusesOtherOffsets(t *testing.T) {
	data := sampleNg(3, false)
	_, r := readAll(t, data, Options{})
	for _, off := range []int64{0, 28, 49, int64(len(data)) - 4, int64(len(data)) + 100} {
		if p, _, err := ReadPacketAt(bytes.NewReader(data), &r.Interfaces()[0], off, nil); err == nil {
			t.Errorf("at %d: %+v", off, p)
		}
	}
	other := r.Interfaces()[0]
	other.ID = 1
	if _, _, err := ReadPacketAt(bytes.NewReader(data), &other, 48, nil); !errors.Is(err, ErrNoPacket) {
		t.Errorf("with another interface: %v", err)
	}
}

// sparse is a file of one header and one packet, 5 GB apart.
type sparse struct {
	head, tail []byte
	at, size   int64
	pos        int64
}

func (s *sparse) Read(p []byte) (int, error) {
	if s.pos >= s.size {
		return 0, io.EOF
	}
	n, _ := s.ReadAt(p[:min(int64(len(p)), s.size-s.pos)], s.pos)
	s.pos += int64(n)
	return n, nil
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(s.head)) {
		copy(p, s.head[off:])
	}
	if rel := s.at - off; rel >= 0 && rel < int64(len(p)) {
		copy(p[rel:], s.tail)
	} else if rel < 0 && -rel < int64(len(s.tail)) {
		copy(p, s.tail[-rel:])
	}
	if left := s.size - off; left < int64(len(p)) {
		return int(max(left, 0)), io.EOF
	}
	return len(p), nil
}

func TestOffsetsBeyondFourGigabytes(t *testing.T) {
	data := sampleNg(1, false)
	s := &sparse{head: data[:48], tail: data[48:], at: 5 << 30}
	s.size = s.at + int64(len(s.tail))
	i := Interface{LinkType: 1, TsResol: 6}
	p, _, err := ReadPacketAt(s, &i, s.at, nil)
	if err != nil || p.Offset != 5<<30 || len(p.Data) != sampleSizes[0] {
		t.Errorf("%+v, %v", p, err)
	}
	if testing.Short() {
		t.Skip("needs time: the walk over 5 GB takes seconds")
	}
	r, err := NewReader(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := drain(r, func(p *Packet) {
		if p.Offset != 5<<30 {
			t.Errorf("offset %d", p.Offset)
		}
	})
	if d := r.Damage(); n != 1 || err != nil || len(d) != 1 || d[0].Kind != DamageZeros || d[0].Length != 5<<30-48 {
		t.Errorf("%d packets, %v, %v", n, err, d)
	}
}

// gopacketReader is the common interface of both readers of pcapgo.
type gopacketReader interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

func TestPacketsMatchGopacket(t *testing.T) {
	dir := captures.Dir(t)
	files, packets := 0, 0
	for _, row := range index(t, dir) {
		src, done, err := openSource(filepath.Join(dir, row.path))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(src)
		done()
		if err != nil {
			t.Fatal(err)
		}
		items, r, err := readItems(bytes.NewReader(data), Options{})
		if err != nil || r.DamageTotal().Places > 0 {
			continue
		}
		var g gopacketReader
		if r.Format() == FormatPcap {
			g, err = pcapgo.NewReader(bytes.NewReader(data))
		} else {
			g, err = pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		}
		if err != nil {
			continue // pcapgo refuses files that others read
		}
		n, why := sameAsGopacket(items, g)
		if why != "" {
			if !gopacketRefuses(why) && row.path != fractionOverflow {
				t.Errorf("%s: %s", row.path, why)
			}
			continue
		}
		files, packets = files+1, packets+n
	}
	t.Logf("%d captures with %d packets agree", files, packets)
}

func sameAsGopacket(items []item, g gopacketReader) (int, string) {
	n := 0
	for _, it := range items {
		if it.p == nil {
			continue
		}
		data, ci, err := g.ReadPacketData()
		if err != nil {
			return n, fmt.Sprintf("packet %d: %v", it.p.Index, err)
		}
		if !bytes.Equal(data, it.p.Data) || ci.Length != int(it.p.OrigLen) {
			return n, fmt.Sprintf("packet %d: %d of %d bytes, gopacket %d of %d", it.p.Index, len(it.p.Data), it.p.OrigLen, len(data), ci.Length)
		}
		if it.p.TimeOK && ci.Timestamp.UnixNano() != it.p.Time {
			return n, fmt.Sprintf("packet %d: time %d, gopacket %d", it.p.Index, it.p.Time, ci.Timestamp.UnixNano())
		}
		n++
	}
	if _, _, err := g.ReadPacketData(); err == nil {
		return n, "gopacket has more packets"
	}
	return n, ""
}

// gopacketRefuses reports whether pcapgo stopped at a length that tshark and tcpdump
// accept and capinfos counts.
func gopacketRefuses(why string) bool {
	return strings.Contains(why, "exceeds snap length") || strings.Contains(why, "exceeds original packet length")
}

// fractionOverflow has a fraction of more than a second, which pcapgo (like tshark)
// multiplies in 32 bits, where it overflows.
const fractionOverflow = "malformed/ndpi-fuzz-2021-06-07-c6c72a0a56.pcap"
