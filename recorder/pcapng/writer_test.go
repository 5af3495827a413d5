package pcapng

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const journal = "MESSAGE=hi\nBIN\n\x02\x00\x00\x00\x00\x00\x00\x00a\n\nX=y\n" // an entry of systemd

func newTestWriter(t testing.TB, opt WriterOptions) (*Writer, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Section{Application: "test"}, opt)
	if err != nil {
		t.Fatal(err)
	}
	return w, &out
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// everything is an interface with every field set.
func everything() Interface {
	return Interface{
		LinkType: 1, SnapLen: 65535, Name: "node/default/web-0", Description: "the web",
		Filter: "tcp port 80", OS: "Linux", Hardware: "virtio", TimeZone: "Europe/Berlin",
		IPv4: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")},
		IPv6: []netip.Prefix{netip.MustParsePrefix("2001:db8::7/64")},
		MAC:  []byte{1, 2, 3, 4, 5, 6}, EUI: []byte{1, 2, 3, 4, 5, 6, 7, 8},
		Speed: 1e9, TxSpeed: 2e9, RxSpeed: 3e9, TsResol: 9, TsOffset: -5, FCSLen: 4,
		Comments: []string{`{"pod":"web-0"}`, "second"},
	}
}

func TestInterfaceRoundTrip(t *testing.T) {
	for _, be := range []bool{false, true} {
		w, out := newTestWriter(t, WriterOptions{BigEndian: be})
		_, err := w.AddInterface(everything())
		must(t, err, w.Flush())
		_, r := readAll(t, out.Bytes(), Options{})
		got := r.Interfaces()[0]
		want := everything()
		ignore := cmpopts.IgnoreFields(Interface{}, "Options", "Offset", "SectionOffset", "BigEndian", "clock", "record")
		if diff := cmp.Diff(want, got, ignore, cmpopts.EquateComparable(netip.Prefix{})); diff != "" || got.BigEndian != be {
			t.Errorf("big-endian %t (-want +got):\n%s", be, diff)
		}
	}
}

func TestPacketOptionsRoundTrip(t *testing.T) {
	for _, be := range []bool{false, true} {
		w, out := newTestWriter(t, WriterOptions{BigEndian: be})
		id, err := w.AddInterface(Interface{LinkType: 276, TsResol: 9, FCSLen: -1})
		must(t, err)
		var l OptionList
		l.Comment("one")
		l.Comment("zwei ü")
		l.Flags(Flags(DirectionOutbound) | FlagSegmentation | FlagChecksumNotReady | 4<<5)
		l.DropCount(7)
		l.PacketID(0x0102030405060708)
		l.Queue(3)
		l.ProcessThread(4711, 4712)
		l.Hash(Hash{2, []byte{0xde, 0xad, 0xbe, 0xef}})
		l.Verdict(Verdict{1, []byte{0, 0, 0, 0, 0, 0, 0, 2}})
		l.Custom(OptCustomBytes, 32473, []byte("ours"))
		must(t, w.WritePacket(&Packet{Interface: id, Time: 1700000000_123456789, TimeOK: true, OrigLen: 1500, Data: []byte("abcde")}, &l), w.Flush())
		list, _ := readAll(t, out.Bytes(), Options{})
		p := list[0]
		flags, ok1 := p.Flags()
		drops, ok2 := p.DropCount()
		pid, ok3 := p.PacketID()
		queue, ok4 := p.Queue()
		proc, thread, ok5 := p.ProcessThread()
		if !ok1 || flags.Direction() != DirectionOutbound || flags.FCSLen() != 4 || flags&FlagSegmentation == 0 ||
			!ok2 || drops != 7 || !ok3 || pid != 0x0102030405060708 || !ok4 || queue != 3 || !ok5 || proc != 4711 || thread != 4712 {
			t.Errorf("big-endian %t: flags %x drops %d id %x queue %d process %d %d", be, flags, drops, pid, queue, proc, thread)
		}
		if c := p.Comments(); len(c) != 2 || c[1] != "zwei ü" {
			t.Errorf("comments %q", c)
		}
		if h, v := p.Hashes(), p.Verdicts(); len(h) != 1 || h[0].Algorithm != 2 || h[0].Value[0] != 0xde || len(v) != 1 || v[0].Kind != 1 || len(v[0].Value) != 8 {
			t.Errorf("hashes %v, verdicts %v", h, v)
		}
		custom := false
		for it := IterOptions(p.Options, p.BigEndian); it.Next(); {
			if pen, data, ok := it.Custom(p.BigEndian); ok {
				custom = pen == 32473 && string(data) == "ours"
			}
		}
		if !custom || p.Time != 1700000000_123456789 || p.OrigLen != 1500 || string(p.Data) != "abcde" || p.LinkType != 276 {
			t.Errorf("packet %+v, custom option %t", p, custom)
		}
	}
}

