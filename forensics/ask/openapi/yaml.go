package openapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// The parts of OpenAPI 3.0.3 (https://spec.openapis.org/oas/v3.0.3) that are written.
type (
	apiDoc struct {
		OpenAPI    string                           `yaml:"openapi"`
		Info       apiInfo                          `yaml:"info"`
		Servers    []map[string]string              `yaml:"servers"`
		Security   []requirement                    `yaml:"security"`
		Paths      map[string]map[string]*apiMethod `yaml:"paths"`
		Components *apiComponents                   `yaml:"components,omitempty"`
	}
	apiInfo struct {
		Title       string `yaml:"title"`
		Version     string `yaml:"version"`
		Description string `yaml:"description"`
	}
	apiMethod struct {
		ID         string                  `yaml:"operationId"`
		Summary    string                  `yaml:"summary"`
		Parameters []apiParameter          `yaml:"parameters,omitempty"`
		Body       *apiBody                `yaml:"requestBody,omitempty"`
		Responses  map[string]*apiResponse `yaml:"responses"`
		Security   *[]requirement          `yaml:"security,omitempty"` // empty: no authentication; nil: unknown, so that of the document
	}
	requirement  map[string][]string
	apiParameter struct {
		Name     string        `yaml:"name"`
		In       string        `yaml:"in"`
		Required bool          `yaml:"required,omitempty"`
		Empty    bool          `yaml:"allowEmptyValue,omitempty"` // queries only
		Schema   *schemaObject `yaml:"schema"`
	}
	apiBody struct {
		Required bool                 `yaml:"required,omitempty"`
		Content  map[string]*apiMedia `yaml:"content"`
	}
	apiMedia struct {
		Schema *schemaObject `yaml:"schema,omitempty"`
	}
	apiResponse struct {
		Description string               `yaml:"description"`
		Content     map[string]*apiMedia `yaml:"content,omitempty"`
	}
	apiComponents struct {
		Security map[string]map[string]string `yaml:"securitySchemes"`
	}
)

// registered are the kinds of credentials that are schemes of the registry for Authorization
// (RFC 9110 section 16.4.1).
var registered = []string{"basic", "bearer", "concealed", "digest", "dpop", "gnap", "hoba", "mutual", "negotiate", "oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "vapid"}

// expressible reports whether OpenAPI can describe the operation: a path item has no field for other methods.
func (op *operation) expressible() bool {
	return slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"}, op.Method) && strings.HasPrefix(op.Path, "/")
}

func writeOpenAPI(service string, list []*operation) (string, error) {
	doc := apiDoc{OpenAPI: "3.0.3", Servers: []map[string]string{{"url": "/"}}, Paths: map[string]map[string]*apiMethod{},
		Info: apiInfo{Title: service, Version: "observed", Description: "Inferred from recorded calls. Operations without calls are missing; anything always present is marked as required."}}
	used := map[string]map[string]string{}
	ids := map[string]bool{}
	for _, op := range list {
		verb := strings.ToLower(op.Method)
		if doc.Paths[op.Path] == nil {
			doc.Paths[op.Path] = map[string]*apiMethod{}
		}
		m := op.method(used)
		m.ID = operationID(verb, op.Path, ids)
		doc.Paths[op.Path][verb] = m
	}
	// An operation without a successful call shows no scheme. It may need any of them, or none.
	doc.Security = []requirement{}
	if len(used) > 0 {
		doc.Components = &apiComponents{used}
		for _, id := range slices.Sorted(maps.Keys(used)) {
			doc.Security = append(doc.Security, requirement{id: {}})
		}
		doc.Security = append(doc.Security, requirement{})
	}
	text, err := yaml.Dump(doc, yaml.WithIndent(2))
	return string(text), err
}

// operationID names an operation by its method and the words of its path. It adds a number if ids
// already has the name.
func operationID(verb, path string, ids map[string]bool) string {
	base := verb
	for _, w := range strings.FieldsFunc(path, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		base += strings.ToUpper(w[:1]) + w[1:]
	}
	id := base
	for n := 2; ids[id]; n++ {
		id = base + "_" + strconv.Itoa(n)
	}
	ids[id] = true
	return id
}

func (op *operation) method(used map[string]map[string]string) *apiMethod {
	m := &apiMethod{Summary: plural.Count(op.Calls, "call", "calls") + " seen", Responses: map[string]*apiResponse{}}
	for i, part := range strings.Split(op.Path, "/") {
		if strings.HasPrefix(part, "{") {
			m.Parameters = append(m.Parameters, apiParameter{Name: strings.Trim(part, "{}"), In: "path", Required: true, Schema: op.parts[i].schema()})
		}
	}
	m.Security = op.security(used)
	m.parameters(op, "query", op.query)
	m.parameters(op, "header", op.headers)
	m.parameters(op, "cookie", op.cookies)
	if len(op.request) > 0 {
		m.Body = &apiBody{Required: op.withBody == op.Calls, Content: media(op.request)}
	}
	for _, status := range op.Statuses {
		if status < 100 || status > 599 { // OpenAPI has no place for it
			m.Responses["default"] = &apiResponse{"another status", nil}
			continue
		}
		text := http.StatusText(int(status))
		if text == "" {
			text = "status " + strconv.FormatInt(status, 10)
		}
		m.Responses[strconv.FormatInt(status, 10)] = &apiResponse{text, media(op.response[status])}
	}
	if len(op.Statuses) == 0 {
		m.Responses["default"] = &apiResponse{"no response was recorded", nil}
	}
	return m
}

// parameters adds the parameters at a place, in the order of their names, except those that the
// operation's security schemes describe.
func (m *apiMethod) parameters(op *operation, in string, list map[string]*parameter) {
	scheme := func(name string) bool {
		return m.Security != nil && slices.ContainsFunc(*m.Security, func(r requirement) bool {
			_, ok := r[keyID(in, name)]
			return ok
		})
	}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if scheme(name) {
			continue
		}
		p := list[name]
		m.Parameters = append(m.Parameters, apiParameter{name, in, p.calls == op.Calls, p.empty, p.schema()})
	}
}

