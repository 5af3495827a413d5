package forensics_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// window makes a bundle of a part of a sample's time, or of all of it if from and to are 0.
func window(t testing.TB, name string, from, to int64) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "w.pcapsule")
	o := exporter.Options{Release: "test", Repanic: true, FromNs: from, ToNs: to}
	if name == "shop.pcapng" {
		o.Kube = []string{filepath.Join("..", "samples", "shop.kube.json")}
	}
	in := name
	if !filepath.IsAbs(in) {
		in = filepath.Join("..", "samples", name)
	}
	if _, err := exporter.Run(ctx, []string{in}, out, o); err != nil {
		t.Fatal(err)
	}
	return out
}

// shown lists all calls of a case with the columns that are equal in every bundle.
func shown(t testing.TB, c *forensics.Case) string {
	t.Helper()
	r := query(t, c, forensics.Query{SQL: "SELECT ts_ns, protocol, src_ip, src_port, dst_ip, dst_port, summary, outcome, endpoint, src_who, dst_who FROM calls ORDER BY ALL", Limit: 1 << 20})
	var b strings.Builder
	for _, row := range r.Rows {
		fmt.Fprintln(&b, row...)
	}
	return b.String()
}

// TestOverlappingBundlesHaveEachCallOnce splits a recording into two overlapping bundles, at many
// places. Together they must equal the whole, in any order.
func TestOverlappingBundlesHaveEachCallOnce(t *testing.T) {
	for _, name := range nightly.Some([]string{"http1.pcapng", "shop.pcapng", "dns.pcap", "redis.pcap", "icmp.pcap", "hard/mid-stream.pcap"}, 2) {
		t.Run(name, func(t *testing.T) {
			all := open(t, sample(t, name))
			want := shown(t, all)
			first, last, _ := all.Window()
			for part := int64(1); part <= 3; part++ {
				middle := first + (last-first)*part/4
				margin := (last - first) / 4 // longer than any call, so no call is split
				a, b := window(t, name, 0, middle+margin), window(t, name, middle-margin, 0)
				forth, back := open(t, a, b), open(t, b, a)
				one, other := shown(t, forth), shown(t, back)
				if one != other {
					t.Errorf("cut %d: the order of the bundles matters: %s", part, diff(one, other))
				}
				calls, copied := number(t, forth, "SELECT count(*) FROM calls"), number(t, forth, "SELECT count(*) FROM sightings")
				if whole := number(t, all, "SELECT count(*) FROM calls"); calls != whole && name != "hard/mid-stream.pcap" {
					t.Errorf("cut %d: %d calls and %d copies, want %d calls: %s", part, calls, copied, whole, diff(one, want))
				}
				if rows := rowsOf(forth, "calls"); calls+copied != rows {
					t.Errorf("cut %d: %d calls and %d copies are not those of both bundles", part, calls, copied)
				}
				const conns = "SELECT count(*) FROM connections"
				again := " WHERE (bundle, conn_id) NOT IN (SELECT (bundle, conn_id) FROM connection_sightings WHERE (bundle, conn_id) <> (of_bundle, of_conn_id))"
				if got, want := number(t, forth, conns+again), number(t, all, conns); got != want {
					t.Errorf("cut %d: %d connections, want %d", part, got, want)
				}
			}
			three := open(t, sample(t, name), window(t, name, 0, (first+last)/2), window(t, name, (first+last)/2, 0))
			if got := shown(t, three); got != want {
				t.Errorf("with the whole recording as well: %s", diff(got, want))
			}
		})
	}
}

// rowsOf sums the rows of a table in the manifests of a case.
func rowsOf(c *forensics.Case, table string) (n int64) {
	for _, b := range c.Bundles() {
		for _, t := range b.Manifest.Tables {
			if t.Name == table {
				n += t.Rows
			}
		}
	}
	return n
}

func diff(got, want string) string {
	var b strings.Builder
	in := func(list string, line string) bool { return strings.Contains("\n"+list, "\n"+line+"\n") }
	for _, line := range strings.Split(got, "\n") {
		if line != "" && !in(want, line) {
			b.WriteString("\n+ " + line)
		}
	}
	for _, line := range strings.Split(want, "\n") {
		if line != "" && !in(got, line) {
			b.WriteString("\n- " + line)
		}
	}
	return b.String()
}

// TestClocksThatDiffer has the same packets twice, with timestamps of different clocks.
func TestClocksThatDiffer(t *testing.T) {
	for _, late := range nightly.Some([]int64{300, 2_000_000, 700_000_000}, 2) {
		for _, name := range []string{"shop.pcapng", "dns.pcap"} {
			shifted := filepath.Join(t.TempDir(), "late.pcapng")
			shift(t, filepath.Join("..", "samples", name), shifted, late)
			c := open(t, sample(t, name), window(t, shifted, 0, 0))
			if got, want := number(t, c, "SELECT count(*) FROM calls"), number(t, open(t, sample(t, name)), "SELECT count(*) FROM calls"); got != want {
				t.Errorf("%s, %d ns late: %d calls, want %d", name, late, got, want)
			}
			if n := number(t, c, "SELECT count(*) FROM sightings s JOIN calls k ON k.bundle = s.of_bundle AND k.call_no = s.of_call_no WHERE k.call_id <> s.call_id"); n > 0 {
				t.Errorf("%s, %d ns late: %d copies have another call_id", name, late, n)
			}
		}
	}
}

