package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/internal/yamltext"
)

// documentOf parses JSON or YAML to JSON values.
func documentOf(text []byte) (any, error) {
	if v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text)); err == nil {
		return v, nil
	}
	var v any
	if err := yaml.Load(text, &v); err != nil {
		return nil, yamltext.Error(err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(again))
}

// openAPI checks HTTP calls against an OpenAPI 3 description: path and method, parameters, bodies,
// statuses and headers. It ignores servers and security: a capture has its own hosts, and other
// rules cover credentials.
func (s *Rules) openAPI(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	if r.OpenAPI == nil {
		return nil
	}
	router, err := s.router(ctx, r.OpenAPI)
	if err != nil {
		return err
	}
	return q.with("path IS NOT NULL AND method IS NOT NULL").exchanges(ctx, func(x *exchange) error {
		return checkCall(ctx, router, x, o)
	})
}

// router reads a description.
func (s *Rules) router(ctx context.Context, d *Document) (routers.Router, error) {
	l := openapi3.NewLoader()
	l.Context = ctx
	l.ReadFromURIFunc = func(_ *openapi3.Loader, u *url.URL) ([]byte, error) {
		if u.Scheme != "" || u.Host != "" {
			return nil, fmt.Errorf("%s: descriptions must be in the folder of the rules", u)
		}
		return s.read(path.Clean(strings.TrimPrefix(u.Path, "/")))
	}
	var doc *openapi3.T
	var err error
	if d.File != "" {
		text, err := s.read(d.File)
		if err != nil {
			return nil, err
		}
		if doc, err = l.LoadFromDataWithPath(text, &url.URL{Path: d.File}); err != nil {
			return nil, fmt.Errorf("openapi %s: %w", d.File, err)
		}
	} else {
		text, err := json.Marshal(d.Inline)
		if err != nil {
			return nil, fmt.Errorf("openapi: %w", err)
		}
		if doc, err = l.LoadFromData(text); err != nil {
			return nil, fmt.Errorf("openapi: %w", err)
		}
	}
	base := ""
	if len(doc.Servers) > 0 {
		if p, err := doc.Servers[0].BasePath(); err == nil {
			base = strings.TrimSuffix(p, "/")
		}
	}
	doc.Servers = nil
	if base != "" {
		doc.Servers = openapi3.Servers{{URL: base}}
	}
	if err := doc.Validate(ctx); err != nil {
		return nil, fmt.Errorf("openapi %s: %w", d.File, err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("openapi %s: %w", d.File, err)
	}
	return router, nil
}

// checkCall checks one call against the description.
func checkCall(ctx context.Context, router routers.Router, x *exchange, o *Outcome) error {
	fail := func(what string, err error) {
		text, _, _ := strings.Cut(err.Error(), "\nSchema:")
		o.fail(&x.call, "a call that matches the description", "%s: %s", what, strings.ReplaceAll(text, "\n", " "))
	}
	request, whole := x.reqBody.text, x.reqBody.whole
	u := *x.url
	u.Host, u.Scheme = "", ""
	req := &http.Request{Method: x.method, URL: &u, Header: x.request, Host: x.url.Host, Body: io.NopCloser(bytes.NewReader(request)), ContentLength: int64(len(request))}
	route, params, err := router.FindRoute(req)
	if err != nil {
		o.fail(&x.call, "a path and method of the description", "%s %s: %v", x.method, x.url.Path, err)
		return nil
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true, ExcludeRequestBody: !whole}}
	if err := openapi3filter.ValidateRequest(ctx, in); err != nil && (x.status == 0 || x.status < 400 || x.status >= 500) {
		fail("request", err) // a server may reject an invalid request
	}
	if x.status == 0 {
		return nil
	}
	response, whole := x.resBody.text, x.resBody.whole
	opts := *in.Options
	opts.ExcludeResponseBody = !whole || x.method == http.MethodHead
	header := x.response.Clone()
	header.Del("Content-Encoding") // bodies are decoded already
	res := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: x.status, Header: header,
		Body: io.NopCloser(bytes.NewReader(response)), Options: &opts}
	if err := openapi3filter.ValidateResponse(ctx, res); err != nil {
		fail("response", err)
	}
	return nil
}
