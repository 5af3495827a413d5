package redact

import "testing"

func TestHeader(t *testing.T) {
	for _, tt := range []struct{ name, header, value, want string }{
		{"a bearer token keeps its scheme", "Authorization", "Bearer abc.def", "Bearer [masked]"},
		{"a token without a scheme is masked entirely", "authorization", "abcdef", "[masked]"},
		{"cookies keep their names", "Cookie", "sid=1; theme=dark", "sid=[masked]; theme=[masked]"},
		{"a set cookie is masked entirely", "Set-Cookie", "sid=1; Path=/", "[masked]"},
		{"an API key", "X-API-Key", "k", "[masked]"},
		{"a plain header stays", "Content-Type", "text/plain", "text/plain"},
	} {
		if got := Default().Header(tt.header, tt.value); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestQuery(t *testing.T) {
	for _, tt := range []struct{ name, q, want string }{
		{"a password", "user=a&password=b", "user=a&password=[masked]"},
		{"part of a name", "x_access_token=1&page=2", "x_access_token=[masked]&page=2"},
		{"nothing secret", "page=2&q=token", "page=2&q=token"},
		{"empty", "", ""},
	} {
		if got := Default().Query(tt.q); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestHeadersNamedLikeSecrets has headers that are not in a list of headers, but named like a secret value.
func TestHeadersNamedLikeSecrets(t *testing.T) {
	p := Default()
	for _, name := range []string{"Password", "token", "Api_Key", "X-Access-Key", "X-Secret-Key", "X-Private-Key", "Session-Id", "X-Session", "Access_token", "X-Auth", "Auth", "X-Pin", "X-Otp", "X-Amz-Credential", "X-Jwt", "x-signing-key"} {
		if got := p.Header(name, "kqzvwjxh"); got != Mask {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, name := range []string{"Access-Control-Allow-Credentials", "X-Token-Type", "X-Page-Token-Type", "Host", "X-Request-Id", "Sec-WebSocket-Key", "Content-Security-Policy", "Keep-Alive"} {
		if got := p.Header(name, "kqzvwjxh"); got != "kqzvwjxh" {
			t.Errorf("%s: %s", name, got)
		}
	}
	own, err := Parse([]byte("version: 1\nextends: none\nkeys: [diagnosis]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if own.Header("X-Diagnosis", "kqzvwjxh") != own.mask || own.Header("X-Password", "kqzvwjxh") != "kqzvwjxh" {
		t.Error("a policy of its own decides by its keys")
	}
}
