// Package kernelcheck compares the client data in the exporter's rows with the data that the
// sockets of a real kernel delivered.
package kernelcheck

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// want is the expected result of a case.
type want uint8

const (
	exact  want = iota // the rows match what the kernel delivered, and there is no anomaly
	equal              // the rows match what the kernel delivered
	told               // there is an anomaly
	either             // the rows match what the kernel delivered, or there is an anomaly
)

// testCase is one conversation.
type testCase struct {
	class, name string
	v6, udp     bool
	want        want
	play        func(c *client)
}

// outcome is the result of a case.
type outcome struct {
	testCase
	port      int
	delivered string
	end       string
	said      string   // according to the rows
	anomalies []string // of the case's flows
	gap       int64
	states    string // of TCP at the end
	accepted  bool   // the server had a socket
	copies    copies
}

func TestRowsAreWhatTheKernelDelivered(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	list := slices.Concat(overlapCases(), hostileCases(), orderCases(), fragmentCases())
	if only := os.Getenv("KERNELCHECK"); only != "" { // one case, for manual inspection
		list = slices.DeleteFunc(list, func(k testCase) bool { return !strings.Contains(k.class+": "+k.name, only) })
	}
	results, packets := run(t, list)
	readRows(t, packets, results)
	table := map[string]*[4]int{}
	var classes []string
	for i := range results {
		o := &results[i]
		row := table[o.class]
		if row == nil {
			row = &[4]int{}
			table[o.class] = row
			classes = append(classes, o.class)
		}
		row[0]++
		switch {
		case o.same() && len(o.anomalies) == 0:
			row[1]++
		case o.same():
			row[2]++
		case len(o.anomalies) > 0:
			row[3]++
		}
		if problem := o.judge(); problem != "" {
			t.Errorf("%s: %s (port %d): %s\n  kernel %q %s\n  rows   %q %s, anomalies %v, gap %d", o.class, o.name, o.port, problem,
				o.delivered, o.end, o.said, o.states, o.anomalies, o.gap)
		}
	}
	checkJudge(t, results)
	var b strings.Builder
	fmt.Fprintf(&b, "| class | cases | equal | equal, with an anomaly | other bytes, with an anomaly |\n|---|---|---|---|---|\n")
	for _, c := range classes {
		r := table[c]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", c, r[0], r[1], r[2], r[3])
	}
	t.Logf("%d cases\n%s", len(results), b.String())
}

// checkJudge changes rows that an anomaly excuses: a byte with a single version in the capture,
// or one that a gap does not explain. The judge must detect that.
func checkJudge(t *testing.T, results []outcome) {
	found := 0
	for _, o := range results {
		if len(o.anomalies) == 0 || o.judge() != "" || o.class == "urgent data" {
			continue
		}
		for i := range min(len(o.said), len(o.delivered), bodySize) {
			if len(o.copies[i]) != 1 || o.gap > 0 {
				continue
			}
			changed := o
			if changed.said = o.said[:i] + "#" + o.said[i+1:]; changed.judge() == "" {
				t.Errorf("%s: %s: byte %d of the rows may be anything", o.class, o.name, i)
			}
			found++
			break
		}
		if o.gap > 0 {
			changed := o
			if changed.said = o.said[1:]; changed.judge() == "" {
				t.Errorf("%s: %s: the rows may lack more than the gap", o.class, o.name)
			}
			found++
		}
	}
	if found < 100 && os.Getenv("KERNELCHECK") == "" {
		t.Errorf("only %d rows were changed", found)
	}
}

