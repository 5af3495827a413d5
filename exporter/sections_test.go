package exporter

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// written writes a PCAPNG file. Before each list of packets it describes an interface with the list's
// number, and begins a section if there is a header for it.
func written(t *testing.T, name string, headers map[int]pcapng.Section, lists ...[]pcapng.Packet) string {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapng.NewWriter(&b, headers[0], pcapng.WriterOptions{})
	number := int32(-1)
	for i, list := range lists {
		if h, ok := headers[i]; ok && i > 0 {
			if err == nil {
				err = w.AddSection(h)
			}
			number = -1
		}
		if err == nil {
			number++
			_, err = w.AddInterface(pcapng.Interface{Name: fmt.Sprintf("%s%d", name, i), LinkType: list[0].LinkType, SnapLen: 262144, TsResol: 9, FCSLen: -1})
		}
		for _, p := range list {
			p.Kind, p.Interface, p.Options = pcapng.KindEnhanced, number, nil
			if err == nil {
				err = w.WritePacket(&p, nil)
			}
		}
	}
	if err == nil {
		err = w.Flush()
	}
	path := filepath.Join(t.TempDir(), name+".pcapng")
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInterfacesDescribedLate has a file that describes an interface after megabytes of packets, when
// another file is open already. Flows have their own interface, and interfaces the clock of their file.
func TestInterfacesDescribedLate(t *testing.T) {
	list, link := packetsIn(t, filepath.Join("..", "samples", "http1.pcapng"))
	begin, end := list[0].Time, list[len(list)-1].Time
	var filler []pcapng.Packet
	for i := range 3000 {
		filler = append(filler, pcapng.Packet{LinkType: link, Data: make([]byte, 1400), OrigLen: 1400, TimeOK: true, Time: begin + (end-begin)*int64(i)/3000})
	}
	later := func(by time.Duration) (out []pcapng.Packet) {
		for _, p := range list {
			p.Time += int64(by)
			out = append(out, p)
		}
		return out
	}
	late := later(time.Duration(end - begin))
	other, _ := packetsIn(t, filepath.Join("..", "samples", "dns.pcap"))
	for i := range other {
		other[i].Time = begin + (end-begin)/2 + int64(i)
	}
	if other[0].LinkType != link {
		for i := range other {
			other[i].LinkType = 1
		}
	}
	got := answersOf(t, []string{written(t, "a", nil, filler, late), written(t, "b", nil, other)}, Options{Release: "test"},
		"select string_agg(distinct interface, ' ' order by interface) from flows where dst_port = 53 or src_port = 53",
		"select string_agg(distinct interface, ' ' order by interface) from flows where flow_id in (select flow_id from calls where protocol = 'http1')",
		"select string_agg(clock_id || ' ' || same_as || ' ' || source, ', ' order by clock_id) from clocks")
	for i, want := range []string{"b0", "a1", "0 0 a.pcapng interface a0, 1 1 b.pcapng interface b0, 2 0 a.pcapng interface a1"} {
		if got[i] != want {
			t.Errorf("%s, want %s", got[i], want)
		}
	}
}

// TestSectionsHaveTheirOwnBoot has segments of two nodes in one file, as cat joins them.
func TestSectionsHaveTheirOwnBoot(t *testing.T) {
	list, _ := packetsIn(t, filepath.Join("..", "samples", "http1.pcapng"))
	half := len(list) / 2
	header := func(node string) pcapng.Section {
		return pcapng.Section{Comments: []string{fmt.Sprintf(`{"version":1,"ring":"r","node":%q,"series":"interfaces","sequence":1,"boot_id":"b-%s"}`, node, node)}}
	}
	path := written(t, "a", map[int]pcapng.Section{0: header("n1"), 1: header("n2"), 2: header("n1"), 3: {}}, list[:half], list[half:], list[half:], list[half:])
	got := answersOf(t, []string{path}, Options{Release: "test"}, "select string_agg(same_as || ' ' || same_by || ' ' || coalesce(node, '-'), ', ' order by clock_id) from clocks")
	if want := "0 boot n1, 1 boot n2, 0 boot n1, 3 recording -"; got[0] != want {
		t.Errorf("%s, want %s", got[0], want)
	}
}

// TestMergedFilesHaveSeveralClocks has the two directions of a capture in files with other clocks, merged
// by mergecap.
func TestMergedFilesHaveSeveralClocks(t *testing.T) {
	if _, err := exec.LookPath("mergecap"); err != nil {
		t.Skip("needs mergecap")
	}
	list, _ := packetsIn(t, filepath.Join("..", "samples", "http1.pcapng"))
	first, other := byDirection(list)
	for i := range other {
		other[i].Time += int64(3 * time.Millisecond)
	}
	a, b := written(t, "a", nil, first), written(t, "b", nil, other)
	merged := filepath.Join(t.TempDir(), "merged.pcapng")
	if out, err := exec.Command("mergecap", "-I", "none", "-w", merged, a, b).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, files := range [][]string{{a, b}, {merged}} {
		got := answersOf(t, files, Options{Release: "test"}, "select count(distinct same_as) || ' ' || (select count(distinct ts_ns) > 0 from anomalies where kind = 'two_clocks') || ' ' || (select count(*) from calls where response_bytes > 0 and request_bytes > 0 and waited_us < 0) from clocks")
		if want := "2 true 0"; got[0] != want {
			t.Errorf("%v: %s, want %s", files, got[0], want)
		}
	}
}

// TestSeveralCapturesInAFile has files of all formats joined by cat, also compressed: the rows are those of
// the single files.
func TestSeveralCapturesInAFile(t *testing.T) {
	names := []string{"dns.pcap", "redis.pcap", "http1.pcapng", "http2.pcap"}
	single, joined := []string{}, []byte{}
	var packed bytes.Buffer
	for _, name := range names {
		path := filepath.Join("..", "samples", name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		single, joined = append(single, path), append(joined, data...)
		z := gzip.NewWriter(&packed)
		z.Write(data)
		z.Close()
	}
	queries := []string{"select string_agg(n, ' ' order by n) from (select protocol || ' ' || coalesce(error, '') || ' ' || count(*) as n from calls group by protocol, error)",
		"select count(*) || ' ' || sum(request_bytes) from calls", "select count(*) from anomalies where source = 'file' and kind <> 'time_back'"}
	want := answersOf(t, single, Options{Release: "test"}, queries...)
	for name, data := range map[string][]byte{"joined.pcap": joined, "joined.pcap.gz": packed.Bytes()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got := answersOf(t, []string{path}, Options{Release: "test"}, append(queries, "select count(distinct same_as) from clocks")...)
		if !slices.Equal(got[:3], want) || got[3] != "4" {
			t.Errorf("%s: %q, want %q and 4 clocks", name, got, want)
		}
	}
}
