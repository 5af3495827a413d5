package kfl

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// TestLookups tests fields in other tables: the flow of a call, its connection, and the
// handshake on it.
func TestLookups(t *testing.T) {
	call := func(no int64, protocol string, conn, flow int64) *testRow {
		r := row(map[string]any{"protocol": protocol, "call_no": no, "ts_ns": noon})
		if conn > 0 {
			r.set("conn_id", conn)
			r.set("flow_id", flow)
		}
		return r
	}
	rows := []*testRow{call(0, "tls", 1, 1), call(1, "http1", 1, 1), call(2, "http1", 2, 2), call(3, "dns", 0, 0), call(4, "tls", 1, 1), call(5, "tls", 3, 4)}
	rows[0].text("tls_version_name", "TLS 1.2")
	rows[4].text("tls_version_name", "TLS 1.3")
	rows[4].text("tls_ja4", "t13d")
	rows[5].text("tls_version_name", "TLS 1.3")
	db := duck(t, rows)
	n := int64(0)
	fill(t, db, rows, func(column string, f *field) any {
		switch {
		case column == "retransmissions":
			n++
			return n
		case column == "cert_not_after_ns":
			n += 10
			return noon + n*seconds
		case column == "encryption":
			return "tls"
		case column == "rtt_avg_us":
			return 2500
		case column == "cert_expired":
			return true
		case column == "protocols":
			return []string{"tls", "http1"}
		case f.typ.kind == kInt:
			return 0
		}
		return nil
	})
	env := Env{Now: noon, Findings: testFindings{"weak-tls": {1, 4}, "pii": {3}, "none": {}}}
	for _, tt := range []struct {
		why, src string
		want     []int
	}{
		{"retransmissions of the flow", `http && retransmissions > 0`, []int{1, 2}},
		{"a number of retransmissions", `tcp.retransmissions == 1 && http`, []int{1}},
		{"a round trip with a duration", `tcp.rtt > 2ms && tcp.rtt < 3ms && !dns`, []int{0, 1, 2, 4, 5}},
		{"absent without a flow", `!tcp.rtt`, []int{3}},
		{"zero is present", `zero_windows == 0 && dns`, nil},
		{"protocols of the flow under an older name", `"tls" in flow_l7_detected && http`, []int{1, 2}},
		{"encryption of the connection", `connection.encryption == "tls" && http`, []int{1, 2}},
		{"the version of the first handshake", `http && tls.version_name == "TLS 1.2"`, []int{1}},
		{"the first handshake with the value", `http && tls.ja4 == "t13d"`, []int{1}},
		{"absent for a plain call", `http && !tls.version_name`, []int{2}},
		{"an expired certificate of the connection", `tls.cert_expired && http`, []int{1}},
		{"a certificate that expires soon", `tls.cert_not_after < now() + duration("1h") && http`, []int{1}},
		{"a finding", `finding == "weak-tls"`, []int{1, 4}},
		{"a finding in the list", `"pii" in findings || finding in ["weak-tls"]`, []int{1, 3, 4}},
		{"any finding", `http && findings`, []int{1}},
		{"no finding", `http && finding == nil`, []int{2}},
		{"a finding of no call", `finding == "none"`, nil},
		{"not a finding", `http && !("weak-tls" in findings)`, []int{2}},
	} {
		q, err := Compile(tt.src, env)
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		var got []int
		for i, yes := range matching(t, db, rows, q) {
			if yes {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, tt.want) {
			sql, _ := q.SQL()
			t.Errorf("%s: %v, want %v\n%s", tt.why, got, tt.want, sql)
		}
	}
	for src, want := range map[string]string{`finding == "weak-tsl"`: `did you mean "weak-tls"?`, `finding != "pii"`: `!("name" in findings)`, `size(findings) > 1`: "by name", `findings.exists(f, f == "pii")`: "by name", `finding == host`: "by name"} {
		if _, err := Compile(src, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
	}
}

// TestSeveralBundles checks that lookups stay within the bundle of the call.
func TestSeveralBundles(t *testing.T) {
	env := Env{Columns: map[string]string{"bundle": "INTEGER", "call_no": "BIGINT", "flow_id": "BIGINT", "conn_id": "BIGINT", "protocol": "VARCHAR"},
		Tables:   map[string]map[string]string{"flows_raw": {"flow_id": "BIGINT", "bundle": "INTEGER", "retransmissions": "BIGINT"}, "tls_handshakes": {"call_no": "BIGINT"}},
		Findings: testFindings{"x": {1<<48 + 7}}}
	q, err := Compile(`tcp.retransmissions > 3 && finding == "x"`, env)
	if err != nil {
		t.Fatal(err)
	}
	db := duckdbtest.Open(t)
	if _, err := db.Exec(`CREATE VIEW calls AS FROM (VALUES (0, 0, 7, 5, 'http1'), (1, 1, 7, 5, 'http1')) AS t(row_no, bundle, call_no, flow_id, protocol);
		CREATE VIEW flows_raw AS SELECT 5 AS flow_id, 1 AS bundle, 4 AS retransmissions`); err != nil {
		t.Fatal(err)
	}
	if got, err := answers(db, 2, q); err != nil || got[0][0] || !got[0][1] {
		t.Errorf("the calls of two bundles: %v, %v, want only the second", got, err)
	}
	if q, err = Compile(`tls.cert_expired`, env); err != nil {
		t.Fatal(err)
	} else if sql, _ := q.SQL(); sql != "FALSE" {
		t.Errorf("a missing column: %s", sql)
	}
}
