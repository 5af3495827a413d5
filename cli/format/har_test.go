package format

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

func TestCookiesAndQueryOfHAR(t *testing.T) {
	header := func(kind, name, value string) any {
		return forensics.Struct{{Name: "name", Value: name}, {Name: "value", Value: value}, {Name: "kind", Value: kind}}
	}
	h := httpCall{&forensics.Exchange{Call: forensics.Struct{{Name: "query_string", Value: "a=1&a=2&b=%20x&c"}, {Name: "headers", Value: []any{
		header("request", "Cookie", "id=7; theme=dark=ish"),
		header("response", "Set-Cookie", "id=8; Path=/; Domain=example.org; HttpOnly; Secure; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
		header("response", "Set-Cookie", "broken"),
	}}}}}
	if got := fmt.Sprint(h.query()); got != "[{a 1} {a 2} {b  x} {c }]" {
		t.Errorf("query %s", got)
	}
	if got := fmt.Sprint(h.requestCookies()); got != "[{id 7    false false} {theme dark=ish    false false}]" {
		t.Errorf("request cookies %s", got)
	}
	if got := fmt.Sprint(h.responseCookies()); got != "[{id 8 / example.org 2026-10-21T07:28:00.000Z true true}]" {
		t.Errorf("response cookies %s", got)
	}
}