func TestOtherBlocksRoundTrip(t *testing.T) {
	for _, be := range []bool{false, true} {
		w, out := newTestWriter(t, WriterOptions{BigEndian: be})
		_, err := w.AddInterface(Interface{LinkType: 1, TsResol: 9, FCSLen: -1})
		must(t, err)
		ticks, _ := w.Ticks(0, 1700000000e9)
		must(t,
			w.WriteNames(Names{Records: []NameRecord{
				{Type: NameIPv4, Addr: netip.MustParseAddr("192.0.2.1"), Names: []string{"a.example", "b.example"}},
				{Type: NameIPv6, Addr: netip.MustParseAddr("2001:db8::1"), Names: []string{"c.example"}},
				{Type: NameEUI48, EUI: []byte{1, 2, 3, 4, 5, 6}, Names: []string{"card"}},
			}, Server: "dns.example", ServerIP: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}}),
			w.WriteStatistics(Statistics{Interface: 0, Ticks: ticks, Start: Counter{ticks, true}, End: Counter{ticks + 5, true},
				Received: Counter{100, true}, Dropped: Counter{1, true}, Accepted: Counter{99, true}, OSDropped: Counter{2, true}, Delivered: Counter{97, true}}),
			w.WriteSecrets(Secrets{Type: SecretsTLS, Data: []byte("CLIENT_RANDOM 00 11\n")}),
			w.WriteCustom(Custom{PEN: 32473, Data: []byte("12345678")}, true),
			w.WriteBlock(Block{Type: BlockJournal, Body: []byte(journal)}),
			w.AddSection(Section{Comments: []string{"second section"}}), w.Flush())
		seen := map[BlockType]int{}
		_, err = NewReader(bytes.NewReader(out.Bytes()), Options{})
		must(t, err)
		_, r := readAll(t, out.Bytes(), Options{OnBlock: nil})
		if r.Sections() != 2 || r.DamageTotal().Places != 0 {
			t.Errorf("%d sections, %v", r.Sections(), r.Damage())
		}
		r2, err := NewReader(bytes.NewReader(out.Bytes()), Options{OnBlock: func(b Block) {
			seen[b.Type]++
			checkBlock(t, b)
		}})
		must(t, err)
		_, err = drain(r2, nil)
		must(t, err)
		if len(seen) != 7 || seen[BlockSection] != 2 {
			t.Errorf("blocks %v", seen)
		}
	}
}

