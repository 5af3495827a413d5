package join_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
)

// A window and a filter cause a coverage gap only in files from which they exclude packets.
func TestCoverageGapsOfWindowAndFilter(t *testing.T) {
	const first, last = 1_700_000_000_000_000_000, 1_700_000_009_000_000_000
	var b bytes.Buffer
	for _, v := range []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 65535, 1} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	for i := range uint32(10) {
		for _, v := range []uint32{1_700_000_000 + i, 0, 60, 60} {
			binary.Write(&b, binary.LittleEndian, v)
		}
		b.Write(make([]byte, 60))
	}
	in := filepath.Join(t.TempDir(), "in.pcap")
	if err := os.WriteFile(in, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		o     exporter.Options
		holes string
	}{
		{"neither", exporter.Options{}, ""},
		{"a window around all packets", exporter.Options{FromNs: first - 5, ToNs: last + 5}, ""},
		{"a window that begins and ends with a packet", exporter.Options{FromNs: first, ToNs: last}, ""},
		{"a filter that all packets match", exporter.Options{Filter: "len > 5"}, ""},
		{"a window without the first packet", exporter.Options{FromNs: first + 1}, "filter 1"},
		{"a window without the last packets", exporter.Options{ToNs: last - 1_500_000_000}, "filter 2"},
		{"a filter that no packet matches", exporter.Options{Filter: "len > 500"}, "filter 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := exportertest.Proven(t, tt.o, []string{in}, "select coalesce(string_agg(concat_ws(' ', reason, packets), '; '), '') from coverage where kind = 'hole'")
			if got[0] != tt.holes {
				t.Errorf("holes %q, want %q", got[0], tt.holes)
			}
		})
	}
}

// A time before that of the packet before it is reported once it is more than writing packets
// side by side explains.
func TestTimesThatGoBackAreTold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		times []uint32 // s
		want  string
	}{
		{"in order", []uint32{1, 2, 3, 4}, ""},
		{"1 s back", []uint32{1, 3, 2, 4}, ""},
		{"2 s back", []uint32{1, 4, 2, 3}, "2"},
		{"back in small steps", []uint32{19, 18, 17, 16, 15, 14}, "2,4"},
		{"two interleaved clocks", []uint32{10, 20, 11, 21, 12}, "2,4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			for _, v := range []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 65535, 1} {
				binary.Write(&b, binary.LittleEndian, v)
			}
			for _, at := range tt.times {
				for _, v := range []uint32{1_700_000_000 + at, 0, 60, 60} {
					binary.Write(&b, binary.LittleEndian, v)
				}
				b.Write(make([]byte, 60))
			}
			in := filepath.Join(t.TempDir(), "in.pcap")
			if err := os.WriteFile(in, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			_, got := exportertest.Proven(t, exporter.Options{}, []string{in}, "select coalesce(string_agg(packet_no::varchar, ',' order by packet_no), '') from anomalies where kind = 'time_back'")
			if got[0] != tt.want {
				t.Errorf("told at packets %q, want %q", got[0], tt.want)
			}
		})
	}
}