// kinds are the allowed anomalies of the cases of a class.
var kinds = map[string]string{
	"pairs of segments, IPv4":           "tcp/overlap_conflict",
	"pairs of segments, IPv6":           "tcp/overlap_conflict",
	"triples of segments":               "tcp/overlap_conflict",
	"pairs of fragments of UDP, IPv4":   "udp/fragment_overlap",
	"pairs of fragments of UDP, IPv6":   "udp/fragment_overlap",
	"pairs of fragments of TCP, IPv4":   "tcp/fragment_overlap",
	"pairs of fragments of TCP, IPv6":   "tcp/fragment_overlap",
	"triples of fragments, IPv4":        "udp/fragment_overlap",
	"triples of fragments, IPv6":        "udp/fragment_overlap",
	"odd fragments and datagrams":       "udp/fragment_overlap udp/bad_checksum",
	"decoys that never arrive":          "tcp/overlap_conflict tcp/fin_conflict tcp/data_after_fin tcp/data_after_reset tcp/stray_syn",
	"wrong checksums":                   "tcp/bad_checksum",
	"stray SYN and SYN-ACK":             "tcp/stray_syn tcp/syn_payload",
	"ports used again":                  "tcp/stray_syn",
	"resets":                            "tcp/data_after_reset tcp/reset_payload tcp/reset_in_window tcp/reset_out_of_window",
	"FIN":                               "tcp/data_after_fin tcp/fin_conflict tcp/no_ack",
	"urgent data":                       "tcp/urgent_data",
	"sequence numbers wrap":             "tcp/overlap_conflict",
	"windows":                           "tcp/overlap_conflict tcp/fin_conflict tcp/no_ack tcp/stray_segment tcp/old_timestamp tcp/unsent_ack",
	"captures that begin in the middle": "tcp/overlap_conflict",
	"unacceptable acknowledgements":     "tcp/overlap_conflict tcp/data_after_fin tcp/fin_conflict tcp/stray_syn tcp/unsent_ack tcp/old_ack http1/unfinished http1/malformed",
	"late in the capture":               "tcp/overlap_conflict tcp/late_segment",
	"seen twice":                        "tcp/overlap_conflict",
}

// rowsEnd is the end of the client's direction according to the rows, in the words of peer.end.
func (o *outcome) rowsEnd() string {
	switch o.states[strings.LastIndexByte(o.states, ' ')+1:] {
	case "closing", "closed":
		return "eof"
	case "reset":
		return "reset"
	}
	return ""
}

// same reports whether the rows have the bytes and the end that the kernel delivered.
func (o *outcome) same() bool {
	return o.said == o.delivered && (!o.accepted || o.rowsEnd() == o.end)
}

// sameLength are the anomalies about bytes at one position. None of them explains a different
// end of the stream, except that Linux drops datagrams with overlaps.
var sameLength = []string{"tcp/overlap_conflict", "tcp/fragment_overlap", "udp/fragment_overlap"}

// unexplained is the part of the difference between the rows and the kernel that the anomalies
// of a case do not explain.
func (o *outcome) unexplained() string {
	said, got := o.said, o.delivered
	if n := int(o.gap); n > 0 { // the rows lack exactly these bytes
		k := 0
		for k < min(len(said), len(got)) && said[k] == got[k] {
			k++
		}
		if len(said)+n != len(got) || said[k:] != got[k+n:] {
			return fmt.Sprintf("the rows lack other bytes than the %d of the gap", n)
		}
		return ""
	}
	places := !slices.ContainsFunc(o.anomalies, func(a string) bool { return !slices.Contains(sameLength, a) })
	overlaps := strings.Contains(o.class, "ragments")
	if places && len(said) != len(got) && !(overlaps && len(got) < len(said)) {
		return fmt.Sprintf("the rows have %d bytes and the kernel %d, and no anomaly is about an end", len(said), len(got))
	}
	if places && o.accepted && o.rowsEnd() != o.end && !(overlaps && len(got) < len(said)) {
		return "the streams end in another way, and no anomaly is about an end"
	}
	if o.class == "urgent data" { // the kernel delivers that byte separately, and later bytes move
		if len(got) >= len(said) {
			return "the urgent byte is missing"
		}
		return ""
	}
	for i := range min(len(said), len(got), bodySize) {
		if n := len(o.copies[i]); n > 0 && said[i] != got[i] && (n < 2 || strings.IndexByte(o.copies[i], said[i]) < 0) {
			return fmt.Sprintf("byte %d of the body differs, of which the capture has %q", i, o.copies[i])
		}
	}
	return ""
}