func checkBlock(t *testing.T, b Block) {
	t.Helper()
	switch b.Type {
	case BlockNames:
		n, err := ParseNames(b)
		if err != nil || len(n.Records) != 3 || n.Records[0].Names[1] != "b.example" || n.Records[1].Addr.String() != "2001:db8::1" ||
			n.Records[2].Names[0] != "card" || n.Server != "dns.example" || len(n.ServerIP) != 2 {
			t.Errorf("names %+v, %v", n, err)
		}
	case BlockStatistics:
		s, err := ParseStatistics(b)
		i := Interface{TsResol: 9}
		if ns, ok := i.Time(s.Ticks); err != nil || !ok || ns != 1700000000e9 || s.End.N != s.Start.N+5 || s.Received.N != 100 ||
			s.Dropped.N != 1 || s.Accepted.N != 99 || s.OSDropped.N != 2 || s.Delivered.N != 97 {
			t.Errorf("statistics %+v, %v", s, err)
		}
	case BlockSecrets:
		if s, err := ParseSecrets(b); err != nil || s.Type != SecretsTLS || string(s.Data) != "CLIENT_RANDOM 00 11\n" {
			t.Errorf("secrets %+v, %v", s, err)
		}
	case BlockCustomStay:
		if c, err := ParseCustom(b); err != nil || c.PEN != 32473 || string(c.Data) != "12345678" || b.Frame == 0 {
			t.Errorf("custom %+v, %v", c, err)
		}
	case BlockJournal:
		if text := bytes.TrimRight(b.Body, "\x00"); string(text) != journal {
			t.Errorf("journal %q", text)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w, out := newTestWriter(t, WriterOptions{MaxBlock: 262144})
	long := &OptionList{}
	long.Comment(strings.Repeat("x", 65536))
	_, err := w.AddInterface(Interface{LinkType: 1, TsResol: 6, FCSLen: -1})
	must(t, err)
	before := w.Offset()
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"a packet of no interface", w.WritePacket(&Packet{Interface: 1, TimeOK: true}, nil), nil},
		{"a packet of a negative interface", w.WritePacket(&Packet{Interface: -1, TimeOK: true}, nil), nil},
		{"a time before 1970", w.WritePacket(&Packet{Time: -1, TimeOK: true}, nil), nil},
		{"a block over the limit", w.WritePacket(&Packet{TimeOK: true, Data: make([]byte, 262144)}, nil), ErrBlockTooLong},
		{"a packet over the limit", w.WritePacket(&Packet{TimeOK: true, Data: make([]byte, 1<<20)}, nil), ErrBlockTooLong},
		{"an option over the limit", w.WritePacket(&Packet{TimeOK: true}, long), ErrOptionTooLong},
		{"secrets over the limit", w.WriteSecrets(Secrets{Data: make([]byte, 1<<20)}), ErrBlockTooLong},
		{"statistics of no interface", w.WriteStatistics(Statistics{Interface: 9}), nil},
		{"a packet as a block", w.WriteBlock(Block{Type: BlockEnhanced}), nil},
		{"an unknown block with the other byte order", w.WriteBlock(Block{Type: 0x80000001, BigEndian: true}), ErrByteOrder},
	} {
		if c.err == nil || c.want != nil && !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	if w.Offset() != before {
		t.Errorf("%d bytes of refused blocks", w.Offset()-before)
	}
	must(t, w.WritePacket(&Packet{TimeOK: true, Time: 5000, OrigLen: 1, Data: []byte{1}}, nil), w.Flush())
	if list, r := readAll(t, out.Bytes(), Options{}); len(list) != 1 || r.DamageTotal().Places != 0 {
		t.Errorf("%d packets, %v", len(list), r.Damage())
	}
}

// checkWithTools checks that tshark and tcpdump read a file to its end.
func checkWithTools(t *testing.T, data []byte, packets int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.pcapng")
	must(t, os.WriteFile(path, data, 0o600))
	for _, tool := range [][]string{{"tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.comment"}, {"tcpdump", "-n", "-r", path}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Skip("needs " + tool[0])
		}
		out, err := exec.Command(tool[0], tool[1:]...).Output()
		if n := strings.Count(string(out), "\n") - strings.Count(string(out), "\n\t"); err != nil || n != packets {
			t.Errorf("%s: %d packets, want %d: %v", tool[0], n, packets, err)
		}
	}
}

func TestPacketWithoutTimeIsCopied(t *testing.T) {
	in, buf := newTestWriter(t, WriterOptions{})
	_, err := in.AddInterface(Interface{LinkType: 1, SnapLen: 3, TsResol: 6, FCSLen: -1})
	must(t, err, in.WritePacket(&Packet{Kind: KindSimple, OrigLen: 9, Data: []byte("abc")}, nil), in.Flush())
	for _, withComment := range []bool{false, true} {
		from, r := readAll(t, buf.Bytes(), Options{})
		w, out := newTestWriter(t, WriterOptions{})
		more := &OptionList{}
		if withComment {
			more.Comment("mine")
		}
		must(t, NewCopier(w).Packet(0, &r.Interfaces()[0], &from[0], more), w.Flush())
		checkWithTools(t, out.Bytes(), 1)
		list, _ := readAll(t, out.Bytes(), Options{})
		p := list[0]
		if p.TimeOK != withComment || string(p.Data) != "abc" || p.OrigLen != 9 || withComment && len(p.Comments()) != 2 {
			t.Errorf("comment %t: %+v %q", withComment, p, p.Comments())
		}
	}
}
