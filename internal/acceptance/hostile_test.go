package acceptance

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// hostileTime is the time limit of a command with a hostile bundle, which mostly has 40 calls.
const hostileTime = 30 * time.Second

// hostile is a manipulated bundle.
type hostile struct {
	t   *testing.T
	dir string
	db  *sql.DB
}

// mutations are ways to manipulate a bundle, with the commands and questions that read the changed
// parts.
var mutations = []struct {
	name, commands string
	change         func(h *hostile)
}{
	{"numbers of calls below zero and above all", "query audit-access", func(h *hostile) {
		h.replace("calls", "call_no", "CASE WHEN call_no % 2 = 0 THEN -9223372036854775807 ELSE 9223372036854775807 - call_no END")
	}},
	{"all calls have one number", "show find-failures", func(h *hostile) { h.replace("calls", "call_no", "7::BIGINT") }},
	{"ids of missing connections, flows and ends", "info describe-service", func(h *hostile) {
		for _, c := range []string{"conn_id", "flow_id", "src_id", "dst_id"} {
			h.replace("calls", c, "9223372036854775807 - "+c)
			h.replace("flows", c, "-9223372036854775807")
		}
	}},
	{"flows of no connection, connections of no flow", "follow find-failures", func(h *hostile) {
		h.replace("flows", "conn_id", "NULL::BIGINT")
		h.replace("connections", "flow_id", "NULL::BIGINT")
	}},
	{"missing packets", "show report", func(h *hostile) {
		h.replace("calls", "cites", "[{'first': 9223372036854775806, 'last': 9223372036854775807}, {'first': -5, 'last': -9}, {'first': 0, 'last': 9223372036854775807}]")
	}},
	{"hundreds of thousands of ranges of packets", "query packets", func(h *hostile) {
		h.enlarge("cites", "list_transform(range(200000), x -> {'first': x * 2, 'last': x * 2})")
	}},
	{"packets at wrong places", "follow packets", func(h *hostile) {
		h.replace("packets", "offset", "9223372036854775807 - packet_no")
		h.replace("packets", "caplen", "2147483647::INTEGER")
	}},
	{"packets of missing files", "follow", func(h *hostile) { h.replace("packets", "file_id", "-2147483647::INTEGER") }},
	{"times from the least to the greatest", "info report describe-service", func(h *hostile) {
		h.replace("calls", "ts_ns", "CASE call_no % 3 WHEN 0 THEN -9223372036854775807 WHEN 1 THEN 9223372036854775807 ELSE ts_ns END")
		for _, table := range []string{"flows", "connections"} {
			h.replace(table, "first_ns", "9223372036854775807")
			h.replace(table, "last_ns", "-9223372036854775807")
		}
	}},
	{"sums that overflow", "info report get-overview find-patterns", func(h *hostile) {
		for _, c := range []string{"request_bytes", "response_bytes", "elapsed_us", "waited_us", "request_body_size"} {
			h.replace("calls", c, "9223372036854775807")
		}
		for _, c := range []string{"src_bytes", "dst_bytes", "src_packets", "src_payload_bytes", "retransmissions"} {
			h.replace("flows", c, "9223372036854775807")
		}
	}},
	{"counts below zero", "report audit-access", func(h *hostile) {
		for _, c := range []string{"request_bytes", "response_bytes", "elapsed_us", "waited_us", "request_body_size"} {
			h.replace("calls", c, "-9223372036854775807")
		}
	}},
	{"calls that are their own parents", "trace-request find-patterns", func(h *hostile) {
		h.replace("calls", "trace_id", "'4bf92f3577b34da6a3ce929d0e0e4736'")
		h.replace("calls", "span_id", "'00f067aa0ba902b7'")
		h.replace("calls", "request_id", "'r'")
		h.replace("calls", "src_id", "dst_id")
	}},
	{"controls and bad texts in names", "info get-overview", func(h *hostile) {
		for _, c := range []string{"name", "who", "namespace", "pod", "service", "dns_name", "hostname", "ip"} {
			h.replace("endpoints", c, `chr(0) || chr(27) || ']0;x' || chr(7) || chr(8238) || '\n' || coalesce(`+c+`, '')`)
		}
		h.replace("calls", "protocol", `'http1' || chr(27) || '[2J'`)
		h.replace("calls", "method", `chr(27) || '[2J' || chr(0)`)
	}},
	{"texts of 20 MB", "info describe-service", func(h *hostile) { h.enlarge("path", "repeat('x', 20000000)") }},
	{"hundreds of thousands of headers", "show find-patterns", func(h *hostile) {
		h.enlarge("headers", "list_transform(range(200000), x -> {'name': 'a', 'value': 'b', 'kind': 'request'})")
	}},
	{"columns that are missing", "query show", func(h *hostile) {
		h.rewrite("calls", "SELECT * EXCLUDE (ts_ns, call_id, conn_id, cites) FROM %s")
	}},
	{"a single unknown column", "info list-findings", func(h *hostile) {
		for _, table := range []string{"calls", "flows", "packets", "connections", "endpoints", "coverage"} {
			h.rewrite(table, "SELECT 1 AS x FROM %s")
		}
	}},
	{"columns of other types", "info mcp", func(h *hostile) {
		h.replace("calls", "ts_ns", "'yesterday'")
		h.replace("calls", "call_id", "5")
		h.replace("calls", "cites", "1.5")
		h.replace("calls", "headers", "'none'")
		h.replace("calls", "failed", "'perhaps'")
	}},
	{"other tables with columns of other types", "packets find-failures", func(h *hostile) {
		h.replace("flows", "first_ns", "DATE '2026-01-01'")
		h.replace("packets", "packet_no", "'one'")
		h.replace("endpoints", "labels", "7")
		h.replace("coverage", "from_ns", "'x'")
	}},
	{"ids of the wrong length", "show trace-request", func(h *hostile) { h.replace("calls", "call_id", "''::BLOB") }},
	{"all calls have one id", "get-overview", func(h *hostile) { h.replace("calls", "call_id", "unhex('00000000000000000000000000000000')") }},
	{"nothing but null", "check report", func(h *hostile) {
		for _, table := range []string{"calls", "flows", "connections", "endpoints", "packets"} {
			h.rewrite(table, "SELECT COLUMNS(*) FROM (SELECT b.* FROM (SELECT 1) LEFT JOIN (SELECT * FROM %s WHERE false) b ON true)")
		}
	}},
	{"files that are not tables", "info", func(h *hostile) {
		for i, part := range h.parts("calls") {
			h.write(part, []byte(strings.Repeat("PAR1", i*100)))
		}
	}},
	{"a table cut short", "report", func(h *hostile) {
		for _, part := range h.parts("calls") {
			h.write(part, h.read(part)[:2000])
		}
	}},
	{"a footer that lies about its length", "info", func(h *hostile) {
		for _, part := range h.parts("calls") {
			data := h.read(part)
			copy(data[len(data)-8:], "\xff\xff\xff\x7f")
			h.write(part, data)
		}
	}},
	{"the bytes of a table reversed", "query", func(h *hostile) {
		for _, part := range h.parts("calls") {
			data := h.read(part)
			for i := 4; i < len(data)*2/3; i += 97 {
				data[i] ^= 0x55
			}
			h.write(part, data)
		}
	}},
	{"60000 parts of a table", "info get-overview", func(h *hostile) {
		part := filepath.Join(h.dir, "data", "tables", "clocks", "part-000.parquet")
		for i := 1; i < 60_000; i++ {
			if err := os.Link(part, filepath.Join(filepath.Dir(part), fmt.Sprintf("part-%06d.parquet", i))); err != nil {
				h.t.Fatal(err)
			}
		}
		h.edit(`("name": *"clocks",\s*"rows": *[0-9]+,\s*"parts": *)1`, `${1}60000`)
	}},
	{"no tables", "info verify", func(h *hostile) {
		if err := os.RemoveAll(filepath.Join(h.dir, "data", "tables")); err != nil {
			h.t.Fatal(err)
		}
	}},
	{"no packets", "follow", func(h *hostile) {
		if err := os.RemoveAll(filepath.Join(h.dir, "data", "packets")); err != nil {
			h.t.Fatal(err)
		}
	}},
	{"wrong numbers of rows", "info report", func(h *hostile) { h.edit(`"rows": *[0-9]+`, `"rows": 9223372036854775807`) }},
	{"numbers of rows below zero", "info", func(h *hostile) { h.edit(`"(rows|parts|packets|bytes)": *[0-9]+`, `"$1": -1`) }},
	{"wrong counts of calls", "info mcp", func(h *hostile) {
		h.edit(`"calls": *\{[^}]*\}`, `"calls": {"http1": 9223372036854775807, "\u001b[2J": 9223372036854775807}`)
	}},
	{"a time range that ends before it begins", "info", func(h *hostile) { h.edit(`"first": *"[^"]*"`, `"first": "2261-01-01T00:00:00Z"`) }},
	{"no time range", "info get-latency", func(h *hostile) { h.edit(`"window": *\{[^}]*\}`, `"window": {}`) }},
	{"tables with names of paths", "query", func(h *hostile) { h.edit(`"name": *"(calls|flows|bodies)"`, `"name": "../../$1\u0000"`) }},
	{"inputs outside", "packets", func(h *hostile) { h.edit(`"path": *"data/[^"]*"`, `"path": "../../../../etc/passwd"`) }},
	{"a deep manifest", "info", func(h *hostile) {
		h.edit(`"warnings": *\[\]`, `"warnings": `+strings.Repeat("[", 1_000_000)+strings.Repeat("]", 1_000_000))
	}},
	{"turned flows", "find-failures", func(h *hostile) { h.edit(`"counters": *\{`, `"counters": {"flow": {"turned": 5}, `) }},
	{"a manifest of another kind", "verify", func(h *hostile) { h.write(filepath.Join(h.dir, "data", "bundle.json"), []byte(`[1]`)) }},
}

