package format

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/when"
)

func TestTimesForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Micros(0), "0 µs"}, {Micros(999), "999 µs"}, {Micros(1000), "1.0 ms"}, {Micros(1550), "1.6 ms"},
		{Micros(9999949), "9999.9 ms"}, {Micros(10000000), "10s"}, {Micros(61500000), "1m1.5s"},
		{when.Stamp(0), "1970-01-01T00:00:00.000000000Z"}, {when.Stamp(1700000000123456789), "2023-11-14T22:13:20.123456789Z"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	bash, _ := exec.LookPath("bash")
	for _, tt := range []struct {
		name, text, want, reads string // reads: the shell's reading, if it differs from text
	}{
		{"a plain word", "http://10.0.0.1:80/a%20b", "http://10.0.0.1:80/a%20b", ""},
		{"nothing", "", "''", ""},
		{"a command", "$(reboot)`reboot`;reboot&", "'$(reboot)`reboot`;reboot&'", ""},
		{"quotes", `it's "it"`, `'it'\''s "it"'`, ""},
		{"a tilde and a star", "~/*", "'~/*'", ""},
		{"history", "a!b", "'a!b'", ""},
		{"lines", "a\nb'c\\d", `$'a\x0ab\'c\\d'`, ""},
		{"an escape sequence", "\x1b[2J", `$'\x1b[2J'`, ""},
		{"a C1 control", "a\u009bb", `$'a\xc2\x9bb'`, ""},
		{"bytes that are not text", "\xff\x9b", `$'\xff\x9b'`, ""},
		{"a change of direction", "a\u202eb", `$'a\xe2\x80\xaeb'`, ""},
		{"letters of other languages", "größe", "'größe'", ""},
		{"a NUL is left out", "a\x00b", `$'ab'`, "ab"},
	} {
		got := shellQuote(tt.text)
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if bash == "" {
			continue
		}
		want := tt.text
		if tt.reads != "" {
			want = tt.reads
		}
		if out, err := exec.Command(bash, "-c", "printf %s "+got).Output(); err != nil || string(out) != want {
			t.Errorf("%s: the shell reads %q, %v, want %q", tt.name, out, err, want)
		}
	}
}

