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
		{"aws s3://AKIAIOSFODNN7EXAMPLE/x", "aws s3://***/x"},
		{"sync joe:hunter2@db.test::module", "sync joe:***@db.test::module"},
		{"app --dsn=joe:hunter2@tcp(db:3306)/x", "app --dsn=joe:***@tcp(db:3306)/x"},
		{"run nginx:1.25@sha256:0011223344556677", "run nginx:1.25@sha256:0011223344556677"},
		{"scp host:file joe@other:", "scp host:file joe@other:"},
		{"git clone https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.test/a", "git clone https://***@github.test/a"},
		{"run -H X:Bearer\tabcdef0123456789", "run -H X:Bearer\t***"},
		{"openssl enc -K 00112233445566778899aabbccddeeff -in x", "openssl enc -K *** -in x"},
		{"grep -k short 00112233445566778899aabbccddeeff", "grep -k short 00112233445566778899aabbccddeeff"},
		{"mysql -uroot -phunter2 db", "mysql -uroot -p*** db"},
		{"/usr/bin/sshpass -p hunter2 ssh x", "/usr/bin/sshpass -p *** ssh x"},
		{"ssh -p 2222 host", "ssh -p 2222 host"},
		{"nmap -p1-65535 host", "nmap -p1-65535 host"},
	} {
		got := strings.Join(MaskArguments(strings.Split(c.in, " ")), " ")
		if got != c.want {
			t.Errorf("%s\n got %s\n want %s", c.in, got, c.want)
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
		{"invalid UTF-8", "a\xffb", "a\uFFFDb", 20},
	} {
		if got := Clean(c.in, c.limit); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
