package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// described is a server with its OpenAPI description, which all answers must match.
type described struct {
	t      *testing.T
	url    string
	doc    *openapi3.T
	router routers.Router
}

func describe(t *testing.T, s *Server) *described {
	t.Helper()
	web := httptest.NewServer(s.Handler(HTTPOptions{}))
	t.Cleanup(web.Close)
	r, err := http.Get(web.URL + "/mcp/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	doc.Servers = nil
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &described{t, web.URL, doc, router}
}

// ask sends a request, compares request and answer with the description, and returns the status.
// The server must not refuse a request that the description allows.
func (d *described) ask(method, target string, body any) int {
	d.t.Helper()
	var sent []byte
	if body != nil {
		sent, _ = json.Marshal(body) // a map of plain values always marshals
	}
	req, err := http.NewRequest(method, d.url+target, bytes.NewReader(sent))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	u, err := url.Parse(target)
	if err != nil {
		d.t.Fatal(err)
	}
	plain := &http.Request{Method: method, URL: u, Header: req.Header, Body: io.NopCloser(bytes.NewReader(sent))}
	route, params, err := d.router.FindRoute(plain)
	if err != nil {
		d.t.Fatalf("%s %s is not described: %v", method, target, err)
	}
	in := &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route, Options: &openapi3filter.Options{
		IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	request := fmt.Sprintf("%s %s %s", method, target, sent)
	refusal := openapi3filter.ValidateRequest(context.Background(), in)
	if refusal != nil && res.StatusCode < 400 {
		d.t.Errorf("%s: %d, but the description does not allow it: %v", request, res.StatusCode, refusal)
	}
	if res.StatusCode >= 500 {
		d.t.Errorf("%s: %d %s", request, res.StatusCode, data)
	}
	if err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body: io.NopCloser(bytes.NewReader(data)), Options: in.Options}); err != nil {
		d.t.Errorf("%s answers %d %.300s: %v", request, res.StatusCode, data, err)
	}
	return res.StatusCode
}

// values returns values that a schema allows.
func values(s *openapi3.Schema) (out []any) {
	switch {
	case len(s.Enum) > 0:
		return s.Enum
	case s.Type.Includes("integer"), s.Type.Includes("number"):
		return []any{1}
	case s.Type.Includes("boolean"):
		return []any{true}
	case s.Type.Includes("string"):
		return []any{"x y&z=\u00e9"}
	case s.Type.Includes("array"):
		for _, v := range values(s.Items.Value) {
			out = append(out, []any{v})
		}
		return append(out, []any{})
	case s.Type.Includes("object"):
		return []any{map[string]any{}}
	}
	return []any{"x"}
}

// TestAnswersMatchTheDescription calls every described operation on samples and, on one of them,
// with valid and invalid values of every parameter.
func TestAnswersMatchTheDescription(t *testing.T) {
	for _, sample := range nightly.Some([]string{"shop.pcapng", "dns.pcap"}, 1) {
		t.Run(sample, func(t *testing.T) {
			every := sample == "dns.pcap"
			required["snapshot_name"], _, _ = strings.Cut(sample, ".")
			archive := func(_ *forensics.Exchange, _ string, w io.Writer) error {
				_, err := io.WriteString(w, "{}")
				return err
			}
			d := describe(t, serving(t, Options{Reports: reported("0"), HTTP: archive}, bundled(t, sample)))
			required["packet_no"] = d.packetOf(fmt.Sprint(required["id"]))
			answered := map[string]bool{}
			for path, item := range d.doc.Paths.Map() {
				if path == "/mcp/tail" || path == "/metrics" {
					continue // it needs a ring
				}
				for method, op := range item.Operations() {
					d.askOperation(method, path, op, answered, every)
				}
			}
			for path, ok := range answered {
				if !ok && path != "/mcp/calls/{id}/picture" { // no sample has one; TestPictureOfACall
					t.Errorf("%s never succeeds", path)
				}
			}
			if len(answered) < 25 {
				t.Errorf("only %d operations are described", len(answered))
			}
		})
	}
}

// packetOf is the number of a packet of a call.
func (d *described) packetOf(id string) int64 {
	d.t.Helper()
	list := restAnswerOf[struct {
		List []struct {
			No int64 `json:"packet_no"`
		} `json:"list"`
	}](d.t, d.url+"/mcp/calls/"+url.PathEscape(id)+"/packets")
	if len(list.List) == 0 {
		d.t.Fatalf("call %s has no packet", id)
	}
	return list.List[0].No
}

func (d *described) askOperation(method, path string, op *openapi3.Operation, answered map[string]bool, every bool) {
	template := path
	note := func(status int) { answered[template] = answered[template] || status == http.StatusOK }
	path = strings.NewReplacer("{name}", fmt.Sprint(required["snapshot_name"]), "{id}", url.PathEscape(fmt.Sprint(required["id"]))).Replace(path)
	note(d.ask(method, path, nil))
	for _, p := range op.Parameters {
		list := values(p.Value.Schema.Value)
		if p.Value.Name == "packet_no" {
			list = append(list, required["packet_no"])
		}
		for _, v := range list {
			note(d.ask(method, path+"?"+url.Values{p.Value.Name: {fmt.Sprint(v)}}.Encode(), nil))
		}
		if p.Value.Schema.Value.Type.Is("integer") {
			for _, v := range []string{"x", "-1", "1.5", "1e30"} {
				if status := d.ask(method, path+"?"+p.Value.Name+"="+v, nil); status != http.StatusBadRequest {
					d.t.Errorf("%s with %s=%s: %d, want 400", path, p.Value.Name, v, status)
				}
			}
		}
	}
	if op.RequestBody == nil {
		return
	}
	s := op.RequestBody.Value.Content["application/json"].Schema.Value
	whole := func(name string, v any) map[string]any {
		body := map[string]any{name: v}
		for _, other := range s.Required {
			if other != name {
				body[other] = required[other]
			}
		}
		return body
	}
	if s.Properties["max_bytes"] != nil {
		note(d.ask(method, path, whole("max_bytes", 100_000)))
	} else {
		note(d.ask(method, path, whole(s.Required[0], required[s.Required[0]])))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if answered[template] && !every {
			return
		}
		list := values(s.Properties[name].Value)
		if v, ok := required[name]; ok {
			list = append(list, v)
		} else if name == "max_bytes" {
			list = []any{10_000}
		}
		for _, v := range list {
			note(d.ask(method, path, whole(name, v)))
		}
		if status := d.ask(method, path, whole(name, map[string]any{"a": []int{1}})); status != http.StatusBadRequest && !s.Properties[name].Value.Type.Includes("object") {
			d.t.Errorf("%s with an object as %s: %d, want 400", path, name, status)
		}
	}
	if status := d.ask(method, path, whole("no_such_parameter", 1)); status != http.StatusBadRequest {
		d.t.Errorf("%s with an unknown parameter: %d, want 400", path, status)
	}
}

// required has values for the required arguments of questions.
var required = map[string]any{"id": "#0", "service": "shop/payment", "text": "payment", "sql": "SELECT 1", "rules": "version: 1\nrules: [{name: x, calls: http, count: {min: 1}}]", "src": "shop/frontend", "dst": "shop/payment"}
