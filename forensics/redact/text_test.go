package redact

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	p, err := Parse([]byte(`
version: 1
keys: ["user.card.number", "*.diagnosis", "$.top.pet", "ssn*"]
except: ["public_token"]
detectors: [all]
patterns:
  - {name: order, match: 'ORD-\d{4}'}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, kind, text, want string }{
		{"a key in JSON", "application/json", `{"user":"a","password":"b"}`, `{"user":"a","password":"[masked]"}`},
		{"a number under a key", "", `{"pin": 1234, "x": 1}`, `{"pin": "[masked]", "x": 1}`},
		{"everything below a key", "", `{"credentials":{"a":["b",1,null]},"c":"d"}`, `{"credentials":{"a":["[masked]","[masked]",null]},"c":"d"}`},
		{"keys in any spelling", "", `{"apiKey":"a","api-key":"b","API_KEY":"c"}`, `{"apiKey":"[masked]","api-key":"[masked]","API_KEY":"[masked]"}`},
		{"a path", "", `{"user":{"card":{"number":1}},"number":2,"card":{"number":3}}`, `{"user":{"card":{"number":"[masked]"}},"number":2,"card":{"number":3}}`},
		{"a path through lists", "", `[{"user":[{"card":{"number":"x"}}]}]`, `[{"user":[{"card":{"number":"[masked]"}}]}]`},
		{"a path from the root", "", `{"top":{"pet":"cat","top":{"pet":"dog"}}}`, `{"top":{"pet":"[masked]","top":{"pet":"dog"}}}`},
		{"an exempt key", "", `{"public_token":"a","token":"b"}`, `{"public_token":"a","token":"[masked]"}`},
		{"a key with escapes", "", `{"pass\u0077ord":"b"}`, `{"pass\u0077ord":"[masked]"}`},
		{"JSON in a string of JSON", "", `{"m":"{\"password\":\"b\"}"}`, `{"m":"{\"password\":\"[masked]\"}"}`},
		{"JSON that is cut", "application/json", `{"a":1,"password":"abc`, `{"a":1,"password":"[masked]`},
		{"lines of JSON", "", "{\"token\":\"a\"}\n{\"token\":\"b\"}", "{\"token\":\"[masked]\"}\n{\"token\":\"[masked]\"}"},
		{"a card as a number of JSON", "", `{"n":4111111111111111}`, `{"n":"4111 11** **** 1111"}`},
		{"a card with escapes", "", `{"n":"\u0034111 1111 1111 1111"}`, `{"n":"4111 11** **** 1111"}`},
		{"a pattern", "text/plain", "see ORD-1234", "see [masked]"},
		{"a form", "application/x-www-form-urlencoded", "user%5Bcard%5D%5Bnumber%5D=12&passwd=b+c&x=1", "user%5Bcard%5D%5Bnumber%5D=[masked]&passwd=[masked]&x=1"},
		{"an email address in a form", "application/x-www-form-urlencoded", "m=ann%40example.com&x=1", "m=a%2A%2A%2A%40example.com&x=1"},
		{"a form with a name encoded", "", "a=1&pass%77ord=b", "a=1&pass%77ord=[masked]"},
		{"a multipart form", `multipart/form-data; boundary="b"`, "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nx\r\n--b--", "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n[masked]\r\n--b--"},
		{"a program", "application/javascript; charset=utf-8", `a.password=e(f),{token:function(e){},cookie:!0,apiKey:n+1};var secret = "b", t={"session":'c'}`, `a.password=e(f),{token:function(e){},cookie:!0,apiKey:n+1};var secret = "[masked]", t={"session":'c'}`},
		{"JSONP", "text/javascript", `cb({"pin":1234,"password":"b","token":null})`, `cb({"pin":[masked],"password":"[masked]","token":null})`},
		{"a program without its type", "", `token=function(e)`, `token=[masked])`},
		{"XML", "text/xml", `<a:user pwd="x"><Password>y</Password><b>z</b></a:user>`, `<a:user pwd="[masked]"><Password>[masked]</Password><b>z</b></a:user>`},
		{"XML below a key", "", `<credentials><a>x</a><b/></credentials><c>y</c>`, `<credentials><a>[masked]</a><b/></credentials><c>y</c>`},
		{"a log line", "text/plain", `level=info password=abc token: "x y" user=a`, `level=info password=[masked] token: "[masked]" user=a`},
		{"a header in a text", "", "X-Api-Key: abc def\nHost: a", "X-Api-Key: [masked]\nHost: a"},
		{"JSON in a log line", "", `got {"password":"a b","x":1}`, `got {"password":"[masked]","x":1}`},
		{"escaped JSON in a log line", "", `got "{\"password\":\"a b\",\"x\":1}"`, `got "{\"password\":\"[masked]\",\"x\":1}"`},
		{"a property", "", "spring.datasource.password=a,b", "spring.datasource.password=[masked],b"},
		{"an assignment in SQL", "sql", "UPDATE u SET password = 'it''s', n = 5 WHERE diagnosis IN ('a', 'b') AND x = 'y'", "UPDATE u SET password = '[masked]', n = 5 WHERE diagnosis IN ('[masked]', '[masked]') AND x = 'y'"},
		{"columns of an INSERT", "sql", `INSERT INTO "u" (id, "password") VALUES (1, 'a'), (2, crypt('b', 'c'))`, `INSERT INTO "u" (id, "password") VALUES (1, '[masked]'), (2, crypt('[masked]', '[masked]'))`},
		{"a password of a role", "sql", "ALTER ROLE a WITH ENCRYPTED PASSWORD $$x$$", "ALTER ROLE a WITH ENCRYPTED PASSWORD $$[masked]$$"},
		{"a password by its statement", "sql", "CREATE USER a IDENTIFIED BY 'x'", "CREATE USER a IDENTIFIED BY '[masked]'"},
		{"a statement about a login in a literal", "sql", `INSERT INTO log VALUES ('CREATE USER z IDENTIFIED BY ''pw''', 1)`, `INSERT INTO log VALUES ('CREATE USER z IDENTIFIED BY ''[masked]''', 1)`},
		{"a statement about a login in double quotes", "sql", `SELECT "CREATE USER z IDENTIFIED WITH p AS 'pw'" AS a`, `SELECT "CREATE USER z IDENTIFIED WITH p AS '[masked]'" AS a`},
		{"dynamic SQL", "sql", `DO $b$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''pw'''; END $b$`, `DO $b$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''[masked]'''; END $b$`},
		{"statements about logins in a row", "", "7\troot\tALTER USER 'a'@'%' IDENTIFIED VIA p USING PASSWORD('pw')\nidentified by 'pw2' and by 'hand'", "7\troot\tALTER USER 'a'@'%' IDENTIFIED VIA p USING PASSWORD('[masked]')\nidentified by '[masked]' and by 'hand'"},
		{"an empty password", "", `PASSWORD '' and 'more'`, `PASSWORD '' and 'more'`},
		{"quoted-printable", "", "pass=\r\nword: a, api_=6Bey=3Db; pin=3D=\n1234 x=3Dy", "pass=\r\nword: [masked], api_=6Bey=3D[masked]; pin=[masked]\n[masked] x=3Dy"},
		{"quoted-printable with a break in the value", "", "password: Secret=\r\nPart2 end", "password: [masked] end"},
		{"no quoted-printable", "", "a=\npassword=3f\nb=3D", "a=\npassword=[masked]\nb=3D"},
		{"a password with the one until now", "sql", `ALTER USER a IDENTIFIED WITH p BY "x" REPLACE 'y'`, `ALTER USER a IDENTIFIED WITH p BY "[masked]" REPLACE '[masked]'`},
		{"SQL that is cut", "sql", "SELECT 1 WHERE password = 'abc", "SELECT 1 WHERE password = '[masked]"},
		{"Redis AUTH", "command", "AUTH default s3cret", "AUTH [masked] [masked]"},
		{"a new password of FTP", "command", "SITE PSWD a-old b-new", "SITE PSWD [masked] [masked]"},
		{"another command of FTP", "command", "SITE CHMOD 644 a", "SITE CHMOD 644 a"},
		{"an index by token", "application/json", `{"tokens":{"9f86d081884c7d659a2f":{"user":"a"},"total":2},"users":{"9f86d081884c7d659a2f":1}}`, `{"tokens":{"[masked]":{"user":"a"},"total":2},"users":{"9f86d081884c7d659a2f":1}}`},
		{"a field of Redis", "command", `HSET user:1 name a password "b c"`, "HSET user:1 name a password [masked]"},
		{"a key of Redis", "command", "SET user:1:password x", "SET user:1:password [masked]"},
		{"options of a command", "command", "app --password x --token=y --verbose", "app --password [masked] --token=[masked] --verbose"},
		{"what was masked before", "", `{"password":"[masked]","n":"4111 11** **** 1111"}`, `{"password":"[masked]","n":"4111 11** **** 1111"}`},
		{"nothing secret", "", `{"author":"a","tokens":5,"time":"12:30:11"}`, `{"author":"a","tokens":5,"time":"12:30:11"}`},
	} {
		got, n := p.Text(tt.kind, tt.text)
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
		if (n > 0) != (got != tt.text) {
			t.Errorf("%s: %d places masked", tt.name, n)
		}
		if again, n := p.Text(tt.kind, got); again != got || n > 0 {
			t.Errorf("%s: masked twice it is %s, %d places", tt.name, again, n)
		}
	}
}

func TestParams(t *testing.T) {
	for _, statement := range []string{
		"INSERT INTO u (id, password) VALUES ($1, $2)", "INSERT INTO u (password, id) VALUES ($2, $1)", "INSERT INTO u (id, password) VALUES (?, ?)", "SELECT 1 FROM u WHERE id = ? AND password = ?",
		"UPDATE u SET n = :n, password = :pw WHERE n = :n", "UPDATE u SET n = ?1, password = ?2 WHERE n = ?1", "INSERT INTO u (id, password) VALUES (?, crypt(?))",
	} {
		if got := Default().Params(statement, []string{"7", "s3cret"}); strings.Join(got, " ") != "7 [masked]" {
			t.Errorf("%s: %q", statement, got)
		}
	}
}

func TestPolicyRefusals(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"no version", "keys: [a]", "it has no version; a policy begins with version: 1"},
		{"an empty file", "", "it is empty; a policy begins with version: 1"},
		{"a comment alone", "# nothing\n", "it is empty; a policy begins with version: 1"},
		{"another version", "version: 2", "version 2 is not supported"},
		{"a field that is unknown", "version: 1\nkeyz: [a]", "keyz"},
		{"a detector that is unknown", "version: 1\ndetectors: [cards]", `unknown detector "cards"`},
		{"a key that masks everything", "version: 1\nkeys: ['*']", "would mask everything"},
		{"a key with an empty name", "version: 1\nkeys: ['a..b']", "empty name"},
		{"a pattern that is wrong", "version: 1\npatterns: [{name: x, match: '('}]", "pattern x"},
		{"a pattern that matches nothing", "version: 1\npatterns: [{name: x, match: 'a*'}]", "matches the empty text"},
		{"a pattern without a name", "version: 1\npatterns: [{match: 'a'}]", "has no name"},
		{"a base that is unknown", "version: 1\nextends: other", "must be default or none"},
		{"a mask that would break a text", "version: 1\nmask: '\"'", "mask"},
		{"no YAML", "version: [", "line 2: expected a value"},
		{"two texts under one name", "version: 1\nversion: 1", "already defined"},
	} {
		if _, err := Parse([]byte(tt.yaml)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// TestLinear checks that the time for any text is proportional to its size.
func TestLinear(t *testing.T) {
	p, err := Parse([]byte("version: 1\ndetectors: [all]\nkeys: [a.b.c]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"eyJ", "bearer ", "://a:", "a@", "@a.b", "password", "password=", "password: \"", "4111 ", "1", "{\"a\":", "[", "<a>", "<a b='", "\\\"", "'", "into ", "into t (", "password in (1,",
		"-----BEGIN PRIVATE KEY-----", "-", "+1", "(212", "DE89", "a.b.c=", "a%40", "&", ";=", "?a=", "$a$", "\"\\", "\\u0034", "xoxb-", "y=", "c="} {
		text := strings.Repeat(unit, 200_000/len(unit))
		for _, kind := range []string{"", "application/json", "text/xml", "sql", "command", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"} {
			p.Text(kind, text)
			p.Text(kind, "{\""+text)
			p.Text(kind, "<"+text)
		}
	}
}

func BenchmarkText(b *testing.B) {
	line := `{"id": 48213, "name": "Blue kettle, 1.7 l", "price_cents": 4990, "tags": ["kitchen", "steel"], "url": "/catalogue/48213?ref=home", "stock": {"berlin": 12, "hamburg": 0}},` + "\n"
	for _, tt := range []struct{ name, kind, text string }{
		{"json", "application/json", "[" + strings.Repeat(line, 6000)},
		{"log", "text/plain", strings.Repeat("2026-01-02T12:30:11.123Z level=info msg=\"order accepted\" order=48213 took=12ms user=ann path=/cart/48213\n", 10000)},
		{"prose", "text/plain", strings.Repeat("The quick brown fox jumps over the lazy dog, and nobody minds it much. ", 14000)},
		{"xml", "text/xml", "<a>" + strings.Repeat("<item id=\"48213\"><name>Blue kettle</name><price>49.90</price></item>\n", 14000)},
		{"form", "application/x-www-form-urlencoded", strings.Repeat("name=Blue+kettle&price=4990&", 36000)},
		{"base64", "text/plain", strings.Repeat("TUlJQ1hRSUJBQUtCZ1FDcUdLdWtPMURlN3poWmo2K0gwcXRqVGtWeHdUQ3B2S2U0", 16000)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			speed(b, len(tt.text), func() {
				if _, n := Default().Text(tt.kind, tt.text); n != 0 {
					b.Fatal(n)
				}
			})
		})
	}
}