// TestTimesThatNoCaptureHas asks about rows whose times DuckDB does not have: the error of a person's
// SQL says which table has them and what to do, and so does that of every other command.
func TestTimesThatNoCaptureHas(t *testing.T) {
	db := duckdbtest.Open(t)
	h := &hostile{t, madeOf(t, filepath.Join("..", "..", "samples", "redis.pcap"), 0, 0), db}
	h.replace("calls", "ts_ns", "CASE WHEN call_no = 1 THEN 9223372036854775807 ELSE ts_ns END")
	const damage = "damaged bundle: data/tables"
	for _, row := range []struct {
		line []string
		want string
	}{
		{[]string{"sql", h.dir, "SELECT * FROM calls"}, damage + "/calls: 1 row has a time (ts_ns) that no capture has; leave out ts_exact: SELECT * EXCLUDE (ts_exact)"},
		{[]string{"sql", h.dir, "SELECT ts_exact FROM calls", "--format", "csv"}, damage + "/calls: 1 row has a time (ts_ns)"},
		{[]string{"sql", h.dir, "SELECT * EXCLUDE (ts_exact) FROM calls"}, ""},
		{[]string{"sql", h.dir, "SELECT ts_ns + 1 FROM calls"}, damage + "/calls: 1 row has a time (ts_ns)"},
		{[]string{"ask", "get-overview", h.dir}, ""},
		{[]string{"query", h.dir, "redis", "--columns", "ts_exact"}, damage + ": an impossible value: "},
	} {
		var out, errOut bytes.Buffer
		code := cli.Main(row.line, strings.NewReader(""), &out, &errOut)
		if said := errOut.String(); (code != 0) != (row.want != "") || !strings.Contains(said, row.want) || strings.HasPrefix(row.want, damage) && (code != 4 || !strings.Contains(said, "hint: pcapsule verify")) {
			t.Errorf("%q: exit code %d, %s; want %q", row.line, code, said, row.want)
		}
	}
}

