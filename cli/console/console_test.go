package console

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/plural"
)

func TestNumbersForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{plural.Thousands(0), "0"}, {plural.Thousands(999), "999"}, {plural.Thousands(1000), "1,000"}, {plural.Thousands(1234567), "1,234,567"},
		{plural.Thousands(-1), "-1"}, {plural.Thousands(-123456), "-123,456"}, {plural.Thousands(-1 << 63), "-9,223,372,036,854,775,808"},
		{ByteSize(0), "0 B"}, {ByteSize(999), "999 B"}, {ByteSize(1000), "1.0 kB"}, {ByteSize(9949), "9.9 kB"}, {ByteSize(9950), "10 kB"},
		{ByteSize(999499), "999 kB"}, {ByteSize(999500), "1.0 MB"}, {ByteSize(1 << 40), "1.1 TB"}, {ByteSize(1<<63 - 1), "9.2 EB"},
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
		if got := Printable(tt.text, tt.n); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestNumbersKeepTheirUnits(t *testing.T) {
	const text = "accounts 12 kB payload: 2 × password, 1,234 bytes"
	for width, want := range map[int]string{
		8:  "accounts|12 kB|payload:|2 ×|password,|1,234|bytes",
		11: "accounts|12 kB|payload:|2 ×|password,|1,234 bytes",
		25: "accounts 12 kB payload:|2 × password, 1,234 bytes",
		80: text,
	} {
		if got := strings.Join(Wrap(text, width), "|"); got != want {
			t.Errorf("wrapped at %d: %q, want %q", width, got, want)
		}
		if got := strings.ReplaceAll(Hanging(0, text, 0, width), "\n", "|"); width > 20 && got != want {
			t.Errorf("hanging at %d: %q, want %q", width, got, want)
		}
	}
}

func TestMessagesKeepTheTerminal(t *testing.T) {
	if got, want := Lines("a\x1b[31m\n\tb\n"), "a.[31m\n    b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
