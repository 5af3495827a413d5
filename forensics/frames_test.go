package forensics_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// TestFramesAreThoseOfTheirFiles checks that a printed citation selects the packets that it was printed for.
func TestFramesAreThoseOfTheirFiles(t *testing.T) {
	c := open(t, sample(t, "dns.pcap"))
	x, err := c.Call(ctx, "#3", forensics.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, r := slice(t, c, forensics.Selection{Frames: []string{x.Frames}})
	if r.Packets != x.Cites.Count() {
		t.Errorf("%s has %d packets, want %d", x.Frames, r.Packets, x.Cites.Count())
	}
	for _, p := range x.Packets {
		if p.Frame != p.PacketNo+1 {
			t.Errorf("packet %d is frame %d", p.PacketNo, p.Frame)
		}
	}
}

// TestCitationsOpenInTshark reads the frames that calls cite with tshark and compares their bytes with
// those of the packets.
func TestCitationsOpenInTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	http := filepath.Join("..", "samples", "http1.pcapng")
	dns := filepath.Join("..", "samples", "dns.pcap")
	for _, tt := range []struct {
		name  string
		files func(t *testing.T, dir string) []string
		want  string // in a citation
	}{
		{"packets of two nanosecond files alternate", func(t *testing.T, dir string) []string {
			all := packets(t, http)
			return []string{nanoseconds(t, filepath.Join(dir, "even.pcap"), all, 0, 2), nanoseconds(t, filepath.Join(dir, "odd.pcap"), all, 1, 2)}
		}, "even.pcap frame"},
		{"blocks that Wireshark counts, and others", func(t *testing.T, dir string) []string {
			return []string{withBlocks(t, http, filepath.Join(dir, "blocks.pcapng"))}
		}, "blocks.pcapng frame"},
		{"several sections and a second file", func(t *testing.T, dir string) []string {
			return []string{joined(t, http, filepath.Join("..", "samples", "grpc.pcapng")), dns}
		}, "joined.pcapng frame"},
		{"two files with one name", func(t *testing.T, dir string) []string {
			other := filepath.Join(dir, "other", filepath.Base(dns))
			if err := os.Mkdir(filepath.Dir(other), 0o700); err != nil {
				t.Fatal(err)
			}
			return []string{dns, nanoseconds(t, other, packets(t, http), 0, 1)}
		}, "import/001-dns.pcap frame"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := tt.files(t, t.TempDir())
			c := open(t, bundled(t, files...))
			inputs := c.Bundles()[0].Manifest.Inputs
			shown, original := map[string][][]byte{}, map[int64][]pcapng.Packet{}
			for i, label := range labels(c) {
				at := slices.IndexFunc(files, func(f string) bool { return equalFiles(t, f, filepath.Join(c.Bundles()[0].Dir, inputs[i].Path)) })
				shown[label], original[int64(inputs[i].FileID)] = tsharkFrames(t, files[at]), packets(t, files[at])
			}
			want := map[int64][]byte{}
			for _, row := range query(t, c, forensics.Query{SQL: "select packet_no, file_id, file_index from packets", Limit: 1 << 20}).Rows {
				want[row[0].(int64)] = original[row[1].(int64)][row[2].(int64)].Data
			}
			all := ""
			for _, row := range query(t, c, forensics.Query{SQL: "select call_no from calls order by call_no", Limit: 1 << 20}).Rows {
				x, err := c.Call(ctx, fmt.Sprintf("#%d", row[0]), forensics.CallOptions{})
				if err != nil {
					t.Fatal(err)
				}
				all += x.Frames + "\n"
				var cited, packets []string
				for _, f := range readCitation(t, x.Frames) {
					if f.frame > len(shown[f.file]) {
						t.Fatalf("call %v cites %s, but tshark shows %d frames in %s", row[0], x.Frames, len(shown[f.file]), f.file)
					}
					cited = append(cited, string(shown[f.file][f.frame-1]))
				}
				for _, r := range x.Cites {
					for no := r.First; no <= r.Last; no++ {
						packets = append(packets, string(want[no]))
					}
				}
				slices.Sort(cited)
				slices.Sort(packets)
				if len(cited) == 0 || !slices.Equal(cited, packets) {
					t.Errorf("call %v cites %s: tshark shows other bytes", row[0], x.Frames)
				}
			}
			if !strings.Contains(all, tt.want) {
				t.Errorf("no citation has %q:\n%s", tt.want, all)
			}
			if t.Failed() {
				return
			}
			first, _, _ := strings.Cut(all, "\n")
			if _, r := slice(t, c, forensics.Selection{Frames: []string{first}}); r.Packets != int64(len(readCitation(t, first))) {
				t.Errorf("%s selects %d packets", first, r.Packets)
			}
		})
	}
}

