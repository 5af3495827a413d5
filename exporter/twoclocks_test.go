package exporter

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// packetsIn reads a sample.
func packetsIn(t *testing.T, path string) (list []pcapng.Packet, link uint16) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapng.NewReader(bytes.NewReader(raw), pcapng.Options{Window: len(raw) + 1})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapng.Batch
	for {
		err := r.Next(&b)
		for _, p := range b.Packets {
			p.Data = bytes.Clone(p.Data)
			list = append(list, p)
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range list {
		if p.LinkType != list[0].LinkType {
			t.Fatalf("%s has several link types", path)
		}
	}
	return list, list[0].LinkType
}

// pcapOf writes packets to a pcap file with nanoseconds.
func pcapOf(t *testing.T, name string, link uint16, ahead time.Duration, list []pcapng.Packet) string {
	t.Helper()
	le := binary.LittleEndian
	var b []byte
	for _, v := range []uint32{0xa1b23c4d, 2 | 4<<16, 0, 0, 262144, uint32(link)} {
		b = le.AppendUint32(b, v)
	}
	for _, p := range list {
		at := p.Time + int64(ahead)
		for _, v := range []uint32{uint32(at / 1e9), uint32(at % 1e9), uint32(len(p.Data)), p.OrigLen} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, p.Data...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// byDirection splits packets into those of the side of each conversation that sent first, and the others.
func byDirection(list []pcapng.Packet) (first, other []pcapng.Packet) {
	d := decode.New(decode.Options{})
	type pair [2]netip.AddrPort
	asked := map[pair]bool{}
	for _, p := range list {
		var f decode.Frame
		d.Decode(decode.Input{LinkType: p.LinkType, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &f)
		src, dst := netip.AddrPortFrom(f.Src.Netip(), f.SrcPort), netip.AddrPortFrom(f.Dst.Netip(), f.DstPort)
		if asked[pair{dst, src}] {
			other = append(other, p)
			continue
		}
		asked[pair{src, dst}] = true
		first = append(first, p)
	}
	return first, other
}

// durations are the columns of calls that are times between packets.
var durations = []string{"elapsed_us", "waited_us", "ttfb_us", "wait_us", "send_us", "receive_us", "connect_us", "tls_us", "dns_us", "ntp_offset_us", "sip_ringing_us", "rtp_round_trip_us"}

// within are those of a request or a response alone.
var within = map[string]bool{"send_us": true, "receive_us": true}

// measured is the durations of a call, by its id.
type measured struct {
	values []sql.NullInt64
	marked bool
	paired bool // it has a request and a response
}

// measure makes a bundle of inputs and returns the durations of its calls.
func measure(t *testing.T, inputs []string) map[string]measured {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.pcapsule")
	if _, err := Run(context.Background(), inputs, path, Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	db := duckdbtest.Open(t)
	if _, err := db.Exec(bundletest.Views(t, path, durations...)); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("select hex(call_id), anomalies > 0, request_bytes > 0 and response_bytes > 0, " + strings.Join(durations, ", ") + " from calls")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]measured{}
	for rows.Next() {
		m := measured{values: make([]sql.NullInt64, len(durations))}
		var id string
		to := []any{&id, &m.marked, &m.paired}
		for i := range m.values {
			to = append(to, &m.values[i])
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		out[id[len(id)-20:]] = m
	}
	return out
}

// TestDirectionsUnderTwoClocks has the two directions of samples in two files with clocks that differ. No
// duration may contain the difference: it is that of the sample, or null, and then the call has an
// anomaly.
func TestDirectionsUnderTwoClocks(t *testing.T) {
	for _, sample := range []string{"dns.pcap", "http1.pcapng", "http2.pcap", "redis.pcap", "postgresql.pcapng", "tls.pcapng", "icmp.pcap", "ntp.pcapng", "sip.pcapng", "rtp.pcapng", "snmp.pcapng", "web.pcapng"} {
		t.Run(sample, func(t *testing.T) {
			path := filepath.Join("..", "samples", sample)
			if _, err := os.Stat(path); err != nil {
				t.Fatal(err)
			}
			list, link := packetsIn(t, path)
			want := measure(t, []string{path})
			first, other := byDirection(list)
			span := (list[len(list)-1].Time - list[0].Time) / 1000
			for _, ahead := range nightly.Some([]time.Duration{time.Hour, 0, 3 * time.Millisecond, -time.Hour, -3 * time.Millisecond}, 3) {
				got := measure(t, []string{pcapOf(t, "a.pcap", link, 0, first), pcapOf(t, "b.pcap", link, ahead, other)})
				same, null := 0, 0
				for id, g := range got {
					w, ok := want[id]
					for i, v := range g.values {
						switch {
						case v.Valid && within[durations[i]] && v.Int64 <= span: // of one direction, and the other may begin another call there
						case !g.paired && v.Int64 >= 0 && v.Int64 <= span: // its error says so; times are those of one direction
						case !v.Valid && (!ok || !w.values[i].Valid):
						case !v.Valid && !g.marked:
							t.Errorf("ahead by %s: call %s has no %s, and nothing says why", ahead, id, durations[i])
						case !v.Valid:
							null++
						case !ok || v != w.values[i]:
							t.Errorf("ahead by %s: call %s has %s %d, the sample %v", ahead, id, durations[i], v.Int64, w.values)
						default:
							same++
						}
					}
				}
				t.Logf("ahead by %s: %d calls of %d, %d durations equal, %d null", ahead, len(got), len(want), same, null)
			}
		})
	}
}

// TestTwoClocksGiveTheSameBytes compares numbers of workers and orders of the files.
func TestTwoClocksGiveTheSameBytes(t *testing.T) {
	for _, sample := range []string{"dns.pcap", "http1.pcapng"} {
		list, link := packetsIn(t, filepath.Join("..", "samples", sample))
		first, other := byDirection(list)
		a, b := pcapOf(t, "a.pcap", link, 0, first), pcapOf(t, "b.pcap", link, 3*time.Millisecond, other)
		c := pcapOf(t, "c.pcap", link, time.Second, list[len(list)/2:])
		_, want := made(t, Options{Jobs: 1}, a, b, c)
		for _, jobs := range []int{1, 2, 7} {
			if _, got := made(t, Options{Jobs: jobs}, c, b, a); !bytes.Equal(got, want) {
				t.Errorf("%s: %d workers write other files:\n%s", sample, jobs, diffLines(got, want))
			}
		}
	}
}

// TestRotatedFilesHaveOneClock cuts samples into files that follow each other. All durations are those of
// the sample.
func TestRotatedFilesHaveOneClock(t *testing.T) {
	for _, sample := range nightly.Some([]string{"dns.pcap", "http1.pcapng", "tls.pcapng", "postgresql.pcapng"}, 2) {
		path := filepath.Join("..", "samples", sample)
		list, link := packetsIn(t, path)
		want := measure(t, []string{path})
		for cut := len(list)/2 - 2; cut < len(list)/2+2; cut++ {
			for _, names := range [][2]string{{"ring_00001.pcap", "ring_00002.pcap"}, {"x.pcap", "x.pcap1"}} {
				got := measure(t, []string{pcapOf(t, names[0], link, 0, list[:cut]), pcapOf(t, names[1], link, 0, list[cut:])})
				for id, w := range want {
					if g := got[id]; !slices.Equal(g.values, w.values) {
						t.Errorf("%s cut at %d into %v: call %s has %v, want %v", sample, cut, names, id, g.values, w.values)
					}
				}
			}
		}
	}
}

// TestWhatHasAnotherClock has files that do not show that they have one clock.
func TestWhatHasAnotherClock(t *testing.T) {
	list, link := packetsIn(t, filepath.Join("..", "samples", "http1.pcapng"))
	first, other := byDirection(list)
	half := len(list) / 2
	span := time.Duration(list[len(list)-1].Time - list[0].Time)
	for _, tt := range []struct {
		name  string
		files []string
		want  string
	}{
		{"a file that continues another one", []string{pcapOf(t, "a_0001.pcap", link, 0, list[:half]), pcapOf(t, "a_0002.pcap", link, 0, list[half:])}, "0 recording, 0 continued"},
		{"names that say nothing", []string{pcapOf(t, "a.pcap", link, 0, list[:half]), pcapOf(t, "b.pcap", link, 0, list[half:])}, "0 recording, 1 recording"},
		{"names of hosts", []string{pcapOf(t, "node1.pcap", link, 0, list[:half]), pcapOf(t, "node2.pcap", link, 0, list[half:])}, "0 recording, 1 recording"},
		{"one that begins too late", []string{pcapOf(t, "a_0001.pcap", link, 0, list[:half]), pcapOf(t, "a_0002.pcap", link, 2*time.Minute, list[half:])}, "0 recording, 1 recording"},
		{"one that begins before the other ends", []string{pcapOf(t, "a_0001.pcap", link, 0, list[:half]), pcapOf(t, "a_0002.pcap", link, -span/2, list[half:])}, "0 recording, 1 recording"},
		{"the other direction after the first", []string{pcapOf(t, "a_0001.pcap", link, 0, first), pcapOf(t, "a_0002.pcap", link, span+time.Second, other)}, "0 recording, 1 recording"},
		{"two that may continue one of two", []string{pcapOf(t, "a_0001.pcap", link, 0, list[:half]), pcapOf(t, "a_0001.pcap", link, 1, list[:half]), pcapOf(t, "a_0002.pcap", link, 1, list[half:])},
			"0 recording, 1 recording, 2 recording"},
		{"the names say which", []string{pcapOf(t, "a_0001.pcap", link, 0, list[:half]), pcapOf(t, "b_0001.pcap", link, 1, list[:half]), pcapOf(t, "a_0002.pcap", link, 0, list[half:])},
			"0 recording, 1 recording, 0 continued"},
	} {
		got := answersOf(t, tt.files, Options{Release: "test"}, "select string_agg(same_as || ' ' || same_by, ', ' order by clock_id) from clocks")
		if got[0] != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got[0], tt.want)
		}
	}
}

// TestCallsShownUnderALaterClock has a sample in two files whose clocks differ by more than connections wait. Calls
// that are read twice are marked on each connection.
func TestCallsShownUnderALaterClock(t *testing.T) {
	for _, sample := range []string{"http1.pcapng", "redis.pcap"} {
		list, link := packetsIn(t, filepath.Join("..", "samples", sample))
		files := []string{pcapOf(t, "a.pcap", link, 0, list), pcapOf(t, "b.pcap", link, 24*time.Hour, list)}
		got := answersOf(t, files, Options{Release: "test"},
			`with twice as (select right(hex(call_id), 20) as content, max(flow_id) as later from calls where transport = 'tcp' group by 1 having count(distinct flow_id) > 1)
				select count(distinct later) > 0 and count(distinct later) = (select count(distinct flow_id) from anomalies where kind = 'same_call') from twice`,
			"select count(*) from calls where anomalies > 0 and flow_id in (select flow_id from anomalies where kind = 'same_call')",
			"select count(*) from anomalies where kind = 'same_call'")
		if got[0] != "true" || got[1] != got[2] {
			t.Errorf("%s: each connection shown twice is marked: %s; %s calls for %s anomalies", sample, got[0], got[1], got[2])
		}
	}
	list, link := packetsIn(t, filepath.Join("..", "samples", "http1.pcapng"))
	if got := answersOf(t, []string{pcapOf(t, "a.pcap", link, 0, list)}, Options{Release: "test"}, "select count(*) from anomalies where kind = 'same_call'"); got[0] != "0" {
		t.Errorf("%s calls of one capture are marked", got[0])
	}
}

// TestPacketsWithoutTimeHaveNoDurations has a sample in Simple Packet Blocks.
func TestPacketsWithoutTimeHaveNoDurations(t *testing.T) {
	list, link := packetsIn(t, filepath.Join("..", "samples", "http1.pcapng"))
	var b bytes.Buffer
	w, err := pcapng.NewWriter(&b, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface(pcapng.Interface{LinkType: link, SnapLen: 0, TsResol: 6, FCSLen: -1}); err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if err := w.WritePacket(&pcapng.Packet{Kind: pcapng.KindSimple, LinkType: link, OrigLen: p.OrigLen, Data: p.Data}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "simple.pcapng")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	paired := 0
	for id, m := range measure(t, []string{path}) {
		if m.paired {
			paired++
		}
		for i, v := range m.values {
			if v.Valid {
				t.Errorf("call %s has %s %d", id, durations[i], v.Int64)
			}
		}
	}
	if paired == 0 {
		t.Error("no call has a request and a response")
	}
	got := answersOf(t, []string{path}, Options{Release: "test"}, "select count(*) || ' flows with times' from flows where handshake_us is not null or handshake_client_us is not null or handshake_server_us is not null or rtt_avg_us is not null or rtt_samples > 0")
	if got[0] != "0 flows with times" {
		t.Error(got[0])
	}
}

// TestTwoPlacesUnderTwoClocks has samples as captured at both ends, in two files whose clocks differ by less
// than the packets travel, or by more. Every duration is one that a single end shows.
func TestTwoPlacesUnderTwoClocks(t *testing.T) {
	const travel, slower = 10 * time.Microsecond, 50 // so that no packet overtakes its cause
	for _, sample := range []string{"dns.pcap", "http1.pcapng", "redis.pcap", "tls.pcapng", "snmp.pcapng"} {
		list, link := packetsIn(t, filepath.Join("..", "samples", sample))
		start := list[0].Time
		for i := range list {
			list[i].Time = start + (list[i].Time-start)*slower
		}
		first, other := byDirection(list)
		place := func(name string, ahead, asks, answers time.Duration) string {
			var seen []pcapng.Packet
			for i, part := range [][]pcapng.Packet{first, other} {
				for _, p := range part {
					p.Time += int64([]time.Duration{asks, answers}[i])
					seen = append(seen, p)
				}
			}
			slices.SortStableFunc(seen, func(a, b pcapng.Packet) int { return cmp.Compare(a.Time, b.Time) })
			return pcapOf(t, name, link, ahead, seen)
		}
		near := place("near.pcap", 0, 0, 2*travel)
		client, server := measure(t, []string{near}), measure(t, []string{place("far.pcap", 0, travel, travel)})
		for _, ahead := range nightly.Some([]time.Duration{travel / 2, 0, -travel / 2, 10 * travel, -10 * travel, time.Hour, -time.Hour}, 3) {
			null, all := 0, 0
			for id, g := range measure(t, []string{near, place("far.pcap", ahead, travel, travel)}) {
				for i, v := range g.values {
					a, b := client[id].values, server[id].values
					switch {
					case a == nil || b == nil:
						t.Errorf("%s ahead by %s: neither end alone shows call %s", sample, ahead, id)
					case v.Valid && v != a[i] && v != b[i]:
						t.Errorf("%s ahead by %s: call %s has %s %d, the ends show %v and %v", sample, ahead, id, durations[i], v.Int64, a[i], b[i])
					case a[i].Valid && b[i].Valid:
						all++
						if !v.Valid {
							null++
						}
					}
				}
			}
			if null*50 > all {
				t.Errorf("%s ahead by %s: %d of %d durations are null", sample, ahead, null, all)
			}
		}
	}
}
