package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64 // -1: refused
	}{
		{"0", 0}, {"17", 17}, {"17B", 17}, {"1k", 1000}, {"1kB", 1000}, {"1KiB", 1024}, {"1.5MB", 1500000}, {"256MiB", 256 << 20},
		{"2 GB", 2e9}, {"1GiB", 1 << 30}, {"1T", 1e12}, {"1TiB", 1 << 40},
		{"", -1}, {"MB", -1}, {"-1", -1}, {"+1", -1}, {"1e3", -1}, {"0x10", -1}, {"inf", -1}, {"NaN", -1}, {"1..2", -1},
		{"1 parsec", -1}, {"1BK", -1}, {"99999999999TiB", -1}, {strings.Repeat("9", 400), -1},
	} {
		got, err := parseSize(tt.text)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%q: got %d, %v, want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{plural.Thousands(0), "0"}, {plural.Thousands(999), "999"}, {plural.Thousands(1000), "1,000"}, {plural.Thousands(1234567), "1,234,567"},
		{plural.Thousands(-1), "-1"}, {plural.Thousands(-123456), "-123,456"}, {plural.Thousands(-1 << 63), "-9,223,372,036,854,775,808"},
		{byteSize(0), "0 B"}, {byteSize(999), "999 B"}, {byteSize(1000), "1.0 kB"}, {byteSize(9949), "9.9 kB"}, {byteSize(9950), "10 kB"},
		{byteSize(999499), "999 kB"}, {byteSize(999500), "1.0 MB"}, {byteSize(1 << 40), "1.1 TB"}, {byteSize(1<<63 - 1), "9.2 EB"},
		{micros(0), "0 µs"}, {micros(999), "999 µs"}, {micros(1000), "1.0 ms"}, {micros(1550), "1.6 ms"},
		{micros(9999949), "9999.9 ms"}, {micros(10000000), "10s"}, {micros(61500000), "1m1.5s"},
		{stamp(0), "1970-01-01T00:00:00.000000000Z"}, {stamp(1700000000123456789), "2023-11-14T22:13:20.123456789Z"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		n          int
		want       string
	}{
		{"plain text stays", "GET /a?b=ü 日本", 80, "GET /a?b=ü 日本"},
		{"an escape sequence cannot move the cursor", "a\x1b[2Jb", 80, "a.[2Jb"},
		{"it cannot set the title", "\x1b]0;x\x07", 80, ".]0;x."},
		{"nor can a C1 control", "a\u009b2Jb", 80, "a.2Jb"},
		{"nor can its bare byte", "a\x9b2Jb", 80, "a.2Jb"},
		{"line breaks are escaped", "a\r\nb\tc\x00", 80, "a..b.c."},
		{"the writing direction does not change", "a\u202egnp.exe", 80, "a.gnp.exe"},
		{"invisible characters are escaped", "pay\u200bpal", 80, "pay.pal"},
		{"long text is cut", "abcdef", 3, "abc…"},
		{"text that fits is not cut", "abc", 3, "abc"},
		{"nothing", "", 3, ""},
	} {
		if got := printable(tt.text, tt.n); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMessagesKeepTheTerminal(t *testing.T) {
	if got, want := lines("a\x1b[31m\n\tb\n"), "a.[31m\n    b"; got != want {
		t.Errorf("got %q, want %q", got, want)
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

func TestIsBundlePath(t *testing.T) {
	for arg, want := range map[string]bool{
		"a.pcapsule": true, "a.pcapsule/": true, "dir/a.pcapsule.zip": true,
		"http": false, `path == "a.pcapsule"`: false, "": false, "a.pcapsule.txt": false,
	} {
		if got := isBundlePath(arg); got != want {
			t.Errorf("%q: got %v, want %v", arg, got, want)
		}
	}
}

func TestOutputError(t *testing.T) {
	denied := &fs.PathError{Op: "mkdir", Path: "/evidence/.a.partial-1", Err: fs.ErrPermission}
	var coded *exit.Error
	if err := exit.OutputError(denied, "/evidence/a.pcapsule"); !errors.As(err, &coded) || coded.Code != exit.Disk {
		t.Errorf("an output that cannot be written: got %v", err)
	}
	if err := exit.OutputError(denied, "/other/a.pcapsule"); errors.As(err, &coded) && coded.Code == exit.Disk && err != error(denied) {
		t.Errorf("an input that cannot be read: got %v", err)
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
		{"80", "call_no  ts_ns            src_name         protocol  summary          elapsed_us\n" +
			"    226  09:24:49.123456  frontend-5d8f7…  http1     POST /v1/payme…    500.9 ms\nTimes are on 2026-11-20, UTC.\n"},
		{"60", "call_no  ts_ns            src_name    summary     elapsed_us\n" +
			"    226  09:24:49.123456  frontend-…  POST /v1/…    500.9 ms\nTimes are on 2026-11-20, UTC.\nNot shown: protocol; --wide shows all columns.\n"},
		{"40", "call_no  ts_ns            src_name\n" +
			"    226  09:24:49.123456  frontend-5d8f…\nTimes are on 2026-11-20, UTC.\nNot shown: summary, elapsed_us, protocol; --wide shows all columns.\n"},
	} {
		t.Setenv("COLUMNS", tt.width)
		var out bytes.Buffer
		e := &env{out: &out, err: &out}
		w, err := newRowWriter("table", e)
		if err == nil {
			err = errors.Join(w.begin(cols), w.row(cols, []any{int64(226), at, "frontend-5d8f7c9b66-t7wzj", "http1", "POST /v1/payments → 503 (63 B)", int64(500896)}), w.end())
		}
		if got := out.String(); err != nil || got != tt.want {
			t.Errorf("COLUMNS=%s: %v\n%s\nwant\n%s", tt.width, err, got, tt.want)
		}
	}
}
