package redact

import "testing"

// TestGeneratedValues has names that speak for a secret only if a program drew the value, beside the same names with
// values that people chose, which stay.
func TestGeneratedValues(t *testing.T) {
	p := Default()
	const v = "V8sK2mQz4TfR1xPb9LwE"
	for _, tt := range []struct{ kind, text, want string }{
		{"application/x-www-form-urlencoded", "/q?key=" + v + "&n=1#p=" + v, "/q?key=[masked]&n=1#p=[masked]"},
		{"application/x-www-form-urlencoded", "/q?ticket=ST-1-" + v + "-cas", "/q?ticket=[masked]"},
		{"application/x-www-form-urlencoded", "/q?key=user-profile-2023-11-05&p=17&ticket=OPS-123", "/q?key=user-profile-2023-11-05&p=17&ticket=OPS-123"},
		{"application/x-www-form-urlencoded", "key=L3JlZ2lzdHJ5L3BvZHMvZGVmYXVsdA%3D%3D&id=" + v, "key=L3JlZ2lzdHJ5L3BvZHMvZGVmYXVsdA%3D%3D&id=" + v},
		{"application/json", `{"deployKey":"` + v + `","id":"` + v + `","keys":["` + v + `","a"]}`, `{"deployKey":"[masked]","id":"` + v + `","keys":["[masked]","a"]}`},
		{"application/json", `{"key":"order.created","public_key":"` + v + `","idempotencyKey":"` + v + `","object":{"key":"` + v + `"}}`, `{"key":"order.created","public_key":"` + v + `","idempotencyKey":"` + v + `","object":{"key":"` + v + `"}}`},
		{"application/json", `{"kty":"RSA","n":"` + v + `","d":"` + v + `","p":"x","k":1}`, `{"kty":"RSA","n":"` + v + `","d":"[masked]","p":"[masked]","k":"[masked]"}`},
		{"text/xml", `<a><key>` + v + `</key><key>size</key><id>` + v + `</id><b sk="` + v + `"/></a>`, `<a><key>[masked]</key><key>size</key><id>` + v + `</id><b sk="[masked]"/></a>`},
		{"", "app_key: \"" + v + "\" task=" + v, "app_key: \"[masked]\" task=" + v},
		{"plain", "/tok/" + v + "/session/" + v + "?x", "/tok/[masked]/session/[masked]?x"},
		{"plain", "/key/value-store-2024-x /users/" + v + " /login/oauth2-callback-v2", "/key/value-store-2024-x /users/" + v + " /login/oauth2-callback-v2"},
		{"multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n" + v + "\r\n--B--\r\n", "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n[masked]\r\n--B--\r\n"},
	} {
		if got, _ := p.Text(tt.kind, tt.text); got != tt.want {
			t.Errorf("\n got %s\nwant %s", got, tt.want)
		}
	}
	for name, want := range map[string]string{"X-Elastic-Key": Mask, "x-admin-key": Mask, "Sec-WebSocket-Key": v, "Idempotency-Key": v, "X-Request-Id": v} {
		if got := p.Header(name, v); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := p.Header("Host", "bob:abc@x.example:80"); got != "bob:[masked]@x.example:80" {
		t.Errorf("a password in Host: %s", got)
	}
}

// TestParametersInJSON has parameters of statements, which have no names of their own.
func TestParametersInJSON(t *testing.T) {
	p := Default()
	for text, want := range map[string]string{
		`{"sql":"SELECT 1 FROM u WHERE n=? AND password IN (?)","params":["ann","abc"]}`:              `{"sql":"SELECT 1 FROM u WHERE n=? AND password IN (?)","params":["ann","[masked]"]}`,
		`{"args":["ann",1234],"query":"INSERT INTO u (n, pin) VALUES ($1, $2)"}`:                      `{"args":["ann","[masked]"],"query":"INSERT INTO u (n, pin) VALUES ($1, $2)"}`,
		`{"stmt":"INSERT INTO u (n, password) VALUES (?,?)","params":[["a","b"],["c","d"`:             `{"stmt":"INSERT INTO u (n, password) VALUES (?,?)","params":[["a","[masked]"],["c","[masked]"`,
		`[["INSERT INTO u (n, password) VALUES (?,?)","ann","abc"],["SELECT ? FROM t","def"]]`:        `[["INSERT INTO u (n, password) VALUES (?,?)","ann","[masked]"],["SELECT ? FROM t","def"]]`,
		`{"sql":"SELECT 1 FROM u WHERE n=?","params":["ann"],"text":"why? because","values":["abc"]}`: `{"sql":"SELECT 1 FROM u WHERE n=?","params":["ann"],"text":"why? because","values":["abc"]}`,
	} {
		if got, _ := p.Text("application/json", text); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

// TestYAML has values on other lines than their names.
func TestYAML(t *testing.T) {
	p := Default()
	for text, want := range map[string]string{
		"db:\n  passwords:\n    - abc\n    - \"d e\"\n  port: 1\n":                  "db:\n  passwords:\n    - [masked]\n    - \"[masked]\"\n  port: 1\n",
		"passwords:\n- abc\n- def\nport: 1\nlist:\n- ghi\n":                         "passwords:\n- [masked]\n- [masked]\nport: 1\nlist:\n- ghi\n",
		"passwords: [abc, def]\nport: 1\n":                                          "passwords: [[masked]]\nport: 1\n",
		"env:\n- name: DB_PASSWORD\n  value: abc\n- name: X\n  value: y\n":          "env:\n- name: DB_PASSWORD\n  value: [masked]\n- name: X\n  value: y\n",
		"kind: Secret\nmetadata:\n  name: x\ndata:\n  foo: YWJj\n":                  "kind: Secret\nmetadata:\n  name: x\ndata:\n  foo: [masked]\n",
		"kind: ConfigMap\ndata:\n  foo: YWJj\n":                                     "kind: ConfigMap\ndata:\n  foo: YWJj\n",
		"password:\n  abc\nport: 1\n":                                               "password:\n  [masked]\nport: 1\n",
		"credentials:\n  user: a\n  login:\n    x: abc\nb: c\n":                     "credentials:\n  user: [masked]\n  login:\n    x: [masked]\nb: c\n",
		"Password:\n  Enter it below.\nHelp: me\n":                                  "Password:\n  Enter it below.\nHelp: me\n",
		"notes: |\n  password:\n    - none\nport: 1\nenv:\n- name: A\n- value: b\n": "notes: |\n  password:\n    - none\nport: 1\nenv:\n- name: A\n- value: b\n",
	} {
		got, n := p.Text("application/yaml", text)
		if got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		if again, _ := p.Text("application/yaml", got); again != got || (n > 0) != (got != text) {
			t.Errorf("masked twice, with %d places: %s", n, again)
		}
	}
}