// TestCopiesAreReached finds a call by all its ids.
func TestCopiesAreReached(t *testing.T) {
	name := "http1.pcapng"
	c := open(t, sample(t, name), window(t, name, 0, 0))
	r := query(t, c, forensics.Query{SQL: "SELECT k.call_id, s.bundle, s.call_no FROM sightings s JOIN calls k ON k.bundle = s.of_bundle AND k.call_no = s.of_call_no ORDER BY ALL", Limit: 1})
	id := hex.EncodeToString(r.Rows[0][0].([]byte))
	x, err := c.Call(ctx, id, forensics.CallOptions{})
	if err != nil || x.Copies != 1 {
		t.Fatalf("%+v, %v", x, err)
	}
	copied, err := c.Call(ctx, fmt.Sprintf("%d#%d", r.Rows[0][1], r.Rows[0][2]), forensics.CallOptions{})
	if err != nil || copied.Bundle == x.Bundle || copied.Copies != 0 {
		t.Fatalf("%+v, %v", copied, err)
	}
	if _, report := slice(t, c, forensics.Selection{CallIDs: []string{fmt.Sprintf("%d#%d", r.Rows[0][1], r.Rows[0][2])}}); report.Calls != 1 {
		t.Errorf("%+v", report)
	}
}

// TestApartInTime has the same packets an hour apart: equal ids, but different calls.
func TestApartInTime(t *testing.T) {
	shifted := filepath.Join(t.TempDir(), "late.pcapng")
	shift(t, filepath.Join("..", "samples", "http1.pcapng"), shifted, 3600e9)
	c := open(t, sample(t, "http1.pcapng"), window(t, shifted, 0, 0))
	one := number(t, open(t, sample(t, "http1.pcapng")), "SELECT count(*) FROM calls")
	if n := number(t, c, "SELECT count(*) FROM calls"); n != 2*one {
		t.Errorf("%d calls, want %d", n, 2*one)
	}
	r := query(t, c, forensics.Query{SQL: "SELECT call_id FROM calls ORDER BY ts_ns LIMIT 1"})
	var several *forensics.AmbiguousError
	if _, err := c.Call(ctx, hex.EncodeToString(r.Rows[0][0].([]byte)), forensics.CallOptions{}); !errors.As(err, &several) || len(several.Some) != 2 || !strings.Contains(several.Some[1], "1#") {
		t.Errorf("one of two calls: %v", err)
	}
	sel := forensics.Selection{CallIDs: []string{hex.EncodeToString(r.Rows[0][0].([]byte))}}
	if _, err := c.PacketsFile(ctx, sel, filepath.Join(t.TempDir(), "x.pcapng")); !errors.As(err, &several) {
		t.Errorf("packets of one of two calls: %v", err)
	}
}

// shift copies a capture of one link type with all its times moved.
func shift(t *testing.T, from, to string, by int64) {
	t.Helper()
	alter(t, from, to, by, math.MaxInt)
}