// TestPacketsThatWiresharkDoesNotShow cites packets behind the place where Wireshark stops reading.
func TestPacketsThatWiresharkDoesNotShow(t *testing.T) {
	c := open(t, sample(t, "hard/corrupt-block.pcapng"))
	rows := query(t, c, forensics.Query{SQL: "select packet_no, file_index from packets where coalesce(frame, 0) = 0 order by 1", Limit: 1}).Rows
	if len(rows) == 0 {
		t.Fatal("Wireshark shows every packet")
	}
	texts, err := c.Cite(ctx, []forensics.Citation{forensics.CitePacket(0, rows[0][0].(int64))})
	if want := fmt.Sprintf("corrupt-block.pcapng packet %d (not shown by Wireshark)", rows[0][1].(int64)+1); err != nil || texts[0] != want {
		t.Fatalf("%q, %v, want %q", texts, err, want)
	}
	if _, r := slice(t, c, forensics.Selection{Frames: texts}); r.Packets != 1 {
		t.Errorf("%s selects %d packets", texts[0], r.Packets)
	}
}

type citedFrame struct {
	file  string
	frame int
}

// readCitation reads a citation as a person does.
func readCitation(t *testing.T, text string) (out []citedFrame) {
	t.Helper()
	for part := range strings.SplitSeq(text, "; ") {
		words := strings.Fields(part)
		if len(words) != 3 || words[1] != "frame" && words[1] != "frames" {
			t.Fatalf("citation %q", text)
		}
		for r := range strings.SplitSeq(words[2], ",") {
			var first, last int
			if n, _ := fmt.Sscanf(r, "%d-%d", &first, &last); n == 1 {
				last = first
			} else if n == 0 {
				t.Fatalf("citation %q", text)
			}
			for ; first <= last; first++ {
				out = append(out, citedFrame{words[0], first})
			}
		}
	}
	return out
}

// labels are the names of the files of a bundle in citations.
func labels(c *forensics.Case) (out []string) {
	inputs := c.Bundles()[0].Manifest.Inputs
	for _, in := range inputs {
		name := in.Name
		for _, other := range inputs {
			if other.FileID != in.FileID && other.Name == in.Name {
				name = strings.TrimPrefix(in.Path, "data/packets/")
			}
		}
		out = append(out, name)
	}
	return out
}

func equalFiles(t *testing.T, a, b string) bool {
	t.Helper()
	var data [2][]byte
	for i, path := range []string{a, b} {
		var err error
		if data[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Equal(data[0], data[1])
}

// tsharkFrames are the bytes of all frames that tshark shows in a file.
func tsharkFrames(t *testing.T, path string) (out [][]byte) {
	t.Helper()
	text, err := exec.Command("tshark", "-n", "-r", path, "-T", "jsonraw", "-j", "frame").Output()
	if err != nil {
		t.Fatal(err)
	}
	var frames []struct {
		Source struct {
			Layers struct {
				Raw []any `json:"frame_raw"`
			} `json:"layers"`
		} `json:"_source"`
	}
	if err := json.Unmarshal(text, &frames); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		var data []byte
		if raw := f.Source.Layers.Raw; len(raw) > 0 {
			digits, _ := raw[0].(string)
			data, _ = hex.DecodeString(digits)
		}
		out = append(out, data)
	}
	return out
}

// nanoseconds writes every step-th packet to a pcap file with times in nanoseconds.
func nanoseconds(t *testing.T, path string, list []pcapng.Packet, from, step int) string {
	t.Helper()
	le := binary.LittleEndian
	out := le.AppendUint32(nil, 0xa1b23c4d)
	out = append(out, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
	out = le.AppendUint32(out, uint32(list[0].LinkType))
	for i := from; i < len(list); i += step {
		p := list[i]
		ns := int64(p.Time)
		for _, v := range []uint32{uint32(ns / 1e9), uint32(ns % 1e9), uint32(len(p.Data)), uint32(cmp.Or(int(p.OrigLen), len(p.Data)))} {
			out = le.AppendUint32(out, v)
		}
		out = append(out, p.Data...)
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withBlocks copies a pcapng file and adds blocks between its packets: a journal entry and a custom block, which
// Wireshark numbers as frames, and statistics, names and an unknown block, which it does not.
func withBlocks(t *testing.T, from, to string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	block := func(kind uint32, body []byte) []byte {
		body = append(body, make([]byte, -len(body)&3)...)
		size := uint32(12 + len(body))
		return le.AppendUint32(append(le.AppendUint32(le.AppendUint32(nil, kind), size), body...), size)
	}
	extra := [][]byte{
		block(9, []byte("__REALTIME_TIMESTAMP=1763630264000000\nMESSAGE=started\n\n")),
		block(4, make([]byte, 4)),
		block(0xbad, append(le.AppendUint32(nil, 32473), "note"...)),
		block(5, make([]byte, 12)),
		block(0x7777, []byte("unknown")),
	}
	var out []byte
	n := 0
	for len(data) > 0 {
		size := le.Uint32(data[4:])
		if le.Uint32(data) == 6 {
			if n++; n%7 == 0 {
				out = append(out, extra[n/7%len(extra)]...)
			}
		}
		out, data = append(out, data[:size]...), data[size:]
	}
	if err := os.WriteFile(to, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
