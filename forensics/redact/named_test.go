package redact

import "testing"

// TestNamesFarFromTheirValues has names in an attribute or a sentence, and messages in a summary of SQL.
func TestNamesFarFromTheirValues(t *testing.T) {
	p := Default()
	for _, tt := range []struct{ kind, text, want string }{
		{"text/xml", `<add key="Password" value="abc"/><add key="a" value="b"/>`, `<add key="Password" value="[masked]"/><add key="a" value="b"/>`},
		{"text/xml", `<p><entry key="db.password">abc</entry><entry key="host">b</entry></p>`, `<p><entry key="db.password">[masked]</entry><entry key="host">b</entry></p>`},
		{"text/xml", `<property name="apiKey"><value>abc</value></property><value>b</value>`, `<property name="apiKey"><value>[masked]</value></property><value>b</value>`},
		{"text/html", `<form name="password"><input name="password"><b>Enter it</b></form>`, `<form name="password"><input name="password"><b>Enter it</b></form>`},
		{"text/html", `<textarea name="secret">abc</textarea>d`, `<textarea name="secret">[masked]</textarea>d`},
		{"", "Your api_key is Zq7Rk2Lw. Keep it", "Your api_key is [masked]. Keep it"},
		{"", "your API key is Zq7Rk2Lw9", "your API key is [masked]"},
		{"", "Invalid API key provided: Zq7Rk2Lw9. Try again", "Invalid API key provided: [masked]. Try again"},
		{"", "Incorrect secret access key: Zq7Rk2Lw9", "Incorrect secret access key: [masked]"},
		{"", "bad token supplied: \"Zq7Rk2Lw9\"", "bad token supplied: \"[masked]\""},
		{"application/json", `{"error":"Invalid API key provided: Zq7Rk2Lw9. Try again","b":"order received: Zq7Rk2Lw9"}`, `{"error":"Invalid API key provided: [masked]. Try again","b":"order received: Zq7Rk2Lw9"}`},
		{"", "no API key provided: see https://a.example/docs1, token used: never", "no API key provided: see https://a.example/docs1, token used: never"},
		{"", "password is Zq7Rk2Lw9, token is abcd1234", "password is [masked], token is [masked]"},
		{"", "the token is expired since 12345678, the password is required", "the token is expired since 12345678, the password is required"},
		{"", "the order is Zq7Rk2Lw9 and this is abcd1234", "the order is Zq7Rk2Lw9 and this is abcd1234"},
		{"application/json", `{"text":"your api_key is Zq7Rk2Lw9","b":"this is abcd1234"}`, `{"text":"your api_key is [masked]","b":"this is abcd1234"}`},
		{"application/json", `{"error":"no login with password 'abc'"}`, `{"error":"no login with password '[masked]'"}`},
		{"application/x-www-form-urlencoded", "grant_type=urn&assertion=abc", "grant_type=urn&assertion=[masked]"},
		{sqlSummary, "SELECT 1 FROM u WHERE token = 'abc' → ERROR 42 near token = def", "SELECT 1 FROM u WHERE token = '[masked]' → ERROR 42 near token = [masked]"},
		{sqlSummary, "SELECT 'a → b' FROM u WHERE token = x → 1 row", "SELECT 'a → b' FROM u WHERE token = x → 1 row"},
		{sqlSummary, "INSERT INTO u (token) VALUES ('a → b') → 1 row", "INSERT INTO u (token) VALUES ('[masked]') → 1 row"},
	} {
		if got, _ := p.Text(tt.kind, tt.text); got != tt.want {
			t.Errorf("\n got %s\nwant %s", got, tt.want)
		}
	}
}
