package exporter

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// packetsOf reads a sample.
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
			t.Skipf("%s has several link types", path)
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
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("select hex(call_id), anomalies > 0, request_bytes > 0 and response_bytes > 0, " + strings.Join(durations, ", ") + " from read_parquet('" + filepath.Join(path, "data", "tables", "calls") + "/**/*.parquet', union_by_name=true, hive_partitioning=false)")
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
				t.Skip(err)
			}
			list, link := packetsIn(t, path)
			want := measure(t, []string{path})
			first, other := byDirection(list)
			span := (list[len(list)-1].Time - list[0].Time) / 1000
			for _, ahead := range []time.Duration{0, time.Hour, -time.Hour, 3 * time.Millisecond, -3 * time.Millisecond} {
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
