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
