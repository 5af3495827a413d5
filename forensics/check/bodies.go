package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// maxBody is the largest body that is checked against a schema, in bytes; a longer one breaks the
// rule.
const maxBody = 8 << 20

// exchange is a call with the parts that schemas describe.
type exchange struct {
	call              ask.Call
	method            string
	url               *url.URL
	status            int
	request, response http.Header
	reqHash, resHash  string
	reqBody, resBody  *body
}

// exchangeRow is an exchange as SQL returns it.
type exchangeRow struct {
	ask.Call
	TsNs    int64  `json:"ts_ns"`
	Method  string `json:"method"`
	Host    string `json:"host"`
	Path    string `json:"path"`
	Query   string `json:"query_string"`
	Code    int64  `json:"status_code"`
	ReqHash string `json:"request_body_sha256"`
	ResHash string `json:"response_body_sha256"`
	Headers []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
		Kind  string `json:"kind"`
	} `json:"headers"`
}

// exchanges calls do for each HTTP call of a scope.
func (q *scope) exchanges(ctx context.Context, do func(*exchange) error) error {
	const most, maxFetch = 2000, 32 // calls read at a time, and calls whose bodies are read at a time
	last := exchangeRow{TsNs: -1 << 63}
	for {
		rest := q.with("(ts_ns > ? OR ts_ns = ? AND call_id > unhex(?))", last.TsNs, last.TsNs, last.CallID)
		rows, more, err := ask.Rows[exchangeRow](ctx, q.c, most, "SELECT "+terms.CallColumns(q.c)+`, ts_ns, method, host, path, query_string, status_code, headers, request_body_sha256, response_body_sha256
			FROM calls WHERE `+rest.where+` ORDER BY ts_ns, call_id`, rest.args...)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(rows, maxFetch) {
			page := make([]*exchange, len(some))
			for i := range some {
				page[i] = some[i].exchange()
			}
			if err := q.fetch(ctx, page); err != nil {
				return err
			}
			for _, x := range page {
				if err := do(x); err != nil {
					return err
				}
			}
		}
		if !more || len(rows) == 0 {
			return nil
		}
		last = rows[len(rows)-1]
	}
}

func (r *exchangeRow) exchange() *exchange {
	x := &exchange{call: r.Call, method: r.Method, status: int(r.Code), reqHash: r.ReqHash, resHash: r.ResHash, request: http.Header{}, response: http.Header{},
		url: &url.URL{Scheme: "http", Host: r.Host, Path: r.Path, RawQuery: strings.ReplaceAll(r.Query, ";", "%3B")}} // net/url drops a parameter with ";", which only "&" ends (WHATWG URL, 5.1)
	if u, err := url.PathUnescape(r.Path); err == nil {
		x.url.Path, x.url.RawPath = u, r.Path
	}
	for _, h := range r.Headers {
		switch h.Kind {
		case "request":
			x.request.Add(h.Name, h.Value)
		case "response":
			x.response.Add(h.Name, h.Value)
		}
	}
	return x
}

// body is a decoded body.
type body struct {
	text  []byte
	whole bool // text is complete
}

// fetch reads the bodies of some exchanges.
func (q *scope) fetch(ctx context.Context, list []*exchange) error {
	types := map[string]string{}
	for _, x := range list {
		types[x.reqHash], types[x.resHash] = x.request.Get("Content-Type"), x.response.Get("Content-Type")
	}
	delete(types, "")
	stored, err := q.c.Bodies(ctx, types, maxBody)
	if err != nil {
		return err
	}
	wanted := map[string]*body{}
	for hash := range types {
		wanted[hash] = &body{}
		if b := stored[hash]; b != nil {
			wanted[hash] = &body{b.Data, b.Complete && !b.Truncated}
		}
	}
	none := &body{whole: true}
	for _, x := range list {
		x.reqBody, x.resBody = wanted[x.reqHash], wanted[x.resHash]
		if x.reqHash == "" {
			x.reqBody = none
		}
		if x.resHash == "" {
			x.resBody = none
		}
	}
	return nil
}

// bodies checks JSON bodies against schemas. It checks equal bodies once.
func (s *Rules) bodies(ctx context.Context, q *scope, r *Rule, o *Outcome) error {
	for _, e := range []struct {
		side string
		doc  *Document
	}{{"request", r.RequestSchema}, {"response", r.ResponseSchema}} {
		if e.doc == nil {
			continue
		}
		schema, err := s.schema(e.doc)
		if err != nil {
			return err
		}
		seen := map[string]string{}
		err = q.exchanges(ctx, func(x *exchange) error {
			hash, b := x.reqHash, x.reqBody
			if e.side == "response" {
				hash, b = x.resHash, x.resBody
				if x.status == 0 {
					return nil // no response: other rules cover that
				}
			}
			what, known := seen[hash]
			if !known {
				what = invalid(schema, b.text, b.whole)
				if len(seen) < 100_000 {
					seen[hash] = what
				}
			}
			if what != "" {
				o.fail(&x.call, "a valid "+e.side+" body", "%s", what)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// invalid returns the reason why a body is not valid, or "" if it is.
func invalid(schema *jsonschema.Schema, text []byte, whole bool) string {
	if !whole {
		return "the body is incomplete or too long"
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return "no body"
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return "not JSON: " + err.Error()
	}
	var bad *jsonschema.ValidationError
	if err := schema.Validate(v); errors.As(err, &bad) {
		return strings.Join(reasons(bad, nil), "; ")
	} else if err != nil {
		return err.Error()
	}
	return ""
}

// reasons lists up to five of the innermost errors, with their places.
func reasons(e *jsonschema.ValidationError, out []string) []string {
	if len(e.Causes) == 0 && len(out) < 5 {
		text := e.Error()
		if _, rest, ok := strings.Cut(text, "\n- "); ok {
			text = rest
		}
		return append(out, text)
	}
	for _, c := range e.Causes {
		out = reasons(c, out)
	}
	return out
}

// schema compiles a JSON Schema. References can only reach files in the folder of the rules.
func (s *Rules) schema(d *Document) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(loader{s})
	name := "rules:///" + d.File
	if d.File == "" {
		name = "rules:///.inline"
		text, err := json.Marshal(d.Inline)
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
		if err := c.AddResource(name, v); err != nil {
			return nil, fmt.Errorf("schema: %w", err)
		}
	}
	out, err := c.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", d.File, err)
	}
	return out, nil
}

// loader reads schemas in the folder of the rules, as JSON or YAML.
type loader struct{ s *Rules }

// Load implements jsonschema.URLLoader.
func (l loader) Load(location string) (any, error) {
	name, ok := strings.CutPrefix(location, "rules:///")
	if !ok {
		return nil, fmt.Errorf("%s: schemas must be in the folder of the rules", location)
	}
	text, err := l.s.read(path.Clean(name))
	if err != nil {
		return nil, err
	}
	return documentOf(text)
}
