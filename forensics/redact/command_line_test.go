package redact

import (
	"strings"
	"testing"
)

// TestSecretsOfPrograms has passwords that only the program or the parameters beside them reveal.
func TestSecretsOfPrograms(t *testing.T) {
	p := Default()
	for _, tt := range []struct{ kind, text, want string }{
		{"", "mysql -u root -pa1b2c3 shop", "mysql -u root -p[masked] shop"},
		{"", "$ sudo /usr/bin/mysqldump -uroot -p'a1 b2' shop > x", "$ sudo /usr/bin/mysqldump -uroot -p'[masked]' shop > x"},
		{"", "mysql -P 3306 -p -h db", "mysql -P 3306 -p -h db"},
		{"text/x-sh", "set -e\nsshpass -p hunter ssh a@b\ncp -p a b", "set -e\nsshpass -p [masked] ssh a@b\ncp -p a b"},
		{"", "mkdir -p a/b1; docker run -p 80:80 x", "mkdir -p a/b1; docker run -p 80:80 x"},
		{"", "docker login -u me -p a1b2 reg.example; docker run -p 80:80 x", "docker login -u me -p [masked] reg.example; docker run -p 80:80 x"},
		{"", "helm pull x --password Abc", "helm pull x --password [masked]"},
		{"", "set --password to change it, or --token $TOKEN", "set --password to change it, or --token $TOKEN"},
		{"", "redis-cli -h x -a abc ping", "redis-cli -h x -a [masked] ping"},
		{"", "curl -uann:abc https://x/ --proxy-user bob:def", "curl -uann:[masked] https://x/ --proxy-user bob:[masked]"},
		{"", "smbclient //h/s -U ann%abc", "smbclient //h/s -U ann%[masked]"},
		{"", "snmpget -v3 -A abc -X def h", "snmpget -v3 -A [masked] -X [masked] h"},
		{"", "plink -pw abc u@h", "plink -pw [masked] u@h"},
		{"", "openssl enc -aes256 -k abc -in x; curl -k https://x", "openssl enc -aes256 -k [masked] -in x; curl -k https://x"},
		{"", "openssl rsa -passin pass:abc -in x", "openssl rsa -passin pass:[masked] -in x"},
		{"", "winrs -r:h -u:ann -p:abc dir", "winrs -r:h -u:ann -p[masked] dir"},
		{"application/json", `{"cmd":"mysql -pa1b2","args":["mysql","-pa1b2","x"]}`, `{"cmd":"mysql -p[masked]","args":["mysql","-p[masked]","x"]}`},
		{"application/json", `{"command":["redis-cli","-a","abc"],"args":["a","--password","Abc1"]}`, `{"command":["redis-cli","-a","[masked]"],"args":["a","--password","[masked]"]}`},
		{"application/json", `["-a","abc",["-p","abc"]]`, `["-a","abc",["-p","abc"]]`},
		{"application/x-www-form-urlencoded", "cmd=mysql+-pa1b2+shop&x=1", "cmd=mysql+-p[masked]+shop&x=1"},

		{"application/x-www-form-urlencoded", "/cb?code=Zq7Rk2Lw9Xv4&state=abc", "/cb?code=[masked]&state=abc"},
		{"application/x-www-form-urlencoded", "grant_type=authorization_code&code=abcdefg&redirect_uri=x", "grant_type=authorization_code&code=[masked]&redirect_uri=x"},
		{"application/x-www-form-urlencoded", "/cb?code=abc12345&state=xyz", "/cb?code=[masked]&state=xyz"},
		{"application/x-www-form-urlencoded", "country=de&code=12345&state=CA", "country=de&code=12345&state=CA"},
		{"", "GET https://a.example/cb?state=a&code=4%2F0AX4XfWh-12 HTTP/1.1", "GET https://a.example/cb?state=a&code=[masked] HTTP/1.1"},
		{"", "exit code=12345678 state=failed", "exit code=12345678 state=failed"},
		{"text/html", `<a href="https://a.example/cb?code=Zq7Rk2Lw9Xv4&amp;state=abc">`, `<a href="https://a.example/cb?code=[masked]&amp;state=abc">`},
		{"application/json", `{"grant_type":"authorization_code","code":"abc"}`, `{"grant_type":"authorization_code","code":"[masked]"}`},

		{"command", `EVAL "redis.call('AUTH','abc')" 0`, `EVAL "redis.call('AUTH','[masked]')" 0`},
		{"command", `EVAL "redis.call('get','a'); return redis.pcall( 'hset', KEYS[1], 'password', ARGV[2] )" 1 u x abc`, `EVAL "redis.call('get','a'); return redis.pcall( 'hset', KEYS[1], 'password', ARGV[2] )" 1 u x [masked]`},
		{"command", `EVAL "return redis.call('set','user:password','abc','EX',9)" 0`, `EVAL "return redis.call('set','user:password','[masked]','EX',9)" 0`},
		{"command", `SCRIPT LOAD "redis.call('set','password','abc'"`, `SCRIPT LOAD "redis.call('set','password','[masked]'"`},
		{"command", `EVAL "redis.call(" 0`, `EVAL "redis.call(" 0`},
		{"command", `EVAL "redis.call('set','password',ARGV[9])" 99999 a`, `EVAL "redis.call('set','password',ARGV[9])" 99999 a`},
		{"command", `ACL SETUSER joe on >abc ~* +@all`, `ACL SETUSER joe on [masked] ~* +@all`},
		{"command", `MIGRATE h 6379 k 0 5000 AUTH2 joe abc`, `MIGRATE h 6379 k 0 5000 AUTH2 joe [masked]`},
	} {
		if got, _ := p.Text(tt.kind, tt.text); got != tt.want {
			t.Errorf("\n got %s\nwant %s", got, tt.want)
		}
	}
}

