package carve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// capture returns a PCAPNG file with two sections, three interfaces, keys, comments, flags and
// nanosecond resolution, and the places of its packets.
func capture(t testing.TB) ([]byte, []pcapng.Packet) {
	t.Helper()
	var buf bytes.Buffer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := pcapng.NewWriter(&buf, pcapng.Section{}, pcapng.WriterOptions{})
	must(err)
	add := func(name string, link uint16, snap uint32, resol uint8) {
		_, err := w.AddInterface(pcapng.Interface{Name: name, LinkType: link, SnapLen: snap, TsResol: resol, FCSLen: -1, Comments: []string{"about " + name}})
		must(err)
	}
	var more pcapng.OptionList
	packet := func(iface int32, ns int64, text string) {
		more.Reset()
		more.Comment("said before")
		more.Flags(1)
		must(w.WritePacket(&pcapng.Packet{Kind: pcapng.KindEnhanced, Interface: iface, Time: ns, TimeOK: true, OrigLen: uint32(len(text) + 100), Data: []byte(text)}, &more))
	}
	add("eth0", 1, 65535, 9)
	add("eth1", 1, 100, 6)
	must(w.WriteSecrets(pcapng.Secrets{Type: pcapng.SecretsTLS, Data: []byte("CLIENT_RANDOM 00 11\n")}))
	packet(0, 1000000001, "first")
	packet(1, 1000002000, "second")
	must(w.AddSection(pcapng.Section{}))
	add("eth2", 113, 65535, 9)
	packet(0, 1000003003, "third")
	must(w.Flush())

	r, err := pcapng.NewReader(bytes.NewReader(buf.Bytes()), pcapng.Options{})
	must(err)
	var b pcapng.Batch
	var all []pcapng.Packet
	for {
		err := r.Next(&b)
		if err == io.EOF {
			return buf.Bytes(), all
		}
		must(err)
		for _, p := range b.Packets {
			p.Data, p.Options = bytes.Clone(p.Data), bytes.Clone(p.Options)
			all = append(all, p)
		}
	}
}

func input() Source {
	sum := make([]byte, 32)
	copy(sum, []byte{0xab, 0xcd, 0xef, 0x01, 0x02})
	return Source{Path: "data/packets/import/000-a.pcapng", SHA256: sum}
}

func write(t *testing.T, file *File, picks []Pick, o Options) ([]byte, Report, error) {
	t.Helper()
	var out bytes.Buffer
	r, err := Write(context.Background(), &out, []*File{file}, o, func(yield func(Pick) error) error {
		for _, p := range picks {
			if err := yield(p); err != nil {
				return err
			}
		}
		return nil
	})
	return out.Bytes(), r, err
}

func TestWriteKeepsWhatAPacketHad(t *testing.T) {
	data, all := capture(t)
	var picks []Pick
	for _, p := range all {
		picks = append(picks, Pick{Offset: p.Offset, Index: p.Index})
	}
	picks[1].Comments = []string{"a → b"}
	out, report, err := write(t, NewFile(bytes.NewReader(data), int64(len(data)), input()), picks, Options{Application: "test", Secrets: []pcapng.Secrets{{Type: pcapng.SecretsTLS, Data: []byte("CLIENT_RANDOM 22 33\n")}}})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("CLIENT_RANDOM 00 11")) || !bytes.Contains(out, []byte("CLIENT_RANDOM 22 33")) {
		t.Error("the slice has the keys of its file, or not those it was given")
	}
	if report.Packets != 3 || report.Interfaces != 3 || report.Secrets != 1 || !slices.Equal(report.LinkTypes, []uint16{1, 113}) || report.Bytes != int64(len(out)) {
		t.Errorf("report %+v", report)
	}
	var order []pcapng.BlockType
	r, err := pcapng.NewReader(bytes.NewReader(out), pcapng.Options{OnBlock: func(b pcapng.Block) { order = append(order, b.Type) }})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapng.Batch
	var got []pcapng.Packet
	for r.Next(&b) == nil {
		got = append(got, b.Packets...)
		for i, p := range b.Packets {
			want := all[i]
			comments := []string{"said before", "pcapsule:abcdef01#" + string(rune('0'+i))}
			if i == 1 {
				comments = append(comments, "a → b")
			}
			flags, _ := p.Flags()
			if !bytes.Equal(p.Data, want.Data) || p.Time != want.Time || p.OrigLen != want.OrigLen || flags != 1 || !slices.Equal(p.Comments(), comments) {
				t.Errorf("packet %d: %q at %d, %v, flags %d; want %q at %d, %v", i, p.Data, p.Time, p.Comments(), flags, want.Data, want.Time, comments)
			}
			in := b.Interfaces[p.Interface]
			if name := []string{"eth0", "eth1", "eth2"}[i]; in.Name != name || len(in.Comments) != 2 || in.Comments[0] != "about "+name || in.TsResol != []uint8{9, 6, 9}[i] {
				t.Errorf("packet %d: interface %+v", i, in)
			}
			if m, ok := in.ClockMark(); !ok || m.ID != pcapng.ClockOfSection(input().SHA256, []int32{0, 0, 1}[i]) {
				t.Errorf("packet %d: mark %x", i, m.ID)
			}
		}
	}
	if len(got) != 3 {
		t.Fatalf("%d packets, want 3", len(got))
	}
	if i, s := slices.Index(order, pcapng.BlockSecrets), lastIndex(order, pcapng.BlockInterface); i < 0 || i < s {
		t.Errorf("blocks in the order %v, want keys behind interfaces", order)
	}
}

