package acceptance

import (
	"context"
	"math"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/captures"
	reports "github.com/pcapsule/pcapsule/report"
	"github.com/pcapsule/pcapsule/report/value"
)

// reported are captures of attacks, of failures, and of mixed traffic, whose reports are compared with tshark.
var reported = []string{"mixed/pcpp-example2.pcap", "tcp/ndpi-synscan.pcap", "http1/ndpi-WebattackRCE.pcap", "http1/pcpp-650HttpResponses.pcap", "ftp/zeek-bruteforce.pcap", "icmp/ndpi-icmp-tunnel.pcap",
	"dns/ndpi-dns_exfiltration.pcap", "mixed/zeek-nmap-vsn.pcap", "ssh/zeek-sshguess.pcap", "smb/zeek-smb_many_open_files_500.pcap.gz"}

// firstSegments has only the first segment of each response, so tshark finds them all only if it does not wait for the others.
const firstSegments = "http1/pcpp-650HttpResponses.pcap"

// TestReportsAgreeWithTshark compares what the traffic report of a capture states with what tshark counts: packets, bytes, the
// first and the last time, resets, and calls and failures by protocol.
func TestReportsAgreeWithTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	compared := 0
	for _, name := range reported {
		file := filepath.Join(captures.Dir(t), name)
		r := reportOf(t, file)
		frames := tsharkRows(t, file, "frame", "frame.time_epoch", "frame.len")
		bytes := int64(0)
		for _, f := range frames {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(name, f)
			}
			bytes += n
		}
		count := func(filter string) int64 { return int64(len(tsharkRows(t, file, filter, "frame.number"))) }
		for _, c := range []struct {
			what      string
			got, want int64
		}{
			{"packets", factOf(r, "packet"), int64(len(frames))},
			{"bytes", factOf(r, "on the wire"), bytes},
			{"first", epoch(t, r.From), rounded(t, frames[0][0])},
			{"last", epoch(t, r.To), rounded(t, frames[len(frames)-1][0])},
			{"resets", cellOf(r, "Over all flows", "Resets", 1), count("tcp.flags.reset == 1 && !icmp")},
			{"http1 calls", cellOf(r, "Calls by protocol", "http1", 1), count("tcp && http.request") + count("tcp && http.response && !http.request_in")},
			{"http1 failures", cellOf(r, "Calls by protocol", "http1", 2), count("tcp && http.response.code >= 400")},
			{"ftp failures", cellOf(r, "Calls by protocol", "ftp", 2), count("ftp.response.code >= 400")},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s: the report has %d, tshark %d", name, c.what, c.got, c.want)
			}
			compared++
		}
	}
	if compared != 8*len(reported) {
		t.Errorf("%d values were compared", compared)
	}
}

// reportOf is the traffic report of a capture.
func reportOf(t *testing.T, file string) *value.Report {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "b.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{file}, dir, exporter.Options{Release: "test"}); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	c, err := forensics.Open(context.Background(), []string{dir}, forensics.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	finding.Bind(c, all.Analyzers())
	o := reports.Options{Questions: all.Questions(), Frameworks: control.Frameworks()}
	for _, a := range all.Analyzers() {
		o.Analyzers = append(o.Analyzers, a.Name)
	}
	r, err := reports.Build(context.Background(), c, o)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return r
}

// factOf is the number in the head of a report whose label begins with a word; −1 if there is none.
func factOf(r *value.Report, label string) int64 {
	for _, f := range r.Facts {
		if strings.HasPrefix(f.Label, label) && f.Value != nil {
			return *f.Value
		}
	}
	return -1
}

// cellOf is a number of the row of a table that begins with a name; 0 if there is no such row.
func cellOf(r *value.Report, title, row string, column int) int64 {
	for _, s := range r.Sections {
		for _, b := range s.Blocks {
			if b.Table == nil || b.Table.Title != title {
				continue
			}
			for _, x := range b.Table.Rows {
				if x.Cells[0].Text == row && x.Cells[column].Value != nil {
					return *x.Cells[column].Value
				}
			}
		}
	}
	return 0
}

// epoch and rounded are times in microseconds.
func epoch(t *testing.T, stamp string) int64 {
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMicro()
}

func rounded(t *testing.T, seconds string) int64 {
	whole, fraction, _ := strings.Cut(seconds, ".")
	s, err := strconv.ParseInt(whole, 10, 64)
	f, err2 := strconv.ParseFloat("0."+fraction, 64)
	if err != nil || err2 != nil {
		t.Fatal(seconds)
	}
	return s*1e6 + int64(math.Floor(f*1e6+1e-4))
}

// tsharkRows are fields of the packets that match a filter.
func tsharkRows(t *testing.T, file, filter string, fields ...string) (rows [][]string) {
	t.Helper()
	args := []string{"-n", "-r", file, "-Y", filter, "-T", "fields"}
	if strings.HasSuffix(file, firstSegments) {
		args = append(args, "-o", "tcp.desegment_tcp_streams:FALSE")
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil && len(out) == 0 { // it ends with an error after a packet that is cut short
		return nil
	}
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return rows
}