func (h *hostile) parts(table string) []string {
	h.t.Helper()
	var out []string
	for _, pattern := range []string{"*.parquet", "*/*.parquet"} {
		list, err := filepath.Glob(filepath.Join(h.dir, "data", "tables", table, pattern))
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, list...)
	}
	if len(out) == 0 {
		h.t.Fatalf("table %s has no parts", table)
	}
	return out
}

// rewrite rewrites all parts of a table with a query over the part, %s.
func (h *hostile) rewrite(table, query string) {
	h.t.Helper()
	for _, part := range h.parts(table) {
		read := "read_parquet('" + part + "', hive_partitioning = false)"
		if _, err := h.db.Exec("COPY (" + strings.ReplaceAll(query, "%s", read) + ") TO '" + part + ".new' (FORMAT parquet, COMPRESSION zstd)"); err != nil {
			h.t.Fatalf("%s: %v", query, err)
		}
		if err := os.Rename(part+".new", part); err != nil {
			h.t.Fatal(err)
		}
	}
}

// replace replaces the values of a column in all parts that have it.
func (h *hostile) replace(table, column, value string) {
	h.t.Helper()
	for _, part := range h.parts(table) {
		read := "read_parquet('" + part + "', hive_partitioning = false)"
		var n int
		if err := h.db.QueryRow("SELECT count(*) FROM (DESCRIBE SELECT * FROM "+read+") WHERE column_name = ?", column).Scan(&n); err != nil {
			h.t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		if _, err := h.db.Exec("COPY (SELECT * REPLACE (" + value + " AS \"" + column + "\") FROM " + read + ") TO '" + part + ".new' (FORMAT parquet, COMPRESSION zstd)"); err != nil {
			h.t.Fatalf("%s: %v", value, err)
		}
		if err := os.Rename(part+".new", part); err != nil {
			h.t.Fatal(err)
		}
	}
}

// enlarge replaces a column by a very large value, in one of 5 calls. In make nightly it does
// so in all calls, which takes most of the time of the test.
func (h *hostile) enlarge(column, value string) {
	h.t.Helper()
	if !nightly.On() {
		value = "CASE WHEN call_no % 5 = 1 THEN " + value + ` ELSE "` + column + `" END`
	}
	h.replace("calls", column, value)
}

// edit changes bundle.json.
func (h *hostile) edit(pattern, by string) {
	h.t.Helper()
	path := filepath.Join(h.dir, "data", "bundle.json")
	before := h.read(path)
	after := regexp.MustCompile(pattern).ReplaceAll(before, []byte(by))
	if bytes.Equal(before, after) {
		h.t.Fatalf("%s is not in bundle.json", pattern)
	}
	h.write(path, after)
}

func (h *hostile) read(path string) []byte {
	h.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

func (h *hostile) write(path string, data []byte) {
	h.t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// TestHostileBundles runs every command that reads a bundle on manipulated bundles: each ends in time
// with an answer or a readable error. make nightly runs every command on each bundle, which
// takes minutes.
func TestHostileBundles(t *testing.T) {
	from := madeOf(t, filepath.Join("..", "..", "samples", "http1.pcapng"), 0, 0)
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte("version: 1\nrules: [{name: x, calls: http, count: {min: 1}, latency: {p99: 1s}}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	db := duckdbtest.Open(t)
	var id string
	if err := db.QueryRow("SELECT lower(hex(call_id)) FROM read_parquet('" + from + "/data/tables/calls/protocol=http1/*.parquet') LIMIT 1").Scan(&id); err != nil {
		t.Fatal(err)
	}
	const rpc = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_l4_flows","arguments":{}}}
{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"get_api_call","arguments":{"call_id":"%s"}}}
`
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			h := &hostile{t, filepath.Join(t.TempDir(), "h.pcapsule"), db}
			if err := os.CopyFS(h.dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			m.change(h)
			for _, line := range [][]string{
				{"info", h.dir}, {"verify", h.dir}, {"query", h.dir, "true"}, {"sql", h.dir, "SELECT * FROM calls"}, {"show", h.dir, id}, {"follow", h.dir, id},
				{"packets", h.dir, "http", "-o", filepath.Join(t.TempDir(), "out.pcapng")}, {"check", h.dir, rules}, {"report", h.dir, "-o", filepath.Join(t.TempDir(), "r.html")}, {"mcp", h.dir},
				{"ask", "get-overview", h.dir}, {"ask", "describe-service", h.dir, "--service", "*"}, {"ask", "trace-request", h.dir, "--kfl", "http"}, {"ask", "find-patterns", h.dir}, {"ask", "find-failures", h.dir},
				{"ask", "audit-access", h.dir, "--service", "*"}, {"ask", "get-latency", h.dir}, {"ask", "list-findings", h.dir},
			} {
				name := line[0]
				if name == "ask" {
					name = line[1]
				}
				if !nightly.On() && !slices.Contains(strings.Fields(m.commands), name) {
					continue
				}
				in := ""
				if line[0] == "mcp" {
					in = fmt.Sprintf(rpc, id)
				}
				ends(t, in, line)
			}
		})
	}
}

// ends runs a command. It must end in time without a stack trace, and with a message if it fails.
func ends(t *testing.T, in string, line []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hostileTime)
	defer cancel()
	cmd := program(ctx, line...)
	cmd.WaitDelay = time.Second // its worker holds the pipes
	cmd.Stdin = strings.NewReader(in)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	begin := time.Now()
	err := cmd.Run()
	said := errOut.String()
	code := cmd.ProcessState.ExitCode()
	if nightly.On() {
		t.Logf("%s: %d in %v, out %d: %.300s", line[0], code, time.Since(begin).Round(10*time.Millisecond), out.Len(), strings.ReplaceAll(said, "\n", " ⏎ "))
	}
	switch {
	case ctx.Err() != nil:
		t.Errorf("%v does not end in %v", line, hostileTime)
	case strings.Contains(said, "goroutine ") || strings.Contains(said, "panic") || strings.Contains(out.String(), "goroutine "):
		t.Errorf("%v panics: %.2000s", line, said)
	case code < 0:
		t.Errorf("%v ends with %v", line, err)
	case line[0] != "sql" && (strings.Contains(said, "SQL") || strings.Contains(said, "wire.")):
		t.Errorf("%v prints internal details: %.500s", line, said)
	case code != 0 && said == "":
		t.Errorf("%v ends with %d without a message", line, code)
	}
}
