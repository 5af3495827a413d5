package exporter

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// tlsForgery is a change of a capture of TLS over TCP by somebody who is not on the path: the
// records that are added fail their authentication, or repeat what has arrived (RFC 8446 section 5.2).
type tlsForgery struct {
	name  string
	forge func(list []seen) []seen
	plain bool // it changes nothing, so it leaves no anomaly either
}

// moved is p at another sequence number with another payload.
func moved(p seen, by uint32, payload string) seen {
	p.seq, p.payload = p.seq+by, payload
	return p
}

// around adds packets before and after each one with payload.
func around(before, after func(p seen) []seen) func([]seen) []seen {
	return func(list []seen) (out []seen) {
		for _, p := range list {
			if p.payload == "" {
				out = append(out, p)
				continue
			}
			out = append(append(append(out, before(p)...), p), after(p)...)
		}
		return out
	}
}

func none(seen) []seen { return nil }

const (
	clearAlert  = "\x15\x03\x03\x00\x02\x02\x28"                              // fatal, handshake_failure
	closeNotify = "\x15\x03\x03\x00\x02\x01\x00"                              // warning, close_notify
	badRecord   = "\x17\x03\x03\x00\x20" + "forged forged forged forged forg" // application data
)

var tlsForgeries = []tlsForgery{
	{"each segment again, with another IP id", around(none, func(p seen) []seen { return []seen{p} }), true},
	{"each segment again, with another TTL", around(none, func(p seen) []seen { p.ttl = 3; return []seen{p} }), true},
	{"an alert in clear before each record", around(func(p seen) []seen { return []seen{moved(p, 0, clearAlert)} }, none), false},
	{"an alert in clear after each record, in its place", around(none, func(p seen) []seen { return []seen{moved(p, 0, closeNotify)} }), false},
	{"an alert in clear where the next record will be", around(none, func(p seen) []seen { return []seen{moved(p, uint32(len(p.payload)), clearAlert)} }), false},
	{"a record in place of the next", around(none, func(p seen) []seen { return []seen{moved(p, uint32(len(p.payload)), badRecord)} }), false},
	{"records ahead, in the window", around(none, func(p seen) []seen { return []seen{moved(p, uint32(len(p.payload))+3000, badRecord)} }), false},
	{"records out of the window", around(none, func(p seen) []seen { return []seen{moved(p, 1<<30, badRecord), moved(p, 3<<30, badRecord)} }), false},
}

// captureOf writes packets as a capture.
func captureOf(list []seen) []byte {
	w := frames.NewViews()
	for _, p := range list {
		w.TTL = p.ttl
		if p.proto == 17 {
			w.UDP(p.src.String(), p.dst.String(), p.payload)
		} else {
			w.TCP(p.src.String(), p.dst.String(), p.flags, p.seq, p.ack, 0, p.payload)
		}
	}
	return w.Buf.Bytes()
}

// told returns the calls and the anomalies of a capture, one line each.
func told(t *testing.T, db *sql.DB, list []seen, keys string) (calls, anomalies []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcapsule")
	if _, err := Run(context.Background(), []string{"-"}, path, Options{Release: "test", Stdin: bytes.NewReader(captureOf(list)), Repanic: true, Keys: []string{keys}}); err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		to    *[]string
		query string
	}{
		{&calls, "SELECT concat_ws(' ', protocol, summary, complete, error, response_body_sha256::VARCHAR) FROM read_parquet('{}/calls/**/*.parquet', union_by_name=true, hive_partitioning=false) ORDER BY ALL"},
		{&anomalies, "SELECT concat_ws(' ', source, kind) FROM read_parquet('{}/anomalies/*.parquet') ORDER BY ALL"},
	} {
		rows, err := db.Query(strings.ReplaceAll(q.query, "{}", filepath.Join(path, "data", "tables")))
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			*q.to = append(*q.to, s)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return calls, anomalies
}

// TestForgedRecordsOfTLS adds forged records to captured TLS connections. Their calls stay, or an
// anomaly says what is in doubt.
func TestForgedRecordsOfTLS(t *testing.T) {
	const keys = "../samples/tls.keylog"
	db := duckdbtest.Open(t)
	list := packetsOf(t, "../samples/tls.pcapng")
	want, known := told(t, db, list, keys)
	if len(want) == 0 {
		t.Fatal("nothing was decrypted")
	}
	for _, f := range tlsForgeries {
		t.Run(f.name, func(t *testing.T) {
			calls, anomalies := told(t, db, f.forge(list), keys)
			same, quiet := slices.Equal(calls, want), slices.Equal(anomalies, known)
			if f.plain && !quiet || quiet && !same {
				t.Errorf("calls were\n%s\nand are\n%s\nwith the anomalies\n%s", strings.Join(want, "\n"), strings.Join(calls, "\n"), strings.Join(anomalies, "\n"))
			}
			t.Logf("the calls are the same: %t; %d anomalies", same, len(anomalies)-len(known))
		})
	}
}

// TestHostileCapturesGiveTheSameBytes makes tables of all forgeries with several numbers of workers and
// limits of memory.
func TestHostileCapturesGiveTheSameBytes(t *testing.T) {
	var all []seen
	list := packetsOf(t, "../samples/tls.pcapng")
	for _, f := range tlsForgeries {
		all = append(all, f.forge(list)...)
	}
	list = packetsOf(t, filepath.Join(stacksFolder, "quicgo-v1-aes-128-gcm-sha256-http3.pcap"))
	for _, f := range quicForgeries {
		all = append(all, f.forge(list)...)
	}
	path := filepath.Join(t.TempDir(), "hostile.pcap")
	if err := os.WriteFile(path, captureOf(all), 0o600); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, memory := range []int64{64 << 20, 1 << 30} {
		for _, jobs := range []int{1, 2, 5} {
			_, sums := made(t, Options{Jobs: jobs, Memory: memory}, path)
			tables := slices.DeleteFunc(strings.Split(string(sums), "\n"), func(l string) bool { return strings.HasSuffix(l, " data/bundle.json") }) // it has the limit
			got := []byte(strings.Join(tables, "\n"))
			if want == nil {
				want = got
			} else if !bytes.Equal(got, want) {
				t.Errorf("%d workers, %d MiB: other bytes:\n%s", jobs, memory>>20, diffLines(want, got))
			}
		}
	}
}
