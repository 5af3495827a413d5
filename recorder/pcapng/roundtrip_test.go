package pcapng

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// content is the content of a file, independent of byte order and offsets.
type content struct {
	Packets []packetContent
	Blocks  []blockContent
	Ifaces  []Interface
}

type packetContent struct {
	Time     int64
	TimeOK   bool
	Iface    uint32
	Section  int32
	Link     uint16
	Orig     uint32
	Frame    int64
	Simple   bool
	Data     string
	Options  string // little-endian
	Comments []string
}

type blockContent struct {
	Type    BlockType
	Section int32
	Frame   int64
	Before  int // packets before it
	Body    string
}

// item is a block or packet of a file, in file order.
type item struct {
	off   int64
	block *Block
	p     *Packet
}

// readItems reads everything and keeps copies, in file order.
func readItems(src io.Reader, opt Options) ([]item, *Reader, error) {
	var blocks, list []item
	opt.OnBlock = func(b Block) {
		b.Body = bytes.Clone(b.Body)
		blocks = append(blocks, item{off: b.Offset, block: &b})
	}
	r, err := NewReader(src, opt)
	if err != nil {
		return nil, nil, err
	}
	var packets []item
	_, err = drain(r, func(p *Packet) {
		q := *p
		q.Data, q.Options = bytes.Clone(p.Data), bytes.Clone(p.Options)
		packets = append(packets, item{off: q.Offset, p: &q})
	})
	for len(blocks) > 0 || len(packets) > 0 {
		if len(packets) == 0 || len(blocks) > 0 && blocks[0].off < packets[0].off {
			list, blocks = append(list, blocks[0]), blocks[1:]
		} else {
			list, packets = append(list, packets[0]), packets[1:]
		}
	}
	return list, r, err
}

// rewrite writes items in the given byte order.
func rewrite(items []item, r *Reader, bigEndian bool) ([]byte, error) {
	var out bytes.Buffer
	var w *Writer
	var err error
	opt := WriterOptions{BigEndian: bigEndian, MaxBlock: maxBlock}
	if r.Format() == FormatPcap {
		if w, err = NewWriter(&out, Section{}, opt); err == nil {
			_, err = w.AddInterface(r.Interfaces()[0])
		}
	}
	for _, it := range items {
		switch {
		case err != nil:
		case it.p != nil:
			p := *it.p
			p.Interface = int32(r.Interfaces()[p.Interface].ID)
			err = w.WritePacket(&p, nil)
		case w == nil:
			var s Section
			if s, err = ParseSection(*it.block); err == nil {
				w, err = NewWriter(&out, s, opt)
			}
		default:
			err = w.WriteBlock(*it.block)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func contentOf(items []item, r *Reader) content {
	var c content
	for _, it := range items {
		if b := it.block; b != nil {
			c.Blocks = append(c.Blocks, blockContent{b.Type, b.Section, b.Frame, len(c.Packets), neutralBody(*b)})
			continue
		}
		p := it.p
		i := r.Interfaces()[p.Interface]
		q := packetContent{
			p.Time, p.TimeOK, i.ID, i.Section, p.LinkType, p.OrigLen, p.Frame, p.Kind == KindSimple, string(p.Data),
			string(appendOptions(nil, BlockEnhanced, p.Options, p.BigEndian, false)), p.Comments(),
		}
		if p.Kind == KindObsolete && p.Drops != 0xFFFF {
			var l OptionList
			l.DropCount(uint64(p.Drops))
			q.Options = string(l.b) + q.Options
		}
		c.Packets = append(c.Packets, q)
	}
	for _, i := range r.Interfaces() {
		i.Options = appendOptions(nil, BlockInterface, i.Options, i.BigEndian, false)
		i.Offset, i.SectionOffset, i.BigEndian, i.clock, i.record = 0, 0, false, clock{}, recordFormat{}
		c.Ifaces = append(c.Ifaces, i)
	}
	return c
}

// neutralBody writes the block in little-endian byte order.
func neutralBody(b Block) string {
	var out bytes.Buffer
	w, err := NewWriter(&out, Section{}, WriterOptions{MaxBlock: maxBlock})
	if err != nil {
		panic(err)
	}
	for range 300 { // statistics need a described interface
		if _, err := w.AddInterface(Interface{LinkType: 1, TsResol: 6, FCSLen: -1}); err != nil {
			panic(err)
		}
	}
	if err := w.Flush(); err != nil {
		panic(err)
	}
	out.Reset()
	if err := w.WriteBlock(b); err != nil {
		return "unchanged: " + string(b.Body)
	}
	if err := w.Flush(); err != nil {
		panic(err)
	}
	return out.String()
}

func compare(t *testing.T, name string, want, got content) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Interface{}, clock{}, recordFormat{}),
		cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: changed by writing and reading (-want +got):\n%.3000s", name, diff)
	}
}

func TestRoundTrip(t *testing.T) {
	dir := captures.Dir(t)
	files := 0
	for _, row := range index(t, dir) {
		if !strings.HasPrefix(row.path, "pcapng/") && !strings.HasSuffix(row.path, ".pcapng") {
			continue
		}
		for _, bigEndian := range []bool{false, true} {
			roundTrip(t, filepath.Join(dir, row.path), bigEndian)
		}
		files++
	}
	t.Logf("%d captures in both byte orders", files)
}

func roundTrip(t *testing.T, path string, bigEndian bool) {
	t.Helper()
	src, done, err := openSource(path)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	items, r, err := readItems(src, Options{})
	if errors.Is(err, ErrNotCapture) || errors.Is(err, ErrTooShort) {
		return
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	if hasKind(r, DamageVersion) || hasKind(r, DamageTrailer) {
		return // skipped blocks cannot be written; frame numbers end at damage
	}
	want := contentOf(items, r)
	out, err := rewrite(items, r, bigEndian)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	again, r2, err := readItems(bytes.NewReader(out), Options{})
	if err != nil {
		t.Errorf("%s: reading the written file: %v", path, err)
		return
	}
	got := contentOf(again, r2)
	if r.Format() == FormatPcap {
		// The written file has a section and an interface that the pcap file does not have.
		want.Blocks, got.Blocks = nil, nil
		got.Ifaces[0].Options = nil
		want.Ifaces[0].Options = nil
	}
	compare(t, path, want, got)
}

func hasKind(r *Reader, k DamageKind) bool {
	for _, d := range r.Damage() {
		if d.Kind == k {
			return true
		}
	}
	return false
}