func (o *outcome) judge() string {
	same, spoke := o.same(), len(o.anomalies) > 0
	for _, a := range o.anomalies {
		if !slices.Contains(strings.Fields(kinds[o.class]), a) {
			return "an anomaly of kind " + a + ", which says nothing about this case"
		}
	}
	switch {
	case !same && !spoke:
		return "the rows differ from what the kernel delivered, and no anomaly says why"
	case !same && o.unexplained() != "":
		return o.unexplained()
	case !same && o.want <= equal:
		return "the rows differ from what the kernel delivered, although the capture tells it"
	case spoke && o.want == exact:
		return "an anomaly although nothing is ambiguous"
	case !spoke && o.want == told:
		return "no anomaly although the capture holds two versions"
	}
	return ""
}

// run plays the cases against the kernel.
func run(t *testing.T, list []testCase) (results []outcome, file string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		s := newStage(t)
		for i, k := range list {
			c := s.newClient(i, k.v6)
			k.play(c)
			s.read(c.peer)
			s.datagrams()
			o := outcome{testCase: k, port: int(c.client.Port()), delivered: c.delivered(), end: c.end, accepted: len(c.socks) > 0, copies: c.copies}
			if k.udp {
				o.delivered = string(c.got)
			}
			results = append(results, o)
			s.close(c.peer)
			s.out.now += 1000
		}
		file = filepath.Join(t.TempDir(), "judge.pcap")
		must(t, "writing the capture", os.WriteFile(file, s.out.buf.Bytes(), 0o644))
	}()
	<-done
	if len(results) != len(list) {
		t.FailNow()
	}
	if keep := os.Getenv("KERNELCHECK_PCAP"); keep != "" {
		data, err := os.ReadFile(file)
		must(t, "reading the capture", err)
		must(t, "keeping the capture", os.WriteFile(keep, data, 0o644))
	}
	return results, file
}

// readRows makes a bundle and reads its rows for each case.
func readRows(t *testing.T, file string, results []outcome) {
	out := filepath.Join(t.TempDir(), "x.pcapsule")
	_, err := exporter.Run(context.Background(), []string{file}, out, exporter.Options{Release: "test", Repanic: true})
	must(t, "making a bundle", err)
	db := duckdbtest.Open(t)
	for _, name := range []string{"calls", "flows", "bodies", "anomalies"} {
		_, err := db.Exec(fmt.Sprintf("create view %s as from read_parquet('%s/data/tables/%s/**/*.parquet', union_by_name=true, hive_partitioning=false)", name, out, name))
		must(t, "reading table "+name, err)
	}
	texts := func(query string) map[int]string {
		rows, err := db.Query(query)
		must(t, query, err)
		defer rows.Close()
		m := map[int]string{}
		for rows.Next() {
			var port int
			var text sql.NullString
			must(t, query, rows.Scan(&port, &text))
			m[port] = text.String
		}
		must(t, query, rows.Err())
		return m
	}
	// The test's port identifies the case, whatever roles the content suggests.
	const port = "case when src_port between 10000 and 19999 then src_port else dst_port end"
	said := texts(`select ` + port + `, string_agg(coalesce(b.text, decode(b.bytes)), '' order by c.call_no) from calls c join bodies b on b.sha256 = coalesce(c.request_body_sha256, c.response_body_sha256) group by 1`)
	heads := texts(`select ` + port + `, string_agg(decode(payload_request_head), '' order by call_no) from calls where transport = 'udp' group by 1`)
	anomalies := texts(`select ` + port + `, string_agg(distinct a.source || '/' || a.kind, ' ') from anomalies a join flows f using (flow_id) where a.kind <> 'same_exchange' group by 1`) // cases send equal datagrams
	gaps := texts(`select ` + port + `, sum(gap_bytes)::varchar from flows group by 1`)
	states := texts(`select ` + port + `, string_agg(state, ' ' order by flow_id) from flows group by 1`)
	for i := range results {
		o := &results[i]
		o.said, o.states = said[o.port], states[o.port]
		if o.udp {
			o.said = heads[o.port]
		}
		o.anomalies = strings.Fields(anomalies[o.port])
		fmt.Sscan(gaps[o.port], &o.gap)
	}
}
