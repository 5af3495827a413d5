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
		Security   *[]requirement                   `yaml:"security,omitempty"`
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
		Security   *[]requirement          `yaml:"security,omitempty"` // empty: no authentication; nil: unknown
	}
	requirement  map[string][]string
	apiParameter struct {
		Name     string        `yaml:"name"`
		In       string        `yaml:"in"`
		Required bool          `yaml:"required,omitempty"`
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

// schemes maps kinds of credentials to security schemes.
var schemes = map[string]map[string]string{
	"bearer": {"type": "http", "scheme": "bearer"},
	"basic":  {"type": "http", "scheme": "basic"},
	"digest": {"type": "http", "scheme": "digest"},
}

func writeOpenAPI(service string, list []*operation) (string, error) {
	doc := apiDoc{OpenAPI: "3.0.3", Servers: []map[string]string{{"url": "/"}}, Paths: map[string]map[string]*apiMethod{},
		Info: apiInfo{Title: service, Version: "observed", Description: "Inferred from recorded calls. Operations without calls are missing; anything always present is marked as required."}}
	used := map[string]map[string]string{}
	ids := map[string]bool{}
	for _, op := range list {
		verb := strings.ToLower(op.Method)
		if !slices.Contains([]string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}, verb) || !strings.HasPrefix(op.Path, "/") {
			continue
		}
		if doc.Paths[op.Path] == nil {
			doc.Paths[op.Path] = map[string]*apiMethod{}
		}
		m := op.method(used)
		m.ID = operationID(verb, op.Path, ids)
		doc.Paths[op.Path][verb] = m
	}
	if len(used) > 0 {
		doc.Components = &apiComponents{used}
	} else {
		doc.Security = &[]requirement{}
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
			m.Parameters = append(m.Parameters, apiParameter{strings.Trim(part, "{}"), "path", true, op.parts[i].schema()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(op.query)) {
		p := op.query[name]
		m.Parameters = append(m.Parameters, apiParameter{name, "query", p.calls == op.Calls, plainSchema(&p.value)})
	}
	for _, name := range slices.Sorted(maps.Keys(op.headers)) {
		if !table.IsKeyHeader(name) { // key headers become security schemes
			m.Parameters = append(m.Parameters, apiParameter{name, "header", op.headers[name].calls == op.Calls, &schemaObject{Type: "string"}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(op.cookies)) {
		if op.auth["cookie"] == 0 || !isCredential(name) {
			m.Parameters = append(m.Parameters, apiParameter{name, "cookie", op.cookies[name].calls == op.Calls, &schemaObject{Type: "string"}})
		}
	}
	if len(op.request) > 0 {
		m.Body = &apiBody{Required: op.withBody == op.Calls, Content: media(op.request)}
	}
	for _, status := range op.Statuses {
		text := http.StatusText(int(status))
		if text == "" {
			text = "status " + strconv.FormatInt(status, 10)
		}
		m.Responses[strconv.FormatInt(status, 10)] = &apiResponse{text, media(op.response[status])}
	}
	if len(op.Statuses) == 0 {
		m.Responses["default"] = &apiResponse{"no response was recorded", nil}
	}
	m.Security = op.security(used)
	return m
}

// security returns the authentication of the successful calls, and adds each scheme to used. It is
// nil if no call succeeded, or if OpenAPI has no scheme for the credentials.
func (op *operation) security(used map[string]map[string]string) *[]requirement {
	var list []requirement
	add := func(id string, scheme map[string]string) {
		used[id] = scheme
		list = append(list, requirement{id: {}})
	}
	for _, kind := range slices.Sorted(maps.Keys(op.auth)) {
		switch scheme, ok := schemes[kind]; {
		case ok:
			add(kind, scheme)
		case kind == "apikey":
			for _, name := range op.keyHeaders() {
				add(schemeID("apikey-"+name), map[string]string{"type": "apiKey", "in": "header", "name": name})
			}
		case kind == "cookie":
			for _, name := range slices.Sorted(maps.Keys(op.cookies)) {
				if isCredential(name) {
					add(schemeID("cookie-"+name), map[string]string{"type": "apiKey", "in": "cookie", "name": name})
				}
			}
		}
	}
	open := op.auth[""] > 0
	switch {
	case open && len(op.auth) == 1:
		list = []requirement{}
	case len(list) == 0:
		return nil
	case open:
		list = append(list, requirement{}) // also without credentials
	}
	return &list
}

// keyHeaders returns the headers that carried API keys; Authorization if there are no others.
func (op *operation) keyHeaders() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(op.headers)) {
		if table.IsKeyHeader(name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return []string{"authorization"}
	}
	return names
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

// plainSchema is the schema of a text. It is a number only if all values were numbers.
func plainSchema(s *shape) *schemaObject {
	kinds := 0
	for _, n := range []int64{s.integer + s.number, s.boolean, s.text} {
		if n > 0 {
			kinds++
		}
	}
	if kinds != 1 {
		return &schemaObject{Type: "string"}
	}
	return s.schema()
}

func media(shapes map[string]*shape) map[string]*apiMedia {
	out := map[string]*apiMedia{}
	for _, kind := range slices.Sorted(maps.Keys(shapes)) {
		m := &apiMedia{}
		if s := shapes[kind]; s.seen > 0 && strings.HasSuffix(kind, "json") {
			m.Schema = s.schema()
		}
		if strings.Contains(kind, "/") {
			out[kind] = m
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
