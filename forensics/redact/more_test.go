package redact

import "testing"

// TestSecretsInSQL has values that belong to a secret name in other ways than after an equals sign.
func TestSecretsInSQL(t *testing.T) {
	p := Default()
	for _, tt := range []struct{ name, kind, text, want string }{
		{"a password in a function", "sql", "SELECT 1 FROM u WHERE password = crypt('abc', salt) AND a = 'b'", "SELECT 1 FROM u WHERE password = crypt('[masked]', salt) AND a = 'b'"},
		{"a password in functions", "sql", "UPDATE u SET password=encode(digest('abc' || 'd', 'sha1'), 'hex'), n=1", "UPDATE u SET password=encode(digest('[masked]' || '[masked]', '[masked]'), '[masked]'), n=1"},
		{"the length of a column", "sql", "CREATE TABLE u (password VARCHAR(20), n INT)", "CREATE TABLE u (password VARCHAR(20), n INT)"},
		{"a subquery", "sql", "SELECT 1 WHERE password IN (SELECT p FROM u WHERE name = 'bob')", "SELECT 1 WHERE password IN (SELECT p FROM u WHERE name = 'bob')"},
		{"a connection string in a literal", "sql", "SELECT dblink('host=x password=abc', 'SELECT 1')", "SELECT dblink('host=x password=[masked]', 'SELECT 1')"},
		{"a setting", "sql", "SELECT set_config('app.jwt_secret', 'abc', false)", "SELECT set_config('app.jwt_secret', '[masked]', false)"},
		{"a row of settings", "sql", "INSERT INTO settings VALUES ('smtp_password', 'abc'), ('port', '25')", "INSERT INTO settings VALUES ('smtp_password', '[masked]'), ('port', '25')"},
		{"a key of a table function", "sql", "SELECT * FROM s3('https://b.example/x.csv', 'AKIDX', 'abc/def', 'CSV') WHERE c = 'd'", "SELECT * FROM s3('https://b.example/x.csv', '[masked]', '[masked]', '[masked]') WHERE c = 'd'"},
		{"a password of a table function", "sql", "INSERT INTO FUNCTION mysql('db:3306', 'shop', 'users', 'app', 'abc') VALUES ('d')", "INSERT INTO FUNCTION mysql('db:3306', 'shop', 'users', '[masked]', '[masked]') VALUES ('d')"},
		{"a password of an engine", "sql", "CREATE TABLE t (a Int8) ENGINE = PostgreSQL ('db', shop, users, ?, 'abc', 'public')", "CREATE TABLE t (a Int8) ENGINE = PostgreSQL ('db', shop, users, ?, '[masked]', '[masked]')"},
		{"a password of a remote table", "sql", "SELECT * FROM remote('ch2', shop.users, 'app', 'abc') JOIN mysql.user ON x = 'y'", "SELECT * FROM remote('ch2', shop.users, '[masked]', '[masked]') JOIN mysql.user ON x = 'y'"},
		{"a password to encrypt with", "sql", "SELECT pgp_sym_decrypt(a, 'abc'), AES_ENCRYPT(b, 'def') FROM t WHERE c = 'd'", "SELECT pgp_sym_decrypt(a, '[masked]'), AES_ENCRYPT(b, '[masked]') FROM t WHERE c = 'd'"},
		{"another setting", "sql", "SELECT set_config('app.name', 'abc', false)", "SELECT set_config('app.name', 'abc', false)"},
		{"a literal in double quotes", "sql", "UPDATE u SET `password`=\"a\\\"bc\" WHERE a = \"b\"", "UPDATE u SET `password`=\"[masked]\" WHERE a = \"b\""},
		{"a password in double quotes", "sql", `CHANGE MASTER TO MASTER_PASSWORD="abc", MASTER_PORT=1`, `CHANGE MASTER TO MASTER_PASSWORD="[masked]", MASTER_PORT=1`},
		{"rows in double quotes", "sql", `INSERT INTO u (name, password) VALUES ("a", "b")`, `INSERT INTO u (name, password) VALUES ("a", "[masked]")`},
		{"the password of a user", "sql", "SET PASSWORD FOR 'bob'@'%' = 'abc'", "SET PASSWORD FOR 'bob'@'%' = '[masked]'"},
		{"a comment", "sql", "SELECT 1 /* password=abc */ FROM t -- token: def\nWHERE a = 'b'", "SELECT 1 /* password=[masked] */ FROM t -- token: [masked]\nWHERE a = 'b'"},
		{"columns and values in brackets", "sql", "SELECT 1 FROM u WHERE (name, u.password) = ('a', 'b') AND c = 'd'", "SELECT 1 FROM u WHERE (name, u.password) = ('a', '[masked]') AND c = 'd'"},
		{"columns in rows", "sql", "SELECT 1 FROM u WHERE (name, password) IN (('a', 'b'), ('c', 'd')) AND c = 'e'", "SELECT 1 FROM u WHERE (name, password) IN (('a', '[masked]'), ('c', '[masked]')) AND c = 'e'"},
		{"a value before its column", "sql", "SELECT 1 FROM u WHERE 'abc' = u.password AND b = 'c'", "SELECT 1 FROM u WHERE '[masked]' = u.password AND b = 'c'"},
		{"rows before their columns", "sql", "MERGE INTO u USING (VALUES ('a', 'b')) AS v (name, password) ON u.c = 'd'", "MERGE INTO u USING (VALUES ('a', '[masked]')) AS v (name, password) ON u.c = 'd'"},
		{"rows and columns without secrets", "sql", "SELECT 1 FROM (VALUES ('a')) AS v (name) WHERE (a, b) = ('c', 'd') OR 'e' = f -- g: h", "SELECT 1 FROM (VALUES ('a')) AS v (name) WHERE (a, b) = ('c', 'd') OR 'e' = f -- g: h"},
		{"a password after FOR", "sql", "SET PASSWORD FOR bob = PASSWORD('abc')", "SET PASSWORD FOR bob = PASSWORD('[masked]')"},
	} {
		if got, _ := p.Text(tt.kind, tt.text); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestSecretsInTexts has names that are not right before their values.
func TestSecretsInTexts(t *testing.T) {
	p := Default()
	for _, tt := range []struct{ name, kind, text, want string }{
		{"a key that exists", "", "Key (api_key)=(abc) already exists.", "Key (api_key)=([masked]) already exists."},
		{"keys that exist", "", "Key (tenant, api_key)=(acme, a)b) already exists.", "Key (tenant, api_key)=([masked]) already exists."},
		{"another key that exists", "", "Key (tenant)=(acme) already exists.", "Key (tenant)=(acme) already exists."},
		{"a duplicate entry", "", "Duplicate entry 'abc' for key 'users.api_key'", "Duplicate entry '[masked]' for key 'users.api_key'"},
		{"another duplicate entry", "", "Duplicate entry 'abc' for key 'users.name'", "Duplicate entry 'abc' for key 'users.name'"},
		{"a duplicate key", "", `E11000 dup key: { token: "abc" }`, `E11000 dup key: { token: "[masked]" }`},
		{"a duplicate key in a command", "command", `insert x.u → error: E11000 dup key: { token: "abc" }`, `insert x.u → error: E11000 dup key: { token: [masked] }`},
		{"a folded text of YAML", "", "a: b\npassword: >-\n  abc\n  def\nc: d", "a: b\npassword: >-\n  [masked]\nc: d"},
		{"a text of YAML", "", "x:\n  private_key: |\n    abc\n\n    def\n  c: d", "x:\n  private_key: |\n    [masked]\n  c: d"},
		{"a URL in a parameter", "application/x-www-form-urlencoded", "u=https%3A%2F%2Fx%2F%3Fa%3D1%26token%3Dabcdefgh&b=2", "u=https%3A%2F%2Fx%2F%3Fa%3D1%26token%3D[masked]&b=2"},
		{"a URL in a parameter without secrets", "application/x-www-form-urlencoded", "u=https%3a%2f%2fx%2F%3Fa%3D1&b=2", "u=https%3a%2f%2fx%2F%3Fa%3D1&b=2"},
		{"a password in a sentence", "", `login with password "abc d" failed, the new password is: efg`, `login with password "[masked]" failed, the new password is: [masked]`},
		{"other sentences", "", `the user "abc" is: d; it's "e"`, `the user "abc" is: d; it's "e"`},
		{"a value with blanks around the sign", "", "password = abc\nuser = d", "password = [masked]\nuser = d"},
		{"logins of netrc", "", "token=x machine h login u password abc\nmachine i login v\n  password def", "token=[masked] machine h login u password [masked]\nmachine i login v\n  password [masked]"},
		{"a sentence about a login", "", "the login page asks for a password twice", "the login page asks for a password twice"},
		{"a text in three quotes", "", "password = \"\"\"abc\nd\"\"\"\nuser = 1", "password = \"\"\"[masked]\"\"\"\nuser = 1"},
		{"a variable of a shell", "", "export DB_PASS='abc' SMTP_PASS=def BYPASS=1", "export DB_PASS='[masked]' SMTP_PASS=[masked] BYPASS=1"},
		{"a column of CSV", "text/csv; charset=utf-8", "user,\"Password\",n\r\nann,abc,1\r\nbob,\"d \"\"e, f\",2\r\n", "user,\"Password\",n\r\nann,[masked],1\r\nbob,\"[masked]\",2\r\n"},
		{"a column between tabs", "text/tab-separated-values", "a\tapi_key\nb\tcde", "a\tapi_key\nb\t[masked]"},
		{"CSV without secret columns", "text/csv", "a,b\nc,token=def\n\"g", "a,b\nc,token=[masked]\n\"g"},
		{"a name of a file", "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"password=abc\"\r\n\r\nd\r\n--B--\r\n", "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"password=[masked]\"\r\n\r\nd\r\n--B--\r\n"},
		{"JSON in a parameter", "application/x-www-form-urlencoded", "f=%7B%22password%22%3A%22abc%22%7D&n=1", "f=%7B%22password%22%3A%22[masked]%22%7D&n=1"},
		{"JSON in a parameter, as it is", "application/x-www-form-urlencoded", `f={"password":"abc"}&n=1`, "f=%7B%22password%22%3A%22[masked]%22%7D&n=1"},
		{"GraphQL in a parameter", "application/x-www-form-urlencoded", "n=1&query=%7Blogin(password%3A%22abc%22)%7Bid%7D%7D", "n=1&query=%7Blogin%28password%3A%22[masked]%22%29%7Bid%7D%7D"},
		{"a URL that is encoded twice", "application/x-www-form-urlencoded", "u=https%253A%2F%2Fx%2F%253Ftoken%253Dabcdefgh", "u=https%253A%252F%252Fx%252F%253Ftoken%253D[masked]"},
	} {
		if got, _ := p.Text(tt.kind, tt.text); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestSecretsInBrackets has texts that begin like JSON, and documents that say themselves what is secret.
func TestSecretsInBrackets(t *testing.T) {
	p := Default()
	for _, tt := range []struct{ name, kind, text, want string }{
		{"a log line that begins with a bracket", "", "[info] password: abc", "[info] password: [masked]"},
		{"a log line that begins with a time", "", `[2026-01-01 12:00:00] token = "abc"`, `[2026-01-01 12:00:00] token = "[masked]"`},
		{"a header in such a line", "", "[x] Authorization: Bearer abc", "[x] Authorization: Bearer [masked]"},
		{"structured data", "", `[x@1 token="abc"]`, `[x@1 token="[masked]"]`},
		{"relaxed JSON", "", `{token: 'abc', n: 1}`, `{token: '[masked]', n: 1}`},
		{"a template", "", `{{ password = "abc" }}`, `{{ password = "[masked]" }}`},
		{"a Secret of Kubernetes", "", `{"kind":"Secret","metadata":{"name":"x"},"data":{"foo":"YWJj"}}`, `{"kind":"Secret","metadata":{"name":"x"},"data":{"foo":"[masked]"}}`},
		{"Secrets of Kubernetes", "", `{"items":[{"data":{"foo":"YWJj"},"stringData":{"a":"b"}}],"kind": "SecretList"}`, `{"items":[{"data":{"foo":"[masked]"},"stringData":{"a":"[masked]"}}],"kind": "SecretList"}`},
		{"a ConfigMap of Kubernetes", "", `{"kind":"ConfigMap","data":{"foo":"Secret"}}`, `{"kind":"ConfigMap","data":{"foo":"Secret"}}`},
		{"a variable of GraphQL", "", `{"query":"mutation($p:String!){login(name:\"a\",password: $p){ok}}","variables":{"p":"abc","q":"d"}}`, `{"query":"mutation($p:String!){login(name:\"a\",password: [masked]){ok}}","variables":{"p":"[masked]","q":"d"}}`},
	} {
		if got, _ := p.Text(tt.kind, tt.text); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestSecretsInFields has the names of secrets beside their values.
func TestSecretsInFields(t *testing.T) {
	p := Default()
	for _, tt := range []struct{ name, kind, text, want string }{
		{"an answer of Redis", "command", "GET api_key → a b c", "GET api_key → [masked] [masked] [masked]"},
		{"a value of Redis behind its time", "command", "SETEX u:token 100 abc → OK", "SETEX u:token [masked] [masked] → OK"},
		{"members of a list of Redis", "command", "LPUSH u:token abc d → 2", "LPUSH u:token [masked] [masked] → 2"},
		{"members of a set of Redis, in a script", "command", `EVAL "redis.call('SADD','u:token',ARGV[1])" 0 abc`, `EVAL "redis.call('SADD','u:token',ARGV[1])" 0 [masked]`},
		{"a login of Redis", "command", "HELLO 3 AUTH default abc → {server: redis, version: 7.0.15}", "HELLO 3 AUTH [masked] [masked] → {server: redis, version: 7.0.15}"},
		{"a refused login of Redis", "command", "AUTH *** → WRONGPASS user is disabled.", "AUTH [masked] → WRONGPASS user is disabled."},
		{"an error of Redis", "command", "GET u:token → MOVED 3999 127.0.0.1:6381", "GET u:token → MOVED 3999 127.0.0.1:6381"},
		{"text of XML", "text/xml", `<a><![CDATA[password=abc]]></a><b>{"token":"d"}</b><c>e: f</c>`, `<a><![CDATA[password=[masked]]]></a><b>{"token":"[masked]"}</b><c>e: f</c>`},
		{"comments, escapes and markup in XML", "text/xml", `<!-- pwd: abc --><a>{&quot;token&quot;:&quot;d&quot;}</a><b>&lt;password&gt;e&lt;/password&gt;</b><c><![CDATA[<password>f</password>]]></c>`, `<!-- pwd: [masked] --><a>{&#34;token&#34;:&#34;[masked]&#34;}</a><b>&lt;password&gt;[masked]&lt;/password&gt;</b><c><![CDATA[<password>[masked]</password>]]></c>`},
		{"a statement in JSON", "application/json", `{"sql":"INSERT INTO u (name, password) VALUES ('a', 'abc')"}`, `{"sql":"INSERT INTO u (name, password) VALUES ('a', '[masked]')"}`},
		{"lists and cookies in JSON", "application/json", `{"refreshTokens":["abc"],"cookies":{"a":"d"},"max_tokens":5}`, `{"refreshTokens":["[masked]"],"cookies":{"a":"[masked]"},"max_tokens":5}`},
		{"a script of HTML", "text/html", `<p>Password: abc</p><script>var c={apiKey:"d",n:1}</script>`, `<p>Password: [masked]</p><script>var c={apiKey:"[masked]",n:1}</script>`},
		{"a field of Redis before others", "command", "HMGET u api_key n → [abc, d]", "HMGET u api_key [masked] → [masked] [masked]"},
		{"a status of Redis", "command", "SET u:token abc → OK", "SET u:token [masked] → OK"},
		{"an identifier of Redis", "command", "XADD s * token abc → 17-0", "XADD s * token [masked] → 17-0"},
		{"a field of HTML without quotes", "text/html", "<input name=csrf_token value=abc><input name=n value=d/><input type=password value=e >", "<input name=csrf_token value=[masked]><input name=n value=d/><input type=password value=[masked] >"},
		{"a field of HTML in its head", "text/html", `<meta name="csrf-token" content="abc"><meta name="n" content="d">`, `<meta name="csrf-token" content="[masked]"><meta name="n" content="d">`},
		{"a name and a value in elements", "application/xml", "<p><name>db_password</name>\n<value>abc</value></p><p><name>n</name><value>d</value></p>", "<p><name>db_password</name>\n<value>[masked]</value></p><p><name>n</name><value>d</value></p>"},
		{"a dictionary of XML", "application/xml", "<dict><key>password</key><string>abc</string><key>n</key><string>d</string></dict>", "<dict><key>password</key><string>[masked]</string><key>n</key><string>d</string></dict>"},
		{"pairs in lists", "application/json", `{"h":[["Authorization","abc"],["n","d"]],"required":["password","e"]}`, `{"h":[["Authorization","[masked]"],["n","d"]],"required":["password","e"]}`},
		{"a field of HTML", "text/html", `<input type="hidden" name="csrf_token" value="abc"><input name="n" value="d">`, `<input type="hidden" name="csrf_token" value="[masked]"><input name="n" value="d">`},
		{"a password of HTML", "text/html", `<input type="password" name="q" value="abc"><input type="text" name="q" value="d">`, `<input type="password" name="q" value="[masked]"><input type="text" name="q" value="d">`},
		{"a key of Redis with a number", "command", "MSET session:17 abc cart:18 d", "MSET session:[masked] [masked] cart:18 d"},
		{"a key of Redis with a name", "command", "SET session:ann abc EX 9", "SET session:[masked] [masked] EX 9"},
		{"a field of HTML, value first", "text/html", `<input value='abc' name='csrf_token'/>`, `<input value='[masked]' name='csrf_token'/>`},
	} {
		if got, _ := p.Text(tt.kind, tt.text); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	if got := p.Header("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.YWJjZGVmZ2hpamts, v4.channel.k8s.io"); got != "[masked], v4.channel.k8s.io" {
		t.Errorf("a bearer token as a protocol: %s", got)
	}
	if got := p.Header("Sec-WebSocket-Protocol", "v1.chat, bearer, abcd.ef-gh"); got != "v1.chat, bearer, [masked]" {
		t.Errorf("a token after its scheme as a protocol: %s", got)
	}
	if got := p.Header("X-Context", `{"token":"abc","n":1}`); got != `{"token":"[masked]","n":1}` {
		t.Errorf("JSON in a header: %s", got)
	}
}