func lastIndex(list []pcapng.BlockType, t pcapng.BlockType) int {
	at := -1
	for i, x := range list {
		if x == t {
			at = i
		}
	}
	return at
}

func TestOnlyUsedInterfacesComeAlong(t *testing.T) {
	data, all := capture(t)
	file := NewFile(bytes.NewReader(data), int64(len(data)), input())
	_, report, err := write(t, file, []Pick{{Offset: all[0].Offset}, {Offset: all[1].Offset}}, Options{})
	if err != nil || report.Interfaces != 2 || report.SnapLen != 65535 {
		t.Errorf("%+v, %v; want 2 interfaces of one snap length", report, err)
	}
}

func TestListedInterfacesSaveAWalk(t *testing.T) {
	var buf bytes.Buffer
	w, err := pcapng.NewWriter(&buf, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	for k, name := range []string{"a", "b"} {
		in.Interfaces = append(in.Interfaces, Interface{Index: int64(k), Offset: w.Offset()})
		if _, err := w.AddInterface(pcapng.Interface{Name: name, LinkType: 1, TsResol: 9, FCSLen: -1}); err != nil {
			t.Fatal(err)
		}
	}
	at := w.Offset()
	if err := w.WritePacket(&pcapng.Packet{Interface: 1, Time: 5, TimeOK: true, OrigLen: 2, Data: []byte("hi")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	file := NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()), in)
	p, i, err := file.Packet(at)
	if err != nil || string(p.Data) != "hi" || i.Name != "b" || !file.listed() {
		t.Errorf("%q of %v, %v", p.Data, i, err)
	}
	in.Interfaces[1].Offset += 4 // bundle.json is wrong: the file itself is read
	p, i, err = NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()), in).Packet(at)
	if err != nil || string(p.Data) != "hi" || i.Name != "b" {
		t.Errorf("after a lie: %q of %v, %v", p.Data, i, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	data, all := capture(t)
	for _, c := range []struct {
		name string
		off  int64
	}{
		{"a place inside a packet", all[0].Offset + 4},
		{"the file's beginning", 0},
		{"a place behind the end", int64(len(data)) + 10},
		{"a place before the beginning", -1},
	} {
		if _, _, err := write(t, NewFile(bytes.NewReader(data), int64(len(data)), input()), []Pick{{Offset: c.off}}, Options{}); err == nil {
			t.Errorf("%s: a packet was found", c.name)
		}
	}
	if _, _, err := write(t, NewFile(strings.NewReader("no capture"), 10, input()), []Pick{{}}, Options{}); err == nil {
		t.Error("a text file gives packets")
	}
	stop := errors.New("stop")
	_, err := Write(context.Background(), io.Discard, nil, Options{}, func(func(Pick) error) error { return stop })
	if err != stop {
		t.Errorf("%v, want the error of picks", err)
	}
}

func TestWriteStopsWhenCancelled(t *testing.T) {
	data, all := capture(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	file := NewFile(bytes.NewReader(data), int64(len(data)), input())
	_, err := Write(ctx, io.Discard, []*File{file}, Options{}, func(yield func(Pick) error) error { return yield(Pick{Offset: all[0].Offset}) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// TestOthersReadASlice counts the packets of a slice of one link type with tshark and tcpdump.
func TestOthersReadASlice(t *testing.T) {
	for _, tool := range []string{"tshark", "tcpdump"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	data, all := capture(t)
	out, _, err := write(t, NewFile(bytes.NewReader(data), int64(len(data)), input()), []Pick{{Offset: all[0].Offset}, {Offset: all[1].Offset}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "slice.pcapng")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range [][]string{{"tshark", "-n", "-r", path}, {"tcpdump", "-n", "-r", path}} {
		got, err := exec.Command(cmd[0], cmd[1:]...).Output()
		if n := bytes.Count(bytes.TrimSpace(got), []byte("\n")) + 1; err != nil || n != 2 {
			t.Errorf("%s: %d packets, %v; want 2\n%s", cmd[0], n, err, got)
		}
	}
}

// FuzzFile checks that no file and no offset in it causes a panic.
func FuzzFile(f *testing.F) {
	data, all := capture(f)
	f.Add(data, all[0].Offset)
	f.Add(data, all[2].Offset)
	f.Add([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9}, int64(24))
	f.Fuzz(func(t *testing.T, data []byte, off int64) {
		file := NewFile(bytes.NewReader(data), int64(len(data)), input())
		p, i, err := file.Packet(off)
		if (err == nil) != (i != nil) || err == nil && len(p.Data) > len(data) {
			t.Errorf("%d bytes at %d: %v, %v", len(p.Data), off, i, err)
		}
	})
}

// BenchmarkWrite carves every packet of a file with one packet per kilobyte.
func BenchmarkWrite(b *testing.B) {
	var buf bytes.Buffer
	w, err := pcapng.NewWriter(&buf, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	in := input()
	in.Interfaces = []Interface{{Offset: w.Offset()}}
	if _, err := w.AddInterface(pcapng.Interface{LinkType: 1, TsResol: 9, FCSLen: -1}); err != nil {
		b.Fatal(err)
	}
	var picks []Pick
	body := make([]byte, 1000)
	for i := range 20000 {
		picks = append(picks, Pick{Offset: w.Offset(), Index: int64(i)})
		if err := w.WritePacket(&pcapng.Packet{Time: int64(i), TimeOK: true, OrigLen: 1000, Data: body}, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(buf.Len()))
	for b.Loop() {
		file := NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()), in)
		_, err := Write(context.Background(), io.Discard, []*File{file}, Options{}, func(yield func(Pick) error) error {
			for _, p := range picks {
				if err := yield(p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
