package kfl

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// BenchmarkSQL queries a million calls with a hundred thousand distinct bodies of about 2 kB,
// in Parquet as in a bundle. Queries on bodies are measured in bytes per second, those on
// columns in calls per second.
func BenchmarkSQL(b *testing.B) {
	const calls, texts = 1_000_000, 100_000
	dir := b.TempDir()
	db := duckdbtest.Open(b)
	run := func(form string, args ...any) {
		if _, err := db.Exec(fmt.Sprintf(form, args...)); err != nil {
			b.Fatal(err)
		}
	}
	file := func(name string) string { return literalOf(filepath.Join(dir, name+".parquet")) }
	run(`COPY (SELECT unhex(sha256(i::VARCHAR)) AS sha256, 0::INTEGER AS part, 0::BIGINT AS "offset", strlen(text)::BIGINT AS size, text, NULL::BLOB AS bytes FROM
		(SELECT i, '{"order": {"id": ' || i || ', "note": "' || repeat('abcdefgh ' || md5(i::VARCHAR) || ' ', 46) || '"}}' AS text FROM range(%d) t(i))) TO %s`, texts, file("bodies"))
	run(`COPY (SELECT i AS call_no, i %% 1000 AS flow_id, i %% 1000 AS conn_id, i * 1000 AS ts_ns, unhex(sha256((i %% %d)::VARCHAR)) AS request_body_sha256,
		CASE i %% 7 WHEN 0 THEN 'http1' ELSE 'dns' END AS protocol, (200 + i %% 400)::INTEGER AS status_code, '/a/b/' || i %% 1000 AS path, '10.' || i %% 256 || '.' || i %% 7 || '.1' AS src_ip,
		[{'name': 'Accept', 'value': 'x', 'kind': 'request'}, {'name': 'Authorization', 'value': 'Bearer ' || i, 'kind': 'request'}] AS headers, 'GET' AS method
		FROM range(%d) t(i)) TO %s`, texts, calls, file("calls"))
	run("COPY (SELECT i AS flow_id, i %% 5 AS retransmissions, 2000 AS rtt_avg_us FROM range(1000) t(i)) TO %s", file("flows"))
	for _, name := range []string{"bodies", "calls", "flows"} {
		run("CREATE VIEW %s AS SELECT * FROM %s", name, file(name))
	}
	var size int64
	if err := db.QueryRow("SELECT sum(size) FROM bodies").Scan(&size); err != nil {
		b.Fatal(err)
	}
	text := map[string]string{}
	for _, c := range []string{"protocol", "path", "src_ip", "method"} {
		text[c] = "VARCHAR"
	}
	for _, c := range []string{"call_no", "flow_id", "conn_id", "ts_ns", "status_code"} {
		text[c] = "BIGINT"
	}
	text["request_body_sha256"], text["headers"] = "BLOB", "STRUCT(name VARCHAR, value VARCHAR, kind VARCHAR)[]"
	env := Env{Columns: text, Tables: map[string]map[string]string{"flows": {"flow_id": "BIGINT", "retransmissions": "BIGINT", "rtt_avg_us": "BIGINT"}}}
	for _, tt := range []struct {
		src    string
		bodies bool
	}{
		{`request.body contains "no such text"`, true},
		{`http && request.body contains "no such text"`, true},
		{`request.body.matches("n[ou] +such [a-z]+")`, true},
		{`request.body.json().order.id == 12345`, true},
		{`request.body.json().*.id == 12345`, true},
		{`request.body.json()..id == 12345`, true},
		{`http && status_code >= 500`, false},
		{`path.startsWith("/a/b/99") && status_code < 300`, false},
		{`src.ip in "10.16.0.0/12"`, false},
		{`src.ip in "fd00::/8"`, false},
		{`request.headers["authorization"] == "Bearer 7"`, false},
		{`tcp.retransmissions > 3 && tcp.rtt > 1ms`, false},
	} {
		q, err := Compile(tt.src, env)
		if err != nil {
			b.Fatal(err)
		}
		where, args := q.SQL()
		b.Run(tt.src, func(b *testing.B) {
			if tt.bodies {
				b.SetBytes(size)
			}
			for b.Loop() {
				var n int64
				if err := db.QueryRow("SELECT count(*) FROM calls WHERE "+where, args...).Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
			if !tt.bodies {
				b.ReportMetric(float64(calls)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mcalls/s")
			}
		})
	}
}

// BenchmarkXML parses a body of about 2 kB and tests one element.
func BenchmarkXML(b *testing.B) {
	text := `<s:Envelope xmlns:s="urn:s"><s:Body><order>` + strings.Repeat(`<item sku="abc"><id>7</id><note>some words &amp; more</note></item>`, 30) + `</order></s:Body></s:Envelope>`
	r := row(map[string]any{})
	r.body("request", text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		q, err := Compile(`request.body.xml().Envelope.Body.order.item[1].id == "7"`, Env{Bodies: &testBodies{rows: []*testRow{r}}})
		if err != nil {
			b.Fatal(err)
		}
		if where, _ := q.SQL(); where == "FALSE" {
			b.Fatal("no match")
		}
	}
}
