package pcapng

import (
	"bytes"
	"strings"
	"testing"
)

// editable is a capture with keys, comments and three packets.
func editable(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, Section{Comments: []string{"about the section"}}, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface(Interface{LinkType: 1, SnapLen: 65535, TsResol: 9, FCSLen: -1, Name: "eth0", Comments: []string{"about the interface"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteSecrets(Secrets{Type: SecretsTLS, Data: []byte("CLIENT_RANDOM 00 11\n")}); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"first packet", "second packet", "third packet"} {
		p := Packet{Kind: KindEnhanced, Time: int64(i), TimeOK: true, OrigLen: uint32(len(text)), Data: []byte(text)}
		var more OptionList
		more.Comment("about the packet")
		more.Comment("keep me")
		if err := w.WritePacket(&p, &more); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// keepAllOf changes nothing.
func keepAllOf() Edit {
	return Edit{Packet: func(*Packet) bool { return true }, Block: func(BlockType, []byte, bool) bool { return true }, Comment: func(BlockType, []byte) bool { return true }}
}

func TestRewriteKeepsEveryByte(t *testing.T) {
	in := editable(t)
	var out bytes.Buffer
	said, err := Rewrite(&out, bytes.NewReader(in), keepAllOf())
	if err != nil || !bytes.Equal(out.Bytes(), in) || said.Packets != 3 || said.Written != int64(len(in)) {
		t.Errorf("%+v, %v: %d bytes of %d", said, err, out.Len(), len(in))
	}
}

func TestRewriteLeavesOutAndChanges(t *testing.T) {
	e := keepAllOf()
	e.Packet = func(p *Packet) bool {
		copy(p.Data, bytes.ReplaceAll(p.Data, []byte("third"), []byte("xxxxx")))
		return p.Index != 1
	}
	e.Block = func(typ BlockType, _ []byte, _ bool) bool { return typ != BlockSecrets }
	e.Comment = func(_ BlockType, text []byte) bool { return strings.HasPrefix(string(text), "keep") }
	var out bytes.Buffer
	said, err := Rewrite(&out, bytes.NewReader(editable(t)), e)
	if err != nil || said.Packets != 2 || said.Removed != 1 || said.Blocks != 1 || said.Comments != 4 {
		t.Fatalf("%+v, %v", said, err)
	}
	for _, gone := range []string{"CLIENT_RANDOM", "about", "second", "third"} {
		if bytes.Contains(out.Bytes(), []byte(gone)) {
			t.Errorf("the file still has %q", gone)
		}
	}
	r, err := NewReader(&out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	if err := r.Next(&b); err != nil || len(b.Packets) != 2 || string(b.Packets[1].Data) != "xxxxx packet" || b.Packets[1].Time != 2 || r.DamageTotal().Places != 0 {
		t.Errorf("%v: %d packets, %+v", err, len(b.Packets), r.DamageTotal())
	}
	if comments := b.Packets[0].Comments(); len(comments) != 1 || comments[0] != "keep me" {
		t.Errorf("comments %q", comments)
	}
}

// TestRewriteDropsWhatIsNoBlock has bytes between blocks, which nobody can search.
func TestRewriteDropsWhatIsNoBlock(t *testing.T) {
	in := editable(t)
	at := bytes.Index(in, []byte("first packet")) - 28
	in = append(append(append([]byte(nil), in[:at]...), strings.Repeat("between the blocks! ", 5)...), in[at:]...)
	var out bytes.Buffer
	said, err := Rewrite(&out, bytes.NewReader(in), keepAllOf())
	if err != nil || bytes.Contains(out.Bytes(), []byte("between")) || said.Damaged == 0 || said.Packets != 3 {
		t.Errorf("%+v, %v", said, err)
	}
}

func TestRewriteOfClassicPcap(t *testing.T) {
	in := []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00")
	for _, text := range []string{"first packet", "second one", "third packet"} {
		in = append(in, 1, 0, 0, 0, 2, 0, 0, 0, byte(len(text)), 0, 0, 0, byte(len(text)), 0, 0, 0)
		in = append(in, text...)
	}
	var out bytes.Buffer
	if _, err := Rewrite(&out, bytes.NewReader(in), keepAllOf()); err != nil || !bytes.Equal(out.Bytes(), in) {
		t.Fatalf("%v: %q", err, out.Bytes())
	}
	e := keepAllOf()
	e.Packet = func(p *Packet) bool { return p.Index != 1 }
	out.Reset()
	said, err := Rewrite(&out, bytes.NewReader(in), e)
	if err != nil || said.Removed != 1 || bytes.Contains(out.Bytes(), []byte("second")) || !bytes.HasSuffix(out.Bytes(), []byte("third packet")) {
		t.Errorf("%+v, %v", said, err)
	}
}
