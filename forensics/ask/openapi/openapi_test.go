package openapi_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/pcapsule/pcapsule/forensics/ask/openapi"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

func TestOpenAPIDescribesTheCallsItWasMadeOf(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, service := range []string{"shop/payment", "shop/catalogue", "shop/frontend", "shop/gateway"} {
		t.Run(service, func(t *testing.T) {
			out, err := openapi.Ask(ctx, c, openapi.In{Service: service})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Operations) == 0 {
				t.Fatal("no operations")
			}
			doc, err := openapi3.NewLoader().LoadFromData([]byte(out.YAML))
			if err != nil {
				t.Fatalf("%v\n%s", err, out.YAML)
			}
			if err := doc.Validate(ctx); err != nil {
				t.Fatalf("%v\n%s", err, out.YAML)
			}
			ids := map[string]bool{}
			for path, item := range doc.Paths.Map() {
				for verb, op := range item.Operations() {
					if op.OperationID == "" || ids[op.OperationID] {
						t.Errorf("%s %s: operationId %q is empty or used twice", verb, path, op.OperationID)
					}
					ids[op.OperationID] = true
				}
			}
			if doc.Security == nil {
				t.Error("security is left open")
			}
			_, name, _ := strings.Cut(service, "/")
			rules, err := check.Parse([]byte(`{version: 1, rules: [{name: as described, calls: 'http && (dst.service == "`+name+`" || dst.pod.startsWith("`+name+`"))', openapi: api.yaml}]}`),
				fstest.MapFS{"api.yaml": {Data: []byte(out.YAML)}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := check.Run(ctx, c, rules, all.Analyzers())
			if err != nil {
				t.Fatal(err)
			}
			if r.Passed != 1 {
				t.Errorf("%+v\n%s", r.Results, out.YAML)
			}
		})
	}
}

// TestOpenAPIOfQueriesWithSemicolons checks a request against the description that was made of it.
func TestOpenAPIOfQueriesWithSemicolons(t *testing.T) {
	const server = "10.9.0.1"
	w := &asktest.Made{}
	w.Single(0, time.Millisecond, "10.9.0.2", server, asktest.Get("/files?type=text/plain;%20charset=utf-8&name=a"), asktest.Answer("200 OK", `{}`))
	c := w.Open(t)
	out, err := openapi.Ask(ctx, c, openapi.In{Service: server})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := check.Parse([]byte(`{version: 1, rules: [{name: as described, calls: http, openapi: api.yaml}]}`), fstest.MapFS{"api.yaml": {Data: []byte(out.YAML)}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := check.Run(ctx, c, rules, all.Analyzers())
	if err != nil {
		t.Fatal(err)
	}
	if r.Passed != 1 {
		t.Errorf("%+v\n%s", r.Results, out.YAML)
	}
}

func TestOpenAPIContainsNoValuesFromTheTraffic(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	out, err := openapi.Ask(ctx, c, openapi.In{Service: "shop/payment"})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"4111", "Bearer ", "@example"} {
		if strings.Contains(out.YAML, secret) {
			t.Errorf("%s is in it", secret)
		}
	}
	if _, err := openapi.Ask(ctx, c, openapi.In{}); err == nil {
		t.Error("an input without a service is accepted")
	}
}

// TestOpenAPIOfUnusualRequests describes requests that are legal but rare. Each request and response
// that was made must match, including those of failed calls, and no value may appear.
func TestOpenAPIOfUnusualRequests(t *testing.T) {
	const server = "10.9.0.1"
	w := &asktest.Made{}
	type pair struct{ request, answer string }
	list := []pair{
		{asktest.Get("/search?q=&page=2&tag=a&tag=b"), asktest.Answer("200 OK", `{"next": null}`)},
		{asktest.Get("/search?q=x+y&page=10&tag=c&flag"), asktest.Answer("200 OK", `{"next": null}`)},
		{asktest.Get("/search?q=z&page=7&expr=a=b=12345678&zz=%zz"), asktest.Answer("400 Bad Request", `{"error": "bad"}`)},
		{asktest.Get("/search?q=%ff%fe&page=7"), asktest.Answer("400 Bad Request", `{"error": "bad"}`)},
		{asktest.Get("/lookup?/c+dir+secretfolder"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/lookup?kLmNoPqRsTuVwXyZaBcD"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/maps/{braces}/x{y}"), asktest.Answer("200 OK", `{"a": [1, null], "b": null}`)},
		{asktest.Get("/maps/{other}/x{z}"), asktest.Answer("200 OK", `{"a": [null], "b": "text"}`)},
		{asktest.Get("/people/Mary%20Smithson/notes"), asktest.Answer("200 OK", `[]`)},
		{asktest.Get("/reset/hTqwErTyUiOpAsDfGhJk"), asktest.Answer("200 OK", `[]`)},
		{asktest.Get("/keyed?api_key=hunterhunter", "X-Tenant: blue"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/cart;jsessionid=hunterhunter/items"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/Products(hunterhunter)"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/people", "X-Of-12345678: 1"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/both", "Authorization: Bearer hunterhunter", "X-Api-Key: hunterhunter"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/signed", "Authorization: AWS4-HMAC-SHA256 Credential=hunterhunter"), asktest.Answer("200 OK", `{}`)},
		{asktest.Get("/watch"), asktest.Answer("200 OK", `{"type": "ADDED"}`+"\n"+`{"type": "GONE"}`)},
		{asktest.Get("/odd"), asktest.Answer("799 Odd", `{"a": 1}`)},
		{asktest.Post("/items", `{"a": 1}`), asktest.Answer("201 Created", `{"a": 1}`)},
		{asktest.Post("/items", `{"a": null}`), asktest.Answer("201 Created", `{"a": "b"}`)},
		{asktest.Post("/items", `{"b": "x"}`), asktest.Answer("422 Unprocessable Entity", `{"detail": [{"loc": ["a"]}]}`)},
		{asktest.Post("/items", `{"a": 1`), asktest.Answer("400 Bad Request", ``)},
		{strings.Replace(asktest.Post("/items", "a,b"), "application/json", "csv", 1), strings.Replace(asktest.Answer("415 Unsupported", "no"), "application/json", "text", 1)},
	}
	for i, p := range list {
		w.Single(time.Duration(i)*time.Second, time.Millisecond, "10.9.0.2", server, p.request, p.answer)
	}
	for i, method := range []string{"PROPFIND", "FROB", "PROPFIND"} { // which OpenAPI cannot describe
		w.Single(time.Duration(len(list)+i)*time.Second, time.Millisecond, "10.9.0.2", server, strings.Replace(asktest.Get(fmt.Sprintf("/files%c", 'a'+i)), "GET", method, 1), asktest.Answer("200 OK", `{}`))
	}
	out, err := openapi.Ask(ctx, w.Open(t), openapi.In{Service: server})
	if err != nil {
		t.Fatal(err)
		if notes := strings.Join(out.Notes, "\n"); !strings.Contains(notes, "3 operations are left out of the document, because OpenAPI cannot describe their methods or paths: FROB, PROPFIND") || !strings.Contains(notes, fmt.Sprintf("describes %d operations", len(out.Operations)-3)) {
			t.Errorf("notes: %s", notes)
		}
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(out.YAML))
	if err == nil {
		err = doc.Validate(ctx)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.YAML)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		first, _, _ := strings.Cut(p.request, "\r\n")
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(p.request)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(p.answer)), req)
		if err != nil {
			t.Fatal(err)
		}
		route, params, err := router.FindRoute(req)
		if err != nil {
			t.Errorf("%s: %v", first, err)
			continue
		}
		in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, ExcludeRequestBody: res.StatusCode == 400}}
		if err := openapi3filter.ValidateRequest(ctx, in); err != nil {
			t.Errorf("%s: %v", first, err)
		}
		if err := openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Body: res.Body}); err != nil {
			t.Errorf("%s: %v", first, err)
		}
	}
	for _, value := range []string{"hunter", "kLmN", "12345678", "hTqw", "Mary", "braces", "secretfolder", "blue"} {
		if strings.Contains(out.YAML, value) {
			t.Errorf("%q of the traffic is in it", value)
		}
	}
	for _, want := range []string{"allowEmptyValue: true", "name: api_key", "query-api_key: []", "bearer: []", "name: X-Api-Key", "name: Authorization", "type: integer", "type: array", "name: flag"} {
		if !strings.Contains(strings.ToLower(out.YAML), strings.ToLower(want)) {
			t.Errorf("no %q in it", want)
		}
	}
	schemas(doc, func(s *openapi3.Schema) {
		if s.Nullable && s.Type.IsEmpty() {
			t.Error("a schema without a type is nullable")
		}
	})
	if t.Failed() {
		t.Log(out.YAML)
	}
}

// schemas visits all schemas of bodies.
func schemas(doc *openapi3.T, visit func(*openapi3.Schema)) {
	var walk func(r *openapi3.SchemaRef)
	walk = func(r *openapi3.SchemaRef) {
		if r == nil {
			return
		}
		visit(r.Value)
		walk(r.Value.Items)
		walk(r.Value.AdditionalProperties.Schema)
		for _, x := range r.Value.AnyOf {
			walk(x)
		}
		for _, x := range r.Value.Properties {
			walk(x)
		}
	}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, res := range op.Responses.Map() {
				for _, m := range res.Value.Content {
					walk(m.Schema)
				}
			}
		}
	}
}
