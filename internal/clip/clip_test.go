package clip

import "testing"

func TestText(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 5, "short"}, {"longer", 4, "long…"}, {"caf\xc3\xa9!", 4, "caf…"}, {"a\xff\xfeb", 9, "a\uFFFDb"}, {"", 3, ""},
	} {
		if got := Text([]byte(c.in), c.n); got != c.want {
			t.Errorf("%q to %d: %q, want %q", c.in, c.n, got, c.want)
		}
	}
	if got := Text("s\u00fc\u00df", 2) + Cut("s\u00fc", 2) + string(Cut([]byte("\x80\x80\x80\x80\x80"), 4)); got != "s…s\x80\x80\x80\x80" {
		t.Errorf("%q", got)
	}
	if got := Line([]byte("a\r\n\tb\x00"), 9); got != "a   b" {
		t.Errorf("%q", got)
	}
}
