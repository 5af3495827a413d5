package mcp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp/rpc"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// echoed is longer than the beginning of an invalid value that an error repeats.
var echoed = strings.Repeat("*/", 60)

// invalidValues are passed as every argument.
func invalidValues() map[string]any {
	deep := any("x")
	for range 200 {
		deep = []any{deep}
	}
	return map[string]any{
		"an object": value{"a": value{"b": 1}}, "lists in lists": deep, "a large negative number": -9007199254740991, "a huge number": 1e300, "many": []any{"a", 1, nil, value{}, "b"},
		"a text": strings.Repeat("*/", 100), "a list of a text": []any{strings.Repeat("*/", 100)},
		"a long text": strings.Repeat("x", 40_000), "invalid UTF-8": "\x00\xff\xfe", "a path": "../../../../etc/passwd", "SQL": `x' OR 1=1; DROP VIEW calls; -- " FROM read_text('/etc/passwd') --`, "a pattern": "(a+)+$(",
	}
}

// TestToolsRefuseInvalidArguments passes invalid values as every argument of every tool. The
// result is an answer or an argument error that reveals nothing about this machine, and the
// server keeps running.
func TestToolsRefuseInvalidArguments(t *testing.T) {
	s := serving(t, Options{ExportDir: t.TempDir(), Deadline: 10 * time.Second}, bundled(t, "http1.pcapng"))
	c := dial(t, listening(t, s, HTTPOptions{}), "2025-11-25", nil)
	list, err := c.ListTools(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	values := invalidValues()
	seen := map[string]bool{} // arguments that several tools share: later ones get one of the values
	turn := 0
	for _, tool := range list.Tools {
		schema, _ := tool.InputSchema.(map[string]any)
		fields, _ := schema["properties"].(map[string]any)
		fields["an_argument_nobody_knows"] = nil
		for name, rule := range fields {
			key, err := json.Marshal(value{name: rule})
			if err != nil {
				t.Fatal(err)
			}
			again := seen[string(key)] || !nightly.On()
			seen[string(key)] = true
			turn++
			for i, why := range slices.Sorted(maps.Keys(values)) {
				if again && i != turn%len(values) {
					continue
				}
				v := values[why]
				r, err := c.CallTool(context.Background(), &sdk.CallToolParams{Name: tool.Name, Arguments: value{name: v}})
				var rpc *jsonrpc.Error
				switch {
				case errors.As(err, &rpc) && rpc.Code == jsonrpc.CodeInvalidParams:
					if len(rpc.Message) > 2000 || strings.Contains(rpc.Message, echoed) {
						t.Errorf("%s, %s as %s: repeats it: %s", tool.Name, why, name, ask.Clip(rpc.Message, 300))
					}
					continue
				case err != nil:
					t.Fatalf("%s, %s as %s: %v", tool.Name, why, name, err)
				}
				text, ok := r.Content[0].(*sdk.TextContent)
				if !ok || text.Text == "" || len(text.Text) > tools.AnswerBytes {
					t.Errorf("%s, %s as %s: no answer, or one that is too long", tool.Name, why, name)
					continue
				}
				for _, internal := range []string{"root:", "goroutine ", "panic", "runtime error", ".go:"} {
					if strings.Contains(text.Text, internal) {
						t.Errorf("%s, %s as %s: reveals %q: %s", tool.Name, why, name, internal, ask.Clip(text.Text, 300))
					}
				}
				if r.IsError && (len(text.Text) > 2000 || strings.Contains(text.Text, echoed)) {
					t.Errorf("%s, %s as %s: an error of %d bytes, or one that repeats it: %s", tool.Name, why, name, len(text.Text), ask.Clip(text.Text, 300))
				}
			}
		}
	}
	talk(t, c)
}

func TestSQLReadsOnlyTheTables(t *testing.T) {
	c := dial(t, listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{}), rpc.Newest, nil)
	for why, sql := range map[string]string{
		"reading a file":            "SELECT * FROM read_text('/etc/passwd')",
		"a file as a table":         "SELECT * FROM '/etc/passwd'",
		"a file by a name in WITH":  `WITH "/etc/passwd" AS (SELECT 1) SELECT * FROM "/etc/passwd"`,
		"reading a URL":             "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
		"writing a file":            "COPY calls TO '/tmp/x.csv'",
		"two statements":            "SELECT 1; DROP VIEW calls",
		"a comment before a second": "SELECT 1 --\n; ATTACH '/tmp/x.db'",
		"dropping a view":           "DROP VIEW calls",
		"an extension":              "INSTALL httpfs",
		"a setting":                 "SET memory_limit='100GB'",
		"reading a setting":         "SELECT current_setting('temp_directory')",
		"an environment variable":   "SELECT getenv('HOME')",
		"a query in a string":       "SELECT * FROM query('SELECT 1')",
		"a prepared statement":      "PREPARE x AS SELECT 1",
		"a table of DuckDB":         "SELECT * FROM duckdb_settings()",
	} {
		var out any
		if e := callTool(t, c, "run_sql", value{"sql": sql}, &out); !strings.Contains(e, "refused") {
			t.Errorf("%s: %q, want it refused (%v)", why, e, out)
		}
	}
	talk(t, c)
}

