package exporter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// FuzzRun makes bundles from damaged captures. The result must be a bundle with consistent
// accounts, or an error that says the input is not a capture; never a panic.
func FuzzRun(f *testing.F) {
	for _, name := range []string{"SYNs from random addresses", "requests whose headers never end", "answers of gzip bombs",
		"commands of six bytes", "fragments whose datagrams stay in pieces"} {
		data, err := io.ReadAll(floods[name].make(6))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 16<<10)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"),
			Options{Release: "test", Stdin: bytes.NewReader(data), Repanic: true, Jobs: 1})
		if err != nil {
			var in *InputError
			if !errors.As(err, &in) && !errors.Is(err, pcapng.ErrNotCapture) {
				t.Fatalf("neither a bundle nor a capture's fault: %v", err)
			}
			return
		}
		a := &m.Accounts
		if a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
			t.Fatalf("accounts do not add up: %+v", *a)
		}
	})
}

// fuzzTexts are the payloads from which FuzzPackets chooses.
var fuzzTexts = []string{
	"", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "+PONG\r\n",
	"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", "\x00\x01\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01",
	"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "220 a\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00",
}

// fuzzPackets makes packets between a few hosts from steps of ten bytes: segments that continue each other, repeat, overlap
// or jump, datagrams, ICMP errors about earlier packets, and copies at a second interface, in VLANs or with another
// address of the server.
func fuzzPackets(in []byte) []byte {
	w := frames.NewFile(1, 1)
	next := [2]uint32{math.MaxUint32 - 90, 1000}
	now := int64(0)
	var sent [][]byte
	for ; len(in) >= 10 && len(sent) < 200; in = in[10:] {
		dir, kind, link, port := int(in[0]&1), in[0]>>1&7, int(in[0]>>4&1), uint16(40000+int(in[0]>>5&1))
		now += int64(in[1]) << (in[1] & 15)
		if in[1] == 0xff {
			now -= 5_000_000
		}
		text := []byte(fuzzTexts[int(in[2])%len(fuzzTexts)])
		if from := int(in[3] & 15); from < len(text) {
			text = text[from:]
		}
		text = text[:min(len(text), 4+int(in[3]>>4)*8)]
		src, dst, sport, dport := byte(1), byte(2), port, uint16(80)
		if in[4]&8 != 0 {
			dst = 3
		}
		if in[4]&16 != 0 && kind < 6 {
			dport = 53
		}
		if dir == 1 {
			src, dst, sport, dport = dst, src, dport, sport
		}
		var packet []byte
		switch {
		case kind < 4: // TCP
			seq := next[dir] + uint32(int32(int8(in[5])))<<(in[6]&24)
			ack := next[dir^1] + uint32(int32(int8(in[7])))<<(in[8]&24)
			flags := []byte{0x18, 0x10, 0x02, 0x12, 0x11, 0x04, 0x14, 0x19}[in[9]&7]
			h := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
			h = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(h, seq), ack)
			h = append(h, 0x50, flags, 0x20, 0, 0, 0, 0, 0)
			packet = frames.IPv4(6, uint16(in[6])<<3|uint16(in[9]>>3), 0, src, dst, append(h, text...))
			if in[5] == 0 {
				next[dir] = seq + uint32(len(text))
				if flags&3 != 0 {
					next[dir]++
				}
			}
		case kind == 4:
			packet = frames.UDP(uint16(in[5]), src, dst, sport, dport, text)
		case len(sent) == 0:
			continue
		case kind == 5: // ICMP error
			quote := sent[int(in[5])%len(sent)]
			packet = frames.ICMPError(dst, 3, in[6]&15, quote[:min(len(quote), 28+int(in[7]))])
		default: // seen or sent again
			packet = bytes.Clone(sent[int(in[5])%len(sent)])
			if kind == 7 && len(packet) > 40 {
				packet[len(packet)-1] ^= in[6] & 1
				packet[4] ^= in[6] >> 7 // another IP identification
			}
		}
		sent = append(sent, packet)
		frame := frames.Ethernet(0x800, [][]uint16{nil, {7}, {8}, {7, 8}}[in[4]&3], packet)
		cut := 0
		if in[4]&0xc0 == 0xc0 {
			cut = min(len(text)/2, len(frame)-54)
		}
		w.Add(link, now, frame, max(cut, 0))
	}
	return w.Buf.Bytes()
}

// FuzzPackets makes bundles from well-formed packets. Each byte of a payload is accounted for, and the bundle does not
// depend on the number of workers.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x03\x00\x01\x01\xf0\x00\x00\x00\x00\x00\x00\x01\x01\x02\xf0\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x08\x01\x06\xf0\x10\x00\x00\x00\x00\x00\x0b\x01\x00\x00\x00\x00\x03\xff\x00\x00\x1c\x01\x00\x00\x01\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		data := fuzzPackets(in)
		var list [2][]byte
		for i := range list {
			path := filepath.Join(t.TempDir(), "x.pcapsule")
			m, err := Run(t.Context(), []string{"-"}, path, Options{Release: "test", Stdin: bytes.NewReader(data), Repanic: true, Jobs: 1 + 2*i})
			if err != nil {
				t.Fatal(err)
			}
			if a := &m.Accounts; a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
				t.Fatalf("accounts do not add up: %+v", *a)
			}
			if list[i], err = os.ReadFile(filepath.Join(path, "manifest-sha256.txt")); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(list[0], list[1]) {
			t.Fatalf("one worker makes\n%s\nthree make\n%s", list[0], list[1])
		}
	})
}

// TestDamagedCapturesKeepTheirAccounts changes bytes of public captures at random.
// make nightly takes all of them.
func TestDamagedCapturesKeepTheirAccounts(t *testing.T) {
	files := readable(t, captureFiles(t, "*/*.pcap*"))
	rnd := rand.New(rand.NewSource(1))
	rnd.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	if !nightly.On() {
		files = files[:min(len(files), 60)]
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + len(data)/200 {
			if at := 24 + rnd.Intn(len(data)); at < len(data) {
				data[at] = byte(rnd.Intn(256))
			}
		}
		m, err := Run(context.Background(), []string{"-"}, filepath.Join(t.TempDir(), "x.pcapsule"),
			Options{Release: "test", Stdin: bytes.NewReader(data), Repanic: true})
		var in *InputError
		if errors.As(err, &in) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if a := &m.Accounts; a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
			t.Errorf("%s: accounts do not add up: %+v", path, *a)
		}
	}
}
