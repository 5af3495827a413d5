package openapi

import (
	"slices"
	"strings"
	"testing"
)

func TestIsData(t *testing.T) {
	for _, s := range []string{"42", "2026-11-21", "10.0.0.7", "2001:db8::1", "ann@example.com", "ann%40example.com", "0b0e3a52-8d2a-4b1e-9a53-0c6d1f0a7e11", "sk_live_51H8xAbCdEf", "hTqwErTyUiOpAsDfGhJk", "Mary%20Ann", "it's", "a\xff"} {
		if !isData(s) {
			t.Errorf("%s counts as a name", s)
		}
	}
	for _, s := range []string{"", "orders", "v1", "@type", "sha256", "oauth2", "app.kubernetes.io", "numberOfAvailableReplicas", "getAccountStatementForCustomer", "{id}"} {
		if isData(s) {
			t.Errorf("%s counts as a value", s)
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
		op("/d", map[string]int64{}), // no call succeeded
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name: x-api-key", "apikey-x-api-key: []", "security: []", "- {}", "operationId: getC\n", "operationId: getC_2\n", "url: /\n", "name: x-tenant",
		"\nsecurity:\n- apikey-x-api-key: []\n- bearer: []\n- negotiate: []\n- {}\n"} {
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

func TestFieldsNamedByPlainWords(t *testing.T) {
	for _, c := range []struct {
		name   string
		bodies []string
		isMap  bool
	}{
		{"currencies", []string{`{"USD": 1.1, "EUR": 1, "JPY": 160.2}`}, true},
		{"users", []string{`{"ann": {"age": 4, "mail": "x"}, "bob": {"age": 5, "mail": "y"}}`, `{"bob": {"age": 5, "mail": "y"}, "eve": {"age": 6, "mail": "z", "late": true}}`}, true},
		{"users of one body", []string{`{"ann": {"n": 4, "m": "x"}, "bob": {"n": 5, "m": "y"}, "eve": {"n": 1, "m": "z"}, "joe": {"n": 1, "m": "z"}}`}, true},
		{"names that hardly come twice", []string{`{"ann": 1, "bob": 2}`, `{"eve": 1, "joe": 2}`, `{"sue": 1}`}, true},
		{"names beside values", []string{`{"ann": 1, "bob@example.com": 2}`}, true},
		{"properties of one type", []string{`{"first_name": "a", "last_name": "b", "city": "c", "street": "d", "country": "e"}`}, false},
		{"properties of which some are left out", []string{`{"name": "a", "city": "c"}`, `{"name": "a", "street": "d"}`, `{"name": "a", "country": "e", "state": "x"}`}, false},
		{"two addresses", []string{`{"billing": {"city": "a", "zip": "b"}, "shipping": {"city": "a", "zip": "b"}}`}, false},
		{"values of several types", []string{`{"ID": 1, "OK": true}`}, false},
		{"counts", []string{`{"width": 1, "height": 2, "depth": 3}`, `{"width": 1, "height": 2, "depth": 3}`}, false},
		{"nothing but null", []string{`{"A": null, "B": null}`}, false},
	} {
		var s shape
		for _, b := range c.bodies {
			s.addJSON(b)
		}
		if o := s.schema(); (o.Additional != nil) != c.isMap || c.isMap && len(o.Properties) > 0 {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
	var s shape
	s.addJSON(`{"calls_by_user": {"ann": 1}, "labels": {"team": "x"}, "user": {"ann": 1}}`)
	o := s.schema()
	for name, want := range map[string]bool{"calls_by_user": true, "labels": true, "user": false} {
		if got := o.Properties[name].Additional != nil; got != want {
			t.Errorf("%s: a map %v, want %v", name, got, want)
		}
	}
}

func TestCookiesHaveTheirNames(t *testing.T) {
	op := &operation{Operation: Operation{Method: "GET", Path: "/a", Calls: 3, Statuses: []int64{200}}, auth: map[string]int64{"cookie": 3},
		cookies: map[string]*parameter{"JSESSIONID": {calls: 3}, "theme": {calls: 3}, "lang": {calls: 2}, "csrf_token": {calls: 3}}}
	text, err := writeOpenAPI("x", []*operation{op})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cookie-JSESSIONID: []", "name: JSESSIONID", "- name: theme\n        in: cookie\n        required: true", "- name: lang\n        in: cookie\n        schema", "- name: csrf_token"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "name: session\n") || strings.Count(text, "name: JSESSIONID") != 1 {
		t.Errorf("a cookie that was not sent, or one twice, in\n%s", text)
	}
}

// A parameter that one call lacks is not required, even if that call failed.
func TestParametersThatFailedCallsSentWithout(t *testing.T) {
	op := &operation{Operation: Operation{Method: "GET", Path: "/a", Calls: 3, Statuses: []int64{200, 400}}, auth: map[string]int64{"": 2},
		query: map[string]*parameter{"page": {calls: 2}, "size": {calls: 3}}, headers: map[string]*parameter{"x-tenant": {calls: 2}}}
	m := op.method(map[string]map[string]string{})
	for _, p := range m.Parameters {
		if want := p.Name == "size"; p.Required != want {
			t.Errorf("%s: required %v, want %v", p.Name, p.Required, want)
		}
	}
	if len(m.Parameters) != 3 {
		t.Errorf("%+v", m.Parameters)
	}
}