// security returns the authentication of the successful calls, and adds each scheme to used. It is
// nil if no call succeeded, or if nobody knows what carried the credentials.
func (op *operation) security(used map[string]map[string]string) *[]requirement {
	var list []requirement
	add := func(id string, scheme map[string]string) {
		used[id] = scheme
		list = append(list, requirement{id: {}})
	}
	// keys adds the parameters of a place that are keys, and returns how many calls had one at least.
	keys := func(in string, have map[string]*parameter, is func(string) bool) (calls int64) {
		for _, name := range slices.Sorted(maps.Keys(have)) {
			if is(name) {
				add(keyID(in, name), map[string]string{"type": "apiKey", "in": in, "name": name})
				calls = max(calls, have[name].calls)
			}
		}
		return calls
	}
	open := op.auth[""] > 0
	for _, kind := range slices.Sorted(maps.Keys(op.auth)) {
		switch {
		case kind == "":
			open = keys("query", op.query, isKeyParameter) < op.Calls
		case kind == "cookie":
			keys("cookie", op.cookies, isCredential)
		case slices.Contains(registered, kind):
			add(kind, map[string]string{"type": "http", "scheme": kind})
		case kind != "apikey" || keys("header", op.headers, table.IsKeyHeader) == 0:
			add("authorization", map[string]string{"type": "apiKey", "in": "header", "name": "Authorization"})
		}
	}
	switch {
	case open && len(list) == 0:
		list = []requirement{}
	case len(list) == 0:
		return nil
	case open:
		list = append(list, requirement{}) // also without credentials
	}
	return &list
}

// keyID names the security scheme for a key.
func keyID(in, name string) string {
	if in == "header" {
		in = "apikey"
	}
	return schemeID(in + "-" + name)
}

// schemeID converts a name to a key of Components (section 4.7.7).
func schemeID(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
}

// schema is the schema of a parameter, whose values are texts. It is a number only if all values
// were numbers.
func (p *parameter) schema() *schemaObject {
	kinds := 0
	for _, n := range []int64{p.value.integer + p.value.number, p.value.boolean, p.value.text} {
		if n > 0 {
			kinds++
		}
	}
	one := &schemaObject{Type: "string"}
	if kinds == 1 {
		one = p.value.schema()
	}
	if p.repeated {
		return &schemaObject{Type: "array", Items: one}
	}
	return one
}

func media(shapes map[string]*shape) map[string]*apiMedia {
	out := map[string]*apiMedia{}
	for _, kind := range slices.Sorted(maps.Keys(shapes)) {
		m := &apiMedia{}
		if s := shapes[kind]; s.seen > 0 && !s.invalid && strings.HasSuffix(kind, "json") {
			m.Schema = s.schema()
		}
		out[kind] = m
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
