package openapi

import (
	"slices"
	"strings"
	"testing"
)

func TestIsData(t *testing.T) {
	for _, s := range []string{"42", "2026-11-21", "10.0.0.7", "2001:db8::1", "ann@example.com", "ann%40example.com", "0b0e3a52-8d2a-4b1e-9a53-0c6d1f0a7e11", "sk_live_51H8xAbCdEf"} {
		if !isData(s) {
			t.Errorf("%s is taken for a name", s)
		}
	}
	for _, s := range []string{"", "orders", "v1", "@type", "sha256", "oauth2", "app.kubernetes.io", "numberOfAvailableReplicas", "{id}"} {
		if isData(s) {
			t.Errorf("%s is taken for a value", s)
		}
	}
	if got := named(generalized("/users/ann@example.com/orders/{id}")); got != "/users/{userId}/orders/{orderId}" {
		t.Error(got)
	}
}

func TestFieldsNamedByData(t *testing.T) {
	var s shape
	s.addJSON(`{"total": 2, "by_user": {"ann@example.com": {"n": 1}, "10.0.0.7": {"n": 2}}}`)
	s.addJSON(`{"total": 3, "note": "x", "by_user": {"2026-11-21": {"n": 3, "late": true}}}`)
	o := s.schema()
	if !slices.Equal(o.Required, []string{"by_user", "total"}) {
		t.Errorf("required: %v", o.Required)
	}
	m := o.Properties["by_user"]
	if len(m.Properties) != 0 || m.Additional == nil || !slices.Equal(m.Additional.Required, []string{"n"}) {
		t.Errorf("%+v", m)
	}
	s.partial = true
	if o := s.schema(); o.Required != nil || o.Properties["by_user"].Additional.Required != nil {
		t.Error("fields are required although not all bodies were read")
	}
}

func TestSecurityOfOperations(t *testing.T) {
	op := func(path string, auth map[string]int64, headers ...string) *operation {
		o := &operation{Operation: Operation{Method: "GET", Path: path, Calls: 1, Statuses: []int64{200}}, auth: auth, headers: map[string]*parameter{}}
		for _, h := range headers {
			count(o.headers, h, 1, 50)
		}
		return o
	}
	text, err := writeOpenAPI("x", []*operation{
		op("/a", map[string]int64{"": 1}),
		op("/b", map[string]int64{"apikey": 1}, "x-api-key", "x-tenant"),
		op("/c", map[string]int64{"bearer": 1, "": 1}),
		op("/c/", map[string]int64{"negotiate": 1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name: x-api-key", "apikey-x-api-key: []", "security: []", "- {}", "operationId: getC\n", "operationId: getC_2\n", "url: /\n", "name: x-tenant"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "name: x-api-key"); n != 1 {
		t.Errorf("the key is named %d times, want once as a scheme", n)
	}
	if text, _ = writeOpenAPI("x", []*operation{op("/a", map[string]int64{"": 1})}); !strings.Contains(text, "\nsecurity: []") {
		t.Errorf("no empty security at the root of\n%s", text)
	}
}

func TestPathParametersHaveTheTypeOfAllCalls(t *testing.T) {
	op := operation{parts: map[int]*part{}}
	op.narrow(2, true, false)
	if s := op.parts[2].schema(); s.Type != "integer" {
		t.Errorf("integers: %+v", s)
	}
	op.narrow(2, false, true) // another endpoint of the same operation
	if s := op.parts[2].schema(); s.Type != "string" || s.Format != "" {
		t.Errorf("integers and UUIDs: %+v", s)
	}
	op.narrow(4, false, true)
	if s := op.parts[4].schema(); s.Format != "uuid" {
		t.Errorf("UUIDs: %+v", s)
	}
	if s := op.parts[6].schema(); s.Type != "string" {
		t.Errorf("unknown: %+v", s)
	}
}
