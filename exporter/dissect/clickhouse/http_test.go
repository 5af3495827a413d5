package clickhouse

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/contenttest"
)

// read reads an exchange. The result is the summary, the outcome, and the columns that have a value.
func read(x content.Exchange) string {
	var s Statement
	if !ReadHTTP(&x, &s) {
		return "no"
	}
	out := fmt.Sprintf("%s [%s %s] %s", x.Summary, x.Outcome, x.StatusText.V, x.Endpoint)
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		name, f := strings.TrimPrefix(v.Type().Field(i).Tag.Get("col"), "clickhouse_"), v.Field(i)
		switch {
		case f.IsZero() || name == "query" || name == "success":
		case f.Kind() == reflect.Struct && f.Field(0).IsZero() && name == "partial":
		case f.Kind() == reflect.Struct:
			out += fmt.Sprintf(" %s=%v", name, f.Field(0).Interface())
		default:
			out += fmt.Sprintf(" %s=%v", name, f.Interface())
		}
	}
	return out
}

const ours = "\nX-ClickHouse-Server-Display-Name: db"

// frameOf is a frame that is not compressed.
func frameOf(content string) string {
	h := make([]byte, frameSum+frameHead)
	h[frameSum] = methodNone
	binary.LittleEndian.PutUint32(h[frameSum+1:], uint32(len(content)+frameHead))
	binary.LittleEndian.PutUint32(h[frameSum+5:], uint32(len(content)))
	return string(h) + content
}

