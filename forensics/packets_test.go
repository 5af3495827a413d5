package forensics_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

func slice(t testing.TB, c *forensics.Case, sel forensics.Selection) (string, forensics.CarveReport) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slice.pcapng")
	r, err := c.PacketsFile(ctx, sel, path)
	if err != nil {
		t.Fatalf("%+v: %v", sel, err)
	}
	return path, r
}

// packets reads a capture.
func packets(t testing.TB, path string) (out []pcapng.Packet) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapng.NewReader(bytes.NewReader(data), pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		var b pcapng.Batch
		if r.Next(&b) != nil {
			return out
		}
		for _, p := range b.Packets {
			p.Data, p.Options = bytes.Clone(p.Data), bytes.Clone(p.Options)
			out = append(out, p)
		}
	}
}

func TestASliceHasTheOriginalPackets(t *testing.T) {
	for _, name := range []string{"shop.pcapng", "http2.pcap", "tls.pcapng", "hard/sections.pcapng", "hard/big-endian.pcapng", "hard/simple-packets.pcapng", "hard/zero-length.pcapng",
		"hard/snaplen.pcap", "hard/drops.pcapng"} {
		c := open(t, sample(t, name))
		original := packets(t, filepath.Join("..", "samples", name))
		sum := c.Bundles()[0].Manifest.Inputs[0].SHA256
		path, report := slice(t, c, forensics.Selection{})
		got := packets(t, path)
		if len(got) != len(original) || report.Packets != int64(len(got)) {
			t.Fatalf("%s: %d packets, want %d", name, len(got), len(original))
		}
		for _, p := range got {
			comments := p.Comments()
			var index int
			if n := len(comments); n < 2 {
				t.Fatalf("%s: comments %q", name, comments)
			} else if _, err := fmt.Sscanf(comments[n-2], "pcapsule:"+sum.String()[:8]+"#%d", &index); err != nil || !strings.HasPrefix(comments[n-1], filepath.Base(name)+" ") {
				t.Fatalf("%s: comments %q", name, comments)
			}
			want := original[index]
			if !bytes.Equal(p.Data, want.Data) || p.Time != want.Time || p.OrigLen != want.OrigLen || p.LinkType != want.LinkType || want.TimeOK && len(comments) != len(want.Comments())+2 {
				t.Errorf("%s: packet %d is not as it was", name, index)
			}
		}
	}
}