func TestIsText(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		want       bool
	}{
		{"nothing", "", true},
		{"lines", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"text in another language", "{\"größe\": \"日本語のテキスト\"}", true},
		{"a TLS record", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false},
		{"bytes above ASCII that are not UTF-8", "\xff\xfe\xfd\xfc", false},
		{"text with one odd byte in twenty", "aaaaaaaaaaaaaaaaaaa\x01", true},
	} {
		if got := isText([]byte(tt.data)); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestTableFitsTheScreen prints a table at several widths.
func TestTableFitsTheScreen(t *testing.T) {
	cols := []forensics.Column{{Name: "call_no"}, {Name: "ts_ns"}, {Name: "src_name"}, {Name: "protocol"}, {Name: "summary"}, {Name: "elapsed_us"}}
	at := time.Date(2026, 11, 20, 9, 24, 49, 123456789, time.UTC).UnixNano()
	for _, tt := range []struct {
		width, want string
	}{
		{"", "call_no  ts_ns                       src_name                   protocol  summary                         elapsed_us\n" +
			"    226  2026-11-20 09:24:49.123456  frontend-5d8f7c9b66-t7wzj  http1     POST /v1/payments → 503 (63 B)    500.9 ms\n"},
		{"80", "call_no  ts_ns            src_name    protocol  summary               elapsed_us\n" +
			"    226  09:24:49.123456  frontend-…  http1     POST /v1/paym… → 503    500.9 ms\nTimes are on 2026-11-20, UTC.\n"},
		{"60", "call_no  ts_ns            src_name    summary\n" +
			"    226  09:24:49.123456  frontend-…  POST /v1/paymen… → 503\nTimes are on 2026-11-20, UTC.\nNot shown: elapsed_us, protocol; --wide shows all columns.\n"},
		{"40", "call_no  summary\n" +
			"    226  POST /v1/payments → 503 (63 B)\nNot shown: ts_ns, src_name, elapsed_us,\nprotocol; --wide shows all columns.\n"},
	} {
		t.Setenv("COLUMNS", tt.width)
		var out bytes.Buffer
		w, err := NewRows("table", &console.Streams{Out: &out, Err: &out})
		if err == nil {
			err = errors.Join(w.Begin(cols), w.Row(cols, []any{int64(226), at, "frontend-5d8f7c9b66-t7wzj", "http1", "POST /v1/payments → 503 (63 B)", int64(500896)}), w.End())
		}
		if got := out.String(); err != nil || got != tt.want {
			t.Errorf("COLUMNS=%s: %v\n%s\nwant\n%s", tt.width, err, got, tt.want)
		}
	}
}

// TestTimestampsAreTimes prints timestamps of SQL as the columns of nanoseconds.
func TestTimestampsAreTimes(t *testing.T) {
	at := time.Date(2026, 11, 20, 9, 24, 49, 123456000, time.UTC)
	long := time.Date(290000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		width string
		rows  []any
		want  string
	}{
		{"", []any{at}, "ts                          ts_ns\n2026-11-20 09:24:49.123456  2026-11-20 09:24:49.123456\n"},
		{"40", []any{at, nil}, "ts               ts_ns\n09:24:49.123456  09:24:49.123456\n                 09:24:49.123456\nTimes are on 2026-11-20, UTC.\n"},
		{"40", []any{long, at}, "ts\n290000-01-01 00:00:00.000000\n2026-11-20 09:24:49.123456\nNot shown: ts_ns; --wide shows all\ncolumns.\n"},
		{"40", []any{at, "infinity"}, "ts\n2026-11-20 09:24:49.123456\ninfinity\nNot shown: ts_ns; --wide shows all\ncolumns.\n"},
	} {
		t.Setenv("COLUMNS", tt.width)
		var out bytes.Buffer
		cols := []forensics.Column{{Name: "ts"}, {Name: "ts_ns"}}
		w, err := NewRows("table", &console.Streams{Out: &out, Err: &out})
		err = errors.Join(err, w.Begin(cols))
		for _, v := range tt.rows {
			err = errors.Join(err, w.Row(cols, []any{v, at.UnixNano()}))
		}
		if err = errors.Join(err, w.End()); err != nil || out.String() != tt.want {
			t.Errorf("COLUMNS=%s: %v\n%s\nwant\n%s", tt.width, err, out.String(), tt.want)
		}
	}
}

func TestShortenedSummary(t *testing.T) {
	for _, c := range []struct {
		col, text string
		width     int
		want      string
	}{
		{"summary", "POST /v1/payments → 503 (63 B)", 18, "POST /v1/pa… → 503"},
		{"summary", "GET / → no response", 18, "GET / → no respon…"},
		{"summary", "A frontend.shop.svc → 10.244.0.13 +1 (2 more)", 28, "A frontend… → 10.244.0.13 +1"},
		{"summary", "SELECT a, b, c FROM orders", 18, "SELECT a, b, c FR…"},
		{"path", "/a → b → c", 8, "/a → b …"},
		{"src_name", "192.168.14.207", 10, "…68.14.207"},
		{"src_name", "2001:db8::7:3bc1", 10, "…8::7:3bc1"},
		{"src_name", "frontend-5d8f7c9b66-t7wzj", 10, "frontend-…"},
	} {
		if got := shortened(c.col, c.text, c.width); got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

// TestCSVHasNoFormulas checks that text of columns and names that begins like a formula gets a quote, and
// that numbers do not.
func TestCSVHasNoFormulas(t *testing.T) {
	var out bytes.Buffer
	rows, err := NewRows("csv", &console.Streams{Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	cols := []forensics.Column{{Name: "=1+1"}, {Name: "path"}, {Name: "n"}}
	for _, err := range []error{rows.Begin(cols), rows.Row(cols, []any{"@SUM(A1)", "-1", int64(-1)}), rows.Row(cols, []any{"'x", "x=1", nil}), rows.End()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "'=1+1,path,n\n'@SUM(A1),'-1,-1\n''x,x=1,\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