// alter copies a capture of one link type with all its times moved, and at most so many bytes of each packet.
func alter(t *testing.T, from, to string, by int64, most int) {
	t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d) // pcap with nanoseconds
	data = append(data, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
	list := packets(t, from)
	data = binary.LittleEndian.AppendUint32(data, uint32(list[0].LinkType))
	for _, p := range list {
		at := p.Time + by
		p.Data = p.Data[:min(len(p.Data), most)]
		for _, n := range []int64{at / 1e9, at % 1e9, int64(len(p.Data)), int64(p.OrigLen)} {
			data = binary.LittleEndian.AppendUint32(data, uint32(n))
		}
		data = append(data, p.Data...)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOverlappingBundlesThatLieAboutTheirRows opens bundles whose manifests have a wrong number of
// calls.
func TestOverlappingBundlesThatLieAboutTheirRows(t *testing.T) {
	for _, rows := range []string{"4000000000000000000", "9000000000000000000", "0"} {
		a, b := window(t, "http1.pcapng", 0, 0), window(t, "http1.pcapng", 0, 0)
		for _, dir := range []string{a, b} {
			name := filepath.Join(dir, "data", "bundle.json")
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lie := regexp.MustCompile(`("name": *"calls"[^{}]*?"rows": *)\d+`).ReplaceAllString(string(text), "${1}"+rows)
			if lie == string(text) {
				t.Fatal("the manifest has no rows of calls")
			}
			if err := os.WriteFile(name, []byte(lie), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		limited, stop := context.WithTimeout(ctx, 30*time.Second)
		c, err := forensics.Open(limited, []string{a, b}, forensics.Options{})
		stop()
		if err != nil {
			t.Fatalf("%s rows: %v", rows, err)
		}
		if calls, copied := number(t, c, "SELECT count(*) FROM calls"), number(t, c, "SELECT count(*) FROM sightings"); calls != copied {
			t.Errorf("%s rows: %d calls, %d copies", rows, calls, copied)
		}
		c.Close()
	}
}

// TestOverlapsThatSplitCalls cuts recordings into three overlapping bundles in the middle of calls. Together they
// have no call twice, although one bundle has the request and another the response. BGP is left out: a row has
// many keepalives.
func TestOverlapsThatSplitCalls(t *testing.T) {
	for _, name := range nightly.Some([]string{"amqp", "amqp1", "http1", "kafka", "mysql", "nats", "postgresql", "rtp", "sctp", "socks", "ssh", "stomp"}, 4) {
		t.Run(name, func(t *testing.T) {
			name := name + ".pcapng"
			all := open(t, sample(t, name))
			times := query(t, all, forensics.Query{SQL: "SELECT quantile_disc(ts_ns, [0.35, 0.5, 0.55, 0.8]) FROM packets"}).Rows[0][0].([]any)
			at := func(i int) int64 { return times[i].(int64) }
			three := open(t, window(t, name, 0, at(2)), window(t, name, at(0), at(3)), window(t, name, at(1), 0))
			const each = "SELECT protocol, outcome IN ('cut', 'unread') AS part, count(*), sum(request_bytes)::BIGINT, sum(response_bytes)::BIGINT FROM calls GROUP BY ALL ORDER BY ALL"
			most := map[string][]any{}
			for _, row := range query(t, all, forensics.Query{SQL: each}).Rows {
				most[fmt.Sprint(row[:2])] = row
			}
			for _, row := range query(t, three, forensics.Query{SQL: each}).Rows {
				want := most[fmt.Sprint(row[:2])]
				if row[1].(bool) {
					continue // what no bundle shows whole
				}
				if want == nil {
					t.Errorf("%v, and the whole has none", row)
					continue
				}
				for i := 2; i < len(row); i++ {
					if row[i].(int64) > want[i].(int64) {
						t.Errorf("%v, the whole has %v", row, want)
					}
				}
			}
		})
	}
}

// TestReportAtOnePlace has a request of DNS at two places, of which one shows the ICMP error about it. That explains the
// request, although the other bundle has more rows.
func TestReportAtOnePlace(t *testing.T) {
	const question = "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01"
	var silent, told traffic.Capture
	silent.Datagram(0, "10.0.0.1", "10.0.0.2:53", question)
	told.Rejected(0, "10.0.0.1", "10.0.0.2:53", question)
	for i := range 5 {
		silent.Datagram(20*time.Second, "10.0.0.3", "10.0.0.2:514", fmt.Sprintf("<14>%d", i))
	}
	bundles := make([]string, 2)
	for i, c := range []*traffic.Capture{&silent, &told} {
		path := filepath.Join(t.TempDir(), "place.pcap")
		if err := c.Write(path); err != nil {
			t.Fatal(err)
		}
		bundles[i] = window(t, path, 0, 0)
	}
	for _, c := range []*forensics.Case{open(t, bundles[0], bundles[1]), open(t, bundles[1], bundles[0])} {
		r := query(t, c, forensics.Query{SQL: "SELECT outcome || ' ' || status_text || ', ' || (SELECT count(*) FROM sightings) FROM calls WHERE protocol = 'dns'"})
		if got := fmt.Sprint(r.Rows); got != "[[refused port_unreachable, 1]]" {
			t.Errorf("the calls of DNS: %s", got)
		}
	}
}

// TestSnapshotLengthsHaveEachCallOnce opens recordings together with copies of which each packet has only its first bytes. Together
// they have the calls of the recording, although the copy lacks bytes by which a call is recognized, or its whole request.
func TestSnapshotLengthsHaveEachCallOnce(t *testing.T) {
	const each = "SELECT protocol, outcome, count(*) FROM calls GROUP BY ALL ORDER BY ALL"
	for _, name := range nightly.Some([]string{"shop.pcapng", "apis.pcapng", "http1.pcapng", "http2.pcap", "kafka.pcapng", "postgresql.pcapng", "amqp.pcapng", "mysql.pcapng", "mongodb.pcapng", "tds.pcapng", "memcached.pcapng", "ldap.pcapng"}, 4) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "short.pcap")
			alter(t, filepath.Join("..", "samples", name), file, 0, 120)
			whole, short := window(t, name, 0, 0), window(t, file, 0, 0)
			want := fmt.Sprint(query(t, open(t, whole), forensics.Query{SQL: each}).Rows)
			for _, paths := range [][]string{{whole, short}, {short, whole}} {
				if got := fmt.Sprint(query(t, open(t, paths...), forensics.Query{SQL: each}).Rows); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
		})
	}
}
