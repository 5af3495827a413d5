package derive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const inputSecret = "abcdefgh-12345678"

// inputPackets are the packets of a conversation that holds a secret twice.
func inputPackets(t *testing.T) (list []pcapng.Packet) {
	s := newScene(t)
	s.talk(80, say{data: request("X-Api-Key: "+inputSecret+"\r\n", "first"), mss: 40}, answer("", "key "+inputSecret))
	data, err := os.ReadFile(s.save())
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapng.NewReader(bytes.NewReader(data), pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		var b pcapng.Batch
		if err := r.Next(&b); err != nil {
			return list
		}
		list = append(list, b.Packets...)
	}
}

// classic writes a capture in the format of libpcap.
func classic(list []pcapng.Packet, order binary.AppendByteOrder, magic uint32, unit int64) []byte {
	out := order.AppendUint32(nil, magic)
	out = order.AppendUint16(order.AppendUint16(out, 2), 4)
	out = order.AppendUint32(order.AppendUint32(order.AppendUint32(order.AppendUint32(out, 0), 0), 262144), 1)
	for _, p := range list {
		for _, n := range []int64{p.Time / 1e9, p.Time % 1e9 / unit, int64(len(p.Data)), int64(p.OrigLen)} {
			out = order.AppendUint32(out, uint32(n))
		}
		out = append(out, p.Data...)
	}
	return out
}

// bigEndian writes a pcapng capture in big-endian order.
func bigEndian(list []pcapng.Packet) []byte {
	o := binary.BigEndian
	block := func(out []byte, typ uint32, body []byte) []byte {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		n := uint32(12 + len(body))
		return o.AppendUint32(append(o.AppendUint32(o.AppendUint32(out, typ), n), body...), n)
	}
	out := block(nil, 0x0a0d0d0a, []byte("\x1a\x2b\x3c\x4d\x00\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	out = block(out, 1, []byte("\x00\x01\x00\x00\x00\x04\x00\x00\x00\x09\x00\x01\x09\x00\x00\x00\x00\x00\x00\x00"))
	for _, p := range list {
		var b []byte
		for _, n := range []uint32{0, uint32(p.Time >> 32), uint32(p.Time), uint32(len(p.Data)), p.OrigLen} {
			b = o.AppendUint32(b, n)
		}
		out = block(out, 6, append(b, p.Data...))
	}
	return out
}

// little writes a pcapng capture.
func little(t *testing.T, list []pcapng.Packet) []byte {
	var out bytes.Buffer
	w, err := pcapng.NewWriter(&out, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface(pcapng.Interface{LinkType: 1, SnapLen: 262144, TsResol: 9, FCSLen: -1}); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if err := w.WritePacket(&list[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// segments records packets into a ring of two segments.
func segments(t *testing.T, dir string, list []pcapng.Packet) {
	w, err := ring.Create(ring.Options{Dir: dir, Node: "node-a", SyncEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	series, err := w.Series(ring.SeriesOptions{Name: "sockets", LinkType: 1})
	if err != nil {
		t.Fatal(err)
	}
	face, err := series.Interface(pcapng.Interface{Name: "node-a/-/web"})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range list {
		if err := series.Append(&ring.Packet{Interface: face, Time: p.Time, Data: p.Data, OrigLen: p.OrigLen}); err != nil {
			t.Fatal(err)
		}
		if i == len(list)/2 {
			if err := w.Seal(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFormOfInput redacts the same conversation in each format that the exporter reads.
func TestEveryFormOfInput(t *testing.T) {
	list := inputPackets(t)
	half := len(list) / 2
	for _, form := range []struct {
		name  string
		files map[string][]byte
	}{
		{"classic pcap", map[string][]byte{"a.pcap": classic(list, binary.LittleEndian, 0xa1b2c3d4, 1000)}},
		{"classic pcap, big-endian", map[string][]byte{"a.pcap": classic(list, binary.BigEndian, 0xa1b2c3d4, 1000)}},
		{"nanosecond pcap", map[string][]byte{"a.pcap": classic(list, binary.LittleEndian, 0xa1b23c4d, 1)}},
		{"nanosecond pcap, big-endian", map[string][]byte{"a.pcap": classic(list, binary.BigEndian, 0xa1b23c4d, 1)}},
		{"pcapng, big-endian", map[string][]byte{"a.pcapng": bigEndian(list)}},
		{"pcapng in gzip", map[string][]byte{"a.pcapng.gz": []byte(encoders["gzip"](string(little(t, list))))}},
		{"classic pcap in zstd", map[string][]byte{"a.pcap.zst": []byte(encoders["zstd"](string(classic(list, binary.LittleEndian, 0xa1b2c3d4, 1000))))}},
		{"several files", map[string][]byte{"a.pcapng": little(t, list[:half]), "b.pcap": classic(list[half:], binary.BigEndian, 0xa1b23c4d, 1)}},
		{"a file named by the secret", map[string][]byte{inputSecret + ".pcapng": little(t, list)}},
		{"segments of a ring", nil},
	} {
		t.Run(form.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "in")
			if form.files == nil {
				segments(t, dir, list)
			} else if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for name, data := range form.files {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			redactsForm(t, dir)
		})
	}
}

// redactsForm makes a bundle of a folder, seals and redacts it.
func redactsForm(t *testing.T, dir string) {
	out := filepath.Join(t.TempDir(), "original.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{dir}, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	seed, trust := sealed(t, b)
	o := quiet
	o.Seed = seed
	to := filepath.Join(t.TempDir(), "redacted.pcapsule")
	r, err := derive.Redact(context.Background(), b, to, derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}, o)
	if err != nil {
		t.Fatal(err)
	}
	d := opened(t, to)
	if ok, text := yes(derive.Verify(context.Background(), d, trust)); !ok {
		t.Error(text)
	}
	if n := r.Derived.Packets; n.Changed < 2 || n.Removed != 0 || n.Changed+n.Unchanged != b.Manifest.Accounts.Packets {
		t.Errorf("%+v of %d packets", n, b.Manifest.Accounts.Packets)
	}
	for _, f := range d.Payload() {
		data, err := os.ReadFile(d.Path(f.Path))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), inputSecret) || strings.Contains(f.Path, inputSecret) {
			t.Errorf("%s holds the secret", f.Path)
		}
	}
	noneInTables(t, d, inputSecret)
	if d.Manifest.Calls["http1"] != b.Manifest.Calls["http1"] || d.Manifest.Calls["http1"] == 0 {
		t.Errorf("calls %v, want those of %v", d.Manifest.Calls, b.Manifest.Calls)
	}
	for i := range d.Manifest.Inputs {
		if d.Manifest.Inputs[i].Packets != b.Manifest.Inputs[i].Packets {
			t.Errorf("file %d has %d packets, want %d", i, d.Manifest.Inputs[i].Packets, b.Manifest.Inputs[i].Packets)
		}
	}
}
