package value

import "testing"

func TestText(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"bytes have two or three digits", Bytes(1_234_567), "1.2 MB"},
		{"and are not 1000 kB", Bytes(999_900), "1.0 MB"},
		{"short times are in microseconds", Micros(850), "850 µs"},
		{"longer ones in milliseconds", Micros(23_400), "23 ms"},
		{"minutes have seconds", Micros(125_000_000), "2 min 5 s"},
		{"a small part is not none", Percent(1, 100_000), "under 0.1 %"},
		{"nearly all is not all", Percent(99_999, 100_000), "over 99 %"},
		{"a part of nothing is nothing", Percent(0, 0), ""},
		{"control characters show", Clean("a\x00b\u202e\u200b", 20), `a\u{0}b\u{202e}\u{200b}`},
		{"long text is cut", Clean("abcdef", 3), "abc…"},
		{"bytes that are not text", Clean("a\xffb", 9), "a\uFFFDb"},
		{"a plain word needs no quotes", ShellQuote("a.pcapsule"), "a.pcapsule"},
		{"SQL with quotes is quoted twice", ShellQuote("select 'x'"), `"select 'x'"`},
		{"what a shell would read is not", ShellQuote("$(x) 'y'"), `'$(x) '\''y'\'''`},
		{"an option is no option", ShellQuote(""), "''"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}
