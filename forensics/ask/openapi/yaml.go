package openapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// OpenAPI 3.0.3 (https://spec.openapis.org/oas/v3.0.3), as far as it is written.
type (
	apiDoc struct {
		OpenAPI    string                           `yaml:"openapi"`
		Info       apiInfo                          `yaml:"info"`
		Paths      map[string]map[string]*apiMethod `yaml:"paths"`
		Components *apiComponents                   `yaml:"components,omitempty"`
	}
	apiInfo struct {
		Title       string `yaml:"title"`
		Version     string `yaml:"version"`
		Description string `yaml:"description"`
	}
	apiMethod struct {
		Summary    string                  `yaml:"summary"`
		Parameters []apiParameter          `yaml:"parameters,omitempty"`
		Body       *apiBody                `yaml:"requestBody,omitempty"`
		Responses  map[string]*apiResponse `yaml:"responses"`
		Security   []map[string][]string   `yaml:"security,omitempty"`
	}
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

// schemes are kinds of credentials as security schemes.
var schemes = map[string]map[string]string{
	"bearer": {"type": "http", "scheme": "bearer"},
	"basic":  {"type": "http", "scheme": "basic"},
	"digest": {"type": "http", "scheme": "digest"},
	"cookie": {"type": "apiKey", "in": "cookie", "name": "session"},
}

func writeOpenAPI(service string, list []Operation, ops map[string]*operation) (string, error) {
	doc := apiDoc{OpenAPI: "3.0.3", Paths: map[string]map[string]*apiMethod{},
		Info: apiInfo{Title: service, Version: "observed", Description: "Inferred from recorded calls. What nobody called is not here; what was always present is required."}}
	used := map[string]map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(ops)) {
		op := ops[k]
		verb := strings.ToLower(op.Method)
		if !slices.Contains([]string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}, verb) || !strings.HasPrefix(op.Path, "/") {
			continue
		}
		if doc.Paths[op.Path] == nil {
			doc.Paths[op.Path] = map[string]*apiMethod{}
		}
		doc.Paths[op.Path][verb] = op.method(used)
	}
	if len(used) > 0 {
		doc.Components = &apiComponents{used}
	}
	text, err := yaml.Dump(doc, yaml.WithIndent(2))
	return string(text), err
}

func (op *operation) method(used map[string]map[string]string) *apiMethod {
	m := &apiMethod{Summary: strconv.FormatInt(op.Calls, 10) + " calls seen", Responses: map[string]*apiResponse{}}
	good := int64(0) // calls that the parameters were taken from
	for _, n := range op.auth {
		good += n
	}
	for part := range strings.SplitSeq(op.Path, "/") {
		if strings.HasPrefix(part, "{") {
			m.Parameters = append(m.Parameters, apiParameter{strings.Trim(part, "{}"), "path", true, &schemaObject{Type: "string"}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(op.query)) {
		p := op.query[name]
		m.Parameters = append(m.Parameters, apiParameter{name, "query", p.calls == good, plainSchema(&p.value)})
	}
	for _, name := range slices.Sorted(maps.Keys(op.headers)) {
		m.Parameters = append(m.Parameters, apiParameter{name, "header", op.headers[name].calls == good, &schemaObject{Type: "string"}})
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
	for _, kind := range slices.Sorted(maps.Keys(op.auth)) {
		if scheme, ok := schemes[kind]; ok {
			used[kind] = scheme
			m.Security = append(m.Security, map[string][]string{kind: {}})
		}
	}
	if len(m.Security) > 0 && op.auth[""] > 0 {
		m.Security = append(m.Security, map[string][]string{}) // also without
	}
	return m
}

// plainSchema is the schema of a text that is a number only where it always was.
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
