package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/cli/console"
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

func TestMissingBytesInHAR(t *testing.T) {
	for _, tc := range []struct {
		name string
		call forensics.Struct
		want int64
	}{
		{"no response was captured", forensics.Struct{}, -1},
		{"a response without a body", forensics.Struct{{Name: "status_code", Value: int64(204)}}, 0},
		{"a response whose first line is missing", forensics.Struct{{Name: "response_body_wire_size", Value: int64(7)}}, 7},
	} {
		if got := (httpCall{&forensics.Exchange{Call: tc.call}}).bodySize("response_body_wire_size", "status_code"); got != tc.want {
			t.Errorf("%s: bodySize %d, want %d", tc.name, got, tc.want)
		}
	}
	var out bytes.Buffer
	w := HAR(&console.Streams{Out: &out})
	if err := w.Call(&forensics.Exchange{Call: forensics.Struct{}, Request: &forensics.Body{Data: []byte("ab"), Size: 9, IsText: true, Truncated: true}}); err != nil {
		t.Fatal(err)
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Log struct{ Entries []harEntry } `json:"log"`
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if e := doc.Log.Entries[0]; e.Request.PostData.Comment != "incomplete" || e.Response.BodySize != -1 {
		t.Errorf("%+v", e)
	}
}