// TestSecretsOfHeaders has URLs in headers, and names that gateways and gRPC change.
func TestSecretsOfHeaders(t *testing.T) {
	p := Default()
	for _, tt := range []struct{ name, value, want string }{
		{"Referer", "https://a.example/cb?code=Zq7Rk2Lw9Xv4&state=abc", "https://a.example/cb?code=[masked]&state=abc"},
		{"X-Original-Url", "/cb?state=abc&code=Zq7Rk2Lw9Xv4", "/cb?state=abc&code=[masked]"},
		{"Refresh", "0; url=/cb?token=abc&a=1", "0; url=/cb?token=[masked]&a=1"},
		{"Link", "</a?token=abc>; rel=next, </b?token=d&n=1>; rel=\"last\"", "</a?token=[masked]>; rel=next, </b?token=[masked]&n=1>; rel=\"last\""},
		{"X-Context", `{"a":"/x?token=abc","n":1}`, `{"a":"/x?token=[masked]","n":1}`},
		{"Cookie2", "$Version=1; sid=abc", "[masked]"},
		{"Set-Cookie2", "sid=abc; Version=1", "[masked]"},
		{"Authentication-Info", `rspauth="abc"`, "[masked]"},
		{"Mcp-Session-Id", "abc", "[masked]"},
		{"authorization-bin", "abcdefgh", "[masked]"},
		{"Grpc-Metadata-Authorization", "Bearer abc", "[masked]"},
		{"x-session-id-bin", "abcdefgh", "[masked]"},
		{"grpc-message", "bad%20password%20%22abcdefg%22", "bad%20password%20%22[masked]%22"},
		{"accept", "a/b;q=1, what?", "a/b;q=1, what?"},
	} {
		if got := p.Header(tt.name, tt.value); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"curl http://example.test/", "curl http://example.test/"},
		{"mysql --password=hunter2 db", "mysql --password=*** db"},
		{"mysql --password hunter2 db", "mysql --password *** db"},
		{"app --token -v", "app --token -v"},
		{"curl -u joe:hunter2 x", "curl -u joe:*** x"},
		{"psql postgres://joe:pw@db/x", "psql postgres://joe:***@db/x"},
		{"env API_KEY=abc run", "env API_KEY=*** run"},
		{"curl https://x.test/?a=1&access_token=abc&b=2", "curl https://x.test/?a=1&access_token=***&b=2"},
		{"gh ghp_0123456789abcdefghijABCDEFGHIJ012345", "gh ghp_***"},
		{"aws AKIAIOSFODNN7EXAMPLE", "aws AKIA************MPLE"},
		{"aws s3://AKIAIOSFODNN7EXAMPLE/x", "aws s3://AKIA************MPLE/x"},
		{"sync joe:hunter2@db.test::module", "sync joe:***@db.test::module"},
		{"app --dsn=joe:hunter2@tcp(db:3306)/x", "app --dsn=joe:***@tcp(db:3306)/x"},
		{"run nginx:1.25@sha256:0011223344556677", "run nginx:1.25@sha256:0011223344556677"},
		{"scp host:file joe@other:", "scp host:file joe@other:"},
		{"git clone https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.test/a", "git clone https://ghp_***@github.test/a"},
		{"run -H X:Bearer\tabcdef0123456789", "run -H X:Bearer\t***"},
		{"openssl enc -K 00112233445566778899aabbccddeeff -in x", "openssl enc -K *** -in x"},
		{"grep -k short 00112233445566778899aabbccddeeff", "grep -k short 00112233445566778899aabbccddeeff"},
		{"mysql -uroot -phunter2 db", "mysql -uroot -p*** db"},
		{"/usr/bin/sshpass -p hunter2 ssh x", "/usr/bin/sshpass -p *** ssh x"},
		{"ssh -p 2222 host", "ssh -p 2222 host"},
		{"nmap -p1-65535 host", "nmap -p1-65535 host"},
	} {
		got := strings.Join(Arguments(strings.Split(c.in, " ")), " ")
		if got != c.want {
			t.Errorf("%s\n got %s\n want %s", c.in, got, c.want)
		}
	}
	if got := Arguments([]string{"curl", "-H", "Authorization: Bearer abc"}); got[2] != "Authorization: Bearer ***" {
		t.Errorf("header became %q", got[2])
	}
}