func TestContexts(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	kql := `http && status_code == 503`
	cited := query(t, c, forensics.Query{KFL: kql, Columns: []string{"flow_id"}})
	want := map[int64]bool{}
	for _, cite := range cited.Citations {
		for _, r := range cite.Packets {
			for n := r.First; n <= r.Last; n++ {
				want[n] = true
			}
		}
	}
	_, only := slice(t, c, forensics.Selection{KFL: kql})
	_, with := slice(t, c, forensics.Selection{KFL: kql, Context: forensics.WithContext})
	path, whole := slice(t, c, forensics.Selection{KFL: kql, Context: forensics.WholeConnections})
	flows := number(t, c, "select count(*) from packets where flow_id in (select flow_id from calls where status_code = 503 and protocol like 'http%')")
	if only.Packets != int64(len(want)) || only.Calls != int64(len(cited.Rows)) || whole.Packets != flows || with.Packets < only.Packets || with.Packets > whole.Packets {
		t.Errorf("%d, %d, %d packets, want %d, between, %d", only.Packets, with.Packets, whole.Packets, len(want), flows)
	}
	if _, err := c.PacketsFile(ctx, forensics.Selection{KFL: kql}, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
}

func TestSelectionsAgree(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	r := query(t, c, forensics.Query{KFL: "status_code == 503", Columns: []string{"call_id"}})
	var ids []string
	for _, row := range r.Rows {
		ids = append(ids, hex.EncodeToString(row[0].([]byte)))
	}
	var all []int64
	for _, sel := range []forensics.Selection{
		{KFL: "status_code == 503"}, {CallIDs: ids},
		{SQL: "select cites from calls where status_code = 503"}, {SQL: "select call_no from calls where status_code = 503"},
		{SQL: "select p.packet_no from calls c, unnest(c.cites) r(x), packets p where c.status_code = 503 and p.packet_no between r.x.first and r.x.last"},
	} {
		for _, context := range []forensics.Context{forensics.OnlyCited, forensics.WithContext, forensics.WholeConnections} {
			sel.Context = context
			_, report := slice(t, c, sel)
			all = append(all, report.Packets)
		}
	}
	for i := range all {
		if all[i] != all[i%3] || all[i] == 0 {
			t.Fatalf("packets of equal selections: %v", all)
		}
	}
	for _, sel := range []forensics.Selection{
		{KFL: "http", SQL: "select 1"}, {SQL: "select 1 as x"}, {SQL: "select 1 as call_no", From: 3}, {KFL: "http", From: 5, To: 3}, {CallIDs: []string{"x"}},
	} {
		if _, err := c.Packets(ctx, sel, &bytes.Buffer{}); !errors.Is(err, forensics.ErrUsage) {
			t.Errorf("%+v: %v, want a refusal", sel, err)
		}
	}
	if _, err := c.Packets(ctx, forensics.Selection{SQL: "from read_text('/etc/passwd')"}, &bytes.Buffer{}); !errors.Is(err, forensics.ErrRefused) {
		t.Errorf("SQL that reads a file: %v", err)
	}
	if _, err := c.Packets(ctx, forensics.Selection{CallIDs: []string{"#99999"}}, &bytes.Buffer{}); !errors.Is(err, forensics.ErrNotFound) {
		t.Errorf("a call that is not there: %v", err)
	}
}

func TestBothVantages(t *testing.T) {
	c := open(t, sample(t, "vantages.pcapng"))
	if number(t, c, "select count(*) from connections where flows > 1") == 0 {
		t.Fatal("the sample has no connection that was seen twice")
	}
	sql := "select flow_id, conn_id, cites from calls where conn_id in (select conn_id from connections where flows > 1)"
	_, one := slice(t, c, forensics.Selection{SQL: sql, Context: forensics.WholeConnections})
	_, both := slice(t, c, forensics.Selection{SQL: sql, Context: forensics.WholeConnections, Vantage: forensics.BothVantage})
	want := number(t, c, "select count(*) from packets join flows using (flow_id) where conn_id in (select c.conn_id from calls c join connections n using (conn_id) where n.flows > 1)")
	if both.Packets != want || one.Packets >= both.Packets {
		t.Errorf("%d and %d packets, want less than and %d", one.Packets, both.Packets, want)
	}
	_, cited := slice(t, c, forensics.Selection{SQL: sql})
	_, twice := slice(t, c, forensics.Selection{SQL: sql, Vantage: forensics.BothVantage})
	if twice.Packets <= cited.Packets {
		t.Errorf("%d cited packets, %d with the other sightings", cited.Packets, twice.Packets)
	}
}

// TestDissectingASliceGivesTheCallAgain dissects the slice of a call, which must give the same call.
func TestDissectingASliceGivesTheCallAgain(t *testing.T) {
	for _, name := range []string{"shop.pcapng", "http1.pcapng", "redis.pcap", "postgresql.pcapng", "dns.pcap"} {
		c := open(t, sample(t, name))
		r := query(t, c, forensics.Query{KFL: "complete && !tls", Columns: []string{"call_id", "protocol", "summary", "request_bytes", "response_bytes"}, Limit: 60})
		for i := 0; i < len(r.Rows); i += 20 {
			id := hex.EncodeToString(r.Rows[i][0].([]byte))
			path, _ := slice(t, c, forensics.Selection{CallIDs: []string{id}, Context: forensics.WithContext})
			out := filepath.Join(t.TempDir(), "again.pcapsule")
			if _, err := exporter.Run(ctx, []string{path}, out, exporter.Options{Release: "test"}); err != nil {
				t.Fatal(err)
			}
			again, err := open(t, out).Query(ctx, forensics.Query{SQL: "select call_id, protocol, summary, request_bytes, response_bytes from calls where hex(call_id) = ?", Args: []any{strings.ToUpper(id)}})
			if err != nil || len(again.Rows) != 1 || !reflect.DeepEqual(again.Rows[0], r.Rows[i]) {
				t.Errorf("%s: %v again: %v, %v", name, r.Rows[i], again, err)
			}
		}
	}
}

// TestTsharkReadsASlice compares frames of a slice with those of the original.
func TestTsharkReadsASlice(t *testing.T) {
	for _, tool := range []string{"tshark", "tcpdump"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	c := open(t, sample(t, "shop.pcapng"))
	path, report := slice(t, c, forensics.Selection{KFL: "http && status_code == 503", Comments: forensics.NoComments})
	fields := []string{"-n", "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len", "-e", "ip.id", "-e", "tcp.seq_raw", "-e", "tcp.payload", "-e", "frame.interface_name"}
	run := func(file string) []string {
		out, err := exec.Command("tshark", append([]string{"-r", file}, fields...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	}
	original := run(filepath.Join("..", "samples", "shop.pcapng"))
	frames := query(t, c, forensics.Query{SQL: "select distinct p.frame from calls c, unnest(c.cites) r(x), packets p where status_code = 503 and p.packet_no between r.x.first and r.x.last order by 1"})
	got := run(path)
	if len(got) != len(frames.Rows) || report.Packets != int64(len(got)) {
		t.Fatalf("%d frames, want %d", len(got), len(frames.Rows))
	}
	for i, row := range frames.Rows {
		if want := original[row[0].(int64)-1]; got[i] != want {
			t.Errorf("frame %d: %.100s, want %.100s", i+1, got[i], want)
		}
	}
	out, err := exec.Command("tcpdump", "-n", "-r", path).Output()
	if n := bytes.Count(out, []byte("\n")); err != nil || int64(n) < report.Packets {
		t.Errorf("tcpdump: %d lines, %v", n, err)
	}
}

func TestOwnerComments(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	path, _ := slice(t, c, forensics.Selection{KFL: `http && dst.svc == "payment"`, Comments: forensics.OwnerComments})
	for i, p := range packets(t, path) {
		if text := strings.Join(p.Comments(), "\n"); !strings.Contains(text, " → ") || !strings.Contains(text, "payment") {
			t.Errorf("packet %d says %q", i, text)
		}
	}
}
