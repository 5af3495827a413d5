package columnar

import (
	"testing"
	"unicode/utf8"
)

func TestEscapeText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain text stays", "GET /é?a=b", "GET /é?a=b"},
		{"a path of Windows stays", `C:\xampp\new`, `C:\xampp\new`},
		{"a bad byte is escaped", "a\xffb", `a\xffb`},
		{"a cut character is escaped", "日\xe6\x97", `日\xe6\x97`},
		{"a surrogate is escaped", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"text that looks escaped is escaped", `\xff`, `\x5cxff`},
		{"capital digits do not look escaped", `\xFF`, `\xFF`},
		{"a backslash before a bad byte", "\\\xff", `\\xff`},
		{"two backslashes", `\\x00`, `\\x5cx00`},
		{"a replacement character stays", "\ufffd", "\ufffd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := EscapeText(c.in)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if back := UnescapeText(got); back != c.in {
				t.Errorf("undone: %q, want %q", back, c.in)
			}
		})
	}
}

func FuzzEscapeText(f *testing.F) {
	for _, s := range []string{"", "\\", `\x`, `\x5c`, "\\x5\xff", "\xff", "é\xc3", `\\x5c\x5cx5c`, "\\\\\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := EscapeText(s)
		if !utf8.ValidString(e) {
			t.Errorf("%q is not UTF-8", e)
		}
		if back := UnescapeText(e); back != s {
			t.Errorf("%q became %q became %q", s, e, back)
		}
	})
}