func TestReadHTTP(t *testing.T) {
	const block = "\x01\x02\x01a\x05UInt8\x07\x08" // a column of two rows
	for _, c := range []struct {
		name string
		e    content.Exchange
		want string
	}{
		{"a statement in the URL", contenttest.HTTP("GET /?query=SELECT%201,%20%27a%27&max_threads=2&param_id=7&database=shop&user=u&password=hunter2", ours, "", 200, "1\ta\n"),
			"ClickHouse SELECT 1, 'a' → 200, 1 row [ ] ClickHouse SELECT kind=QUERY params=[id=7] settings=[max_threads=2] rows=1 preview=1\ta\n user=u database=shop"},
		{"a statement in the body", contenttest.HTTP("POST /", "X-ClickHouse-User: u\nX-ClickHouse-Key: hunter2\nX-ClickHouse-Database: shop\n\nX-ClickHouse-Query-Id: q1\nX-ClickHouse-Summary: {\"read_rows\":\"5\",\"read_bytes\":\"40\",\"written_rows\":\"0\"}",
			"SELECT a FROM t FORMAT JSONCompact", 200, `{"meta":[{"name":"a","type":"UInt8"}],"data":[[1],[null],[[2]]],"rows":3}`),
			"ClickHouse SELECT a FROM t FORMAT JSONCompact → 200, 3 rows [ ] ClickHouse SELECT kind=QUERY query_id=q1 columns=[a] types=[UInt8] rows=3 preview=1\n\\N\n…\n read_rows=5 read_bytes=40 user=u database=shop"},
		{"a statement that begins in the URL", contenttest.HTTP("POST /?query=SELECT", ours, "a FROM t", 200, ""), "ClickHouse SELECT a FROM t → 200, 0 rows [ ] ClickHouse SELECT kind=QUERY rows=0"},
		{"rows after a statement in the URL", contenttest.HTTP("POST /?query=INSERT+INTO+t+FORMAT+CSVWithNames", ours, "a,b\n1,\"x\ny\"\n2,z\n", 200, ""), "ClickHouse INSERT INTO t FORMAT CSVWithNames → 200, 2 rows inserted [ ] ClickHouse INSERT kind=QUERY inserted_rows=2"},
		{"rows after a statement in the body", contenttest.HTTP("POST /", ours, "INSERT INTO t FORMAT JSONEachRow {\"password\":\"x\"}\n{\"a\":2}", 200, ""), "ClickHouse INSERT INTO t FORMAT JSONEachRow → 200, 2 rows inserted [ ] ClickHouse INSERT kind=QUERY inserted_rows=2"},
		{"compressed rows of the client", contenttest.HTTP("POST /?query=INSERT+INTO+t+FORMAT+Native&decompress=1", ours, frameOf(block[:4])+frameOf(block[4:]), 200, ""), "ClickHouse INSERT INTO t FORMAT Native → 200, 2 rows inserted [ ] ClickHouse INSERT kind=QUERY inserted_rows=2"},
		{"compressed rows of the server", contenttest.HTTP("POST /?default_format=Native&compress=1", ours, "SELECT a", 200, frameOf(block+block)),
			"ClickHouse SELECT a → 200, 4 rows [ ] ClickHouse SELECT kind=QUERY settings=[default_format=Native] columns=[a] types=[UInt8] rows=4 preview=7\n8\n7\n8\n compression=none"},
		{"compressed rows that are cut", contenttest.HTTP("POST /?default_format=Native&compress=1", ours, "SELECT a", 200, frameOf(block + block)[:30]),
			"ClickHouse SELECT a → 200 [ ] ClickHouse SELECT kind=QUERY settings=[default_format=Native] partial=true"},
		{"blocks with numbered fields", contenttest.HTTP("POST /?client_protocol_version=54405", ours, "SELECT a FORMAT Native", 200, "\x01\x00\x02\xff\xff\xff\xff\x00"+block),
			"ClickHouse SELECT a FORMAT Native → 200, 2 rows [ ] ClickHouse SELECT kind=QUERY columns=[a] types=[UInt8] rows=2 preview=7\n8\n"},
		{"rows in binary", contenttest.HTTP("POST /", ours, "SELECT a, b FORMAT RowBinaryWithNamesAndTypes", 200, "\x02\x01a\x01b\x05UInt8\x10Nullable(String)\x07\x00\x02hi\x08\x01"),
			"ClickHouse SELECT a, b FORMAT RowBinaryWithNamesAndTypes → 200, 2 rows [ ] ClickHouse SELECT kind=QUERY columns=[a b] types=[UInt8 Nullable(String)] rows=2 preview=7\thi\n8\t\\N\n"},
		{"totals are no rows", contenttest.HTTP("POST /", ours, "SELECT a, count() FROM t GROUP BY a WITH TOTALS", 200, "1\t2\n\n0\t2\n"), "ClickHouse SELECT a, count() FROM t GROUP BY a WITH TOTALS → 200, 1 row [ ] ClickHouse SELECT kind=QUERY rows=1 preview=1\t2\n"},
		{"a format that is not read", contenttest.HTTP("POST /", ours, "SELECT 1 FORMAT Pretty", 200, "┌─1─┐"), "ClickHouse SELECT 1 FORMAT Pretty → 200 [ ] ClickHouse SELECT kind=QUERY partial=true"},
		{"a form", contenttest.HTTP("POST /", "Content-Type: multipart/form-data; boundary=x\n"+ours,
			"--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a:UInt8}\r\n--x\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n7\r\n--x--", 200, "1\n"),
			"ClickHouse SELECT {a:UInt8} → 200, 1 row [ ] ClickHouse SELECT kind=QUERY params=[a=1] rows=1 preview=1\n"},
		{"an error", contenttest.HTTP("POST /", "\nX-ClickHouse-Exception-Code: 241", "SELECT 1", 500, "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED) (version 25.8.1.1 (official build))\n"),
			"ClickHouse SELECT 1 → 500, MEMORY_LIMIT_EXCEEDED: DB::Exception: Memory limit exceeded. [server_error MEMORY_LIMIT_EXCEEDED] ClickHouse SELECT kind=QUERY error_code=241 error_code_name=MEMORY_LIMIT_EXCEEDED error_message=DB::Exception: Memory limit exceeded."},
		{"an error of an old server is the client's, with status 500", contenttest.HTTP("POST /", "", "SELECT 1", 500, "Code: 47, e.displayText() = DB::Exception: Unknown identifier: x, e.what() = DB::Exception\n"),
			"ClickHouse SELECT 1 → 500, UNKNOWN_IDENTIFIER: DB::Exception: Unknown identifier: x [client_error UNKNOWN_IDENTIFIER] ClickHouse SELECT kind=QUERY error_code=47 error_code_name=UNKNOWN_IDENTIFIER error_message=DB::Exception: Unknown identifier: x"},
		{"an error after rows", contenttest.HTTP("POST /", "\nX-ClickHouse-Exception-Tag: tag", "SELECT 1", 200, "1\n2\n\r\n__exception__\r\ntag\r\nCode: 159. DB::Exception: Timeout. (TIMEOUT_EXCEEDED) (version 25.11)\n70 tag\r\n__exception__\r\n"),
			"ClickHouse SELECT 1 → 200, TIMEOUT_EXCEEDED: DB::Exception: Timeout. [server_error TIMEOUT_EXCEEDED] ClickHouse SELECT kind=QUERY rows=2 preview=1\n2\n error_code=159 error_code_name=TIMEOUT_EXCEEDED error_message=DB::Exception: Timeout."},
		{"an error after rows without a tag", contenttest.HTTP("POST /", ours, "SELECT 1, 2", 200, "1\t2\nCode: 159. DB::Exception: Timeout. (TIMEOUT_EXCEEDED) (version 23.1)\n"),
			"ClickHouse SELECT 1, 2 → 200, TIMEOUT_EXCEEDED: DB::Exception: Timeout. [server_error TIMEOUT_EXCEEDED] ClickHouse SELECT kind=QUERY rows=1 preview=1\t2\n error_code=159 error_code_name=TIMEOUT_EXCEEDED error_message=DB::Exception: Timeout."},
		{"a row that is the text of an error", contenttest.HTTP("POST /", ours, "SELECT exception FROM system.query_log", 200, "\nCode: 159. DB::Exception: Timeout. (TIMEOUT_EXCEEDED) (version 23.1)\n"),
			"ClickHouse SELECT exception FROM system.query_log → 200, 2 rows [ ] ClickHouse SELECT kind=QUERY rows=2 preview=\nCode: 159. DB::Exception: Timeout. (TIMEOUT_EXCEEDED) (version 2…\n"},
		{"a ping", contenttest.HTTP("GET /", ours, "", 200, "Ok.\n"), "ClickHouse PING → 200 [ ] ClickHouse PING kind=PING"},
		{"a page of the server", contenttest.HTTP("GET /", ours, "", 200, "<html>"), "no"},
		{"the form of another server", contenttest.HTTP("POST /?query=SELECT+1", "", "", 200, "1\n"), "no"},
		{"another server's error", contenttest.HTTP("POST /?query=SELECT+1", "", "", 500, "Code: 1. Error\n"), "no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := read(c.e)
			if strings.Contains(got, "hunter2") {
				t.Error("a column has the password")
			}
			if got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func FuzzHTTP(f *testing.F) {
	f.Add("POST /?compress=1&decompress=1&query=INSERT+INTO+t+FORMAT+Native", "\nX-ClickHouse-Format: RowBinaryWithNamesAndTypes", "INSERT INTO t FORMAT CSV 1,2", "\x01\x01a\x05UInt8\x07")
	f.Fuzz(func(t *testing.T, target, headers, body, response string) {
		for _, s := range []string{target, headers} { // the columns of a call are valid text
			if strings.ToValidUTF8(s, "") != s {
				return
			}
		}
		if got := read(contenttest.HTTP(target, ours+"\n"+headers, body, 200, response)); strings.ToValidUTF8(got, "") != got {
			t.Errorf("text that is not UTF-8: %q", got)
		}
	})
}