// TestRunawayQueriesEnd runs queries that need too much time, memory or rows.
func TestRunawayQueriesEnd(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.ndjson")
	audit, err := accesslog.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer audit.Close()
	s := serving(t, Options{Deadline: time.Second, AccessLog: audit}, bundled(t, "http1.pcapng"))
	c := dial(t, listening(t, s, HTTPOptions{}), rpc.Newest, nil)
	for why, sql := range map[string]string{
		"an endless product":          "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE sin(a.range + b.range) > 2",
		"an endless recursion":        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
		"an endless list":             "SELECT list(range) FROM range(3000000000)",
		"an endless string":           "SELECT repeat(repeat('x', 1000000), 1000000)",
		"endless long strings":        "SELECT list(repeat('x', 1000000) || range) FROM range(100000)",
		"a huge sort":                 "SELECT a.range FROM range(3000000000) a ORDER BY md5(a.range::VARCHAR) LIMIT 1000000000",
		"nested lambdas":              "SELECT " + strings.Repeat("list_transform([1], x -> ", 20) + "1" + strings.Repeat(")", 20),
		"a crash":                     "SELECT json_structure(repeat('[', 200000) || repeat(']', 200000))",
		"an uninterruptible function": "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))",
		"a huge quantile":             "SELECT median(range) FROM range(3000000000)",
		"nested parentheses":          "SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000),
	} {
		begin := time.Now()
		var out any
		if e := callTool(t, c, "run_sql", value{"sql": sql}, &out); e == "" || strings.Contains(e, "goroutine") || time.Since(begin) > 8*time.Second {
			t.Errorf("%s: answered %v, %s after %s", why, out, e, time.Since(begin))
		}
	}
	talk(t, c)
	lines, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the question ended the database process", "deadline exceeded", "out of memory"} {
		if !strings.Contains(string(lines), want) {
			t.Errorf("the access log does not contain %q", want)
		}
	}
}

// TestErrorsAreMarked checks that errors, which may quote traffic, have the trust note like
// answers.
func TestErrorsAreMarked(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{})
	body, header := modern("tools/call", "run_sql", `{"name":"run_sql","arguments":{"sql":"select path::integer from calls"}}`)
	status, got := post(t, url, body, header...)
	if !strings.Contains(got, `"isError":true`) || strings.Count(got, tools.TrustNote) < 2 {
		t.Errorf("status %d, %s", status, got)
	}
	for path, want := range map[string]int{"/calls?kfl=nosuch+%3D%3D+1": 400, "/calls?limit=2": 200} {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want || res.Header.Get(trustHeader) != tools.TrustNote || want != 200 && !strings.Contains(string(text), `"trust":"untrusted`) {
			t.Errorf("%s: status %d, %v, %s", path, res.StatusCode, res.Header, ask.Clip(string(text), 200))
		}
	}
}

// TestAClosedCaseIsGone asks for parts of a closed case.
func TestAClosedCaseIsGone(t *testing.T) {
	first, second := bundled(t, "http1.pcapng"), bundled(t, "shop.pcapng")
	o := Options{Allow: []string{filepath.Dir(second)}}
	o.Open = opener(o)
	c := dial(t, listening(t, serving(t, o, first), HTTPOptions{}), "2025-11-25", nil)
	if _, e := answer(t, c, "open_case", value{"path": second}); e != "" {
		t.Fatal(e)
	}
	var calls tools.ListAPICallsOut
	if e := callTool(t, c, "list_api_calls", value{"kfl": `dst.service == "payment" || path == "/v1/payments"`, "limit": 1}, &calls); e != "" || len(calls.Calls) != 1 {
		t.Fatalf("%s, %d calls", e, len(calls.Calls))
	}
	if _, e := answer(t, c, "close_case", value{"path": caseNamed(t, c, "shop")}); e != "" {
		t.Fatal(e)
	}
	var out any
	if e := callTool(t, c, "get_api_call", value{"call_id": calls.Calls[0].ID}, &out); !strings.Contains(e, "not found") {
		t.Errorf("a call of a closed case: %q", e)
	}
	for _, uri := range []string{"pcapsule://cases/1", "pcapsule://calls/" + calls.Calls[0].ID} {
		if _, err := c.ReadResource(context.Background(), &sdk.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s of a closed case is still readable", uri)
		}
	}
	talk(t, c)
}

// TestASlowClientDelaysNoOther sends a request byte by byte while others are answered.
func TestASlowClientDelaysNoOther(t *testing.T) {
	url := listening(t, serving(t, Options{}, bundled(t, "http1.pcapng")), HTTPOptions{})
	body := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"slow","version":"1"}}}`
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(text string) {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	send(fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: %d\r\n\r\n", len(body)))
	for i := range body {
		send(body[i : i+1])
		if i%40 == 0 {
			talk(t, dial(t, url, rpc.Newest, nil))
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20)); res.StatusCode != 200 || !strings.Contains(string(data), `"protocolVersion":"2025-11-25"`) {
		t.Errorf("status %d, %s, %v", res.StatusCode, ask.Clip(string(data), 200), err)
	}
	var whole json.RawMessage
	if status, text := post(t, url, body); status != 200 || json.Unmarshal([]byte(text), &whole) != nil && !strings.Contains(text, "data: ") {
		t.Errorf("the same request in one piece: %d %s", status, ask.Clip(text, 200))
	}
}

// TestDeadlinesAreTimeouts has the errors of questions that the database, or the program itself, ended too late.
func TestDeadlinesAreTimeouts(t *testing.T) {
	for _, err := range []error{forensics.ErrDeadline, context.DeadlineExceeded} {
		if got := statusOf(&publicError{"late", fmt.Errorf("reading bodies: %w", err)}); got != http.StatusGatewayTimeout {
			t.Errorf("%v: status %d", err, got)
		}
	}
}
