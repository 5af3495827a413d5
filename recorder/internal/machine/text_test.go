package machine

import (
	"strings"
	"testing"
)

func TestMaskArguments(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"curl http://example.test/", "curl http://example.test/"},
		{"mysql --password=hunter2 db", "mysql --password=*** db"},
		{"mysql --password hunter2 db", "mysql --password *** db"},
		{"app --token -v", "app --token -v"},
		{"curl -u joe:secret x", "curl -u joe:*** x"},
		{"psql postgres://joe:pw@db/x", "psql postgres://joe:***@db/x"},
		{"env API_KEY=abc run", "env API_KEY=*** run"},
		{"curl https://x.test/?a=1&access_token=abc&b=2", "curl https://x.test/?a=1&access_token=***&b=2"},
		{"gh ghp_0123456789abcdefghijABCDEFGHIJ012345", "gh ***"},
		{"aws AKIAIOSFODNN7EXAMPLE", "aws ***"},
	} {
		got := strings.Join(MaskArguments(strings.Split(c.in, " ")), " ")
		if got != c.want {
			t.Errorf("%s\n gave %s\n want %s", c.in, got, c.want)
		}
	}
	if got := MaskArguments([]string{"curl", "-H", "Authorization: Bearer abc"}); got[2] != "Authorization: ***" {
		t.Errorf("header became %q", got[2])
	}
}

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
		{"bytes that are no text", "a\xffb", "a\uFFFDb", 20},
	} {
		if got := Clean(c.in, c.limit); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
