package machine

import "testing"

func TestCleanText(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		limit          int
	}{
		{"plain", "nginx", "nginx", 10},
		{"cut", "abcdefgh", "abc", 3},
		{"cut before a character that does not fit", "abé", "ab", 3},
		{"escape sequence", "a\x1b[31mb", "a\uFFFD[31mb", 20},
		{"direction override", "a\u202eb", "a\uFFFDb", 20},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb", 20},
	} {
		if got := Clean(c.in, c.limit); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
