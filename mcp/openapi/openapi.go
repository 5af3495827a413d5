// Package openapi writes the OpenAPI description of an HTTP interface from the declarations of
// its operations.
//
// It describes parameters, bodies and answers with the JSON Schemas that the server derives from
// its Go types and validates requests with, so the description always matches the server.
package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"
)

// Operation is one method of one path.
type Operation struct {
	Method, Path string
	Summary      string
	Description  string
	Parameters   []Parameter
	Body         *jsonschema.Schema // request body as JSON; nil: none
	Answer       *jsonschema.Schema // answer as JSON; nil: another media type
	Media        string             // media type of an answer without a schema
}

// Parameter is a part of the path or of the query.
type Parameter struct {
	Name        string             `json:"name"`
	In          string             `json:"in"` // path or query
	Required    bool               `json:"required,omitempty"`
	Description string             `json:"description,omitempty"`
	Schema      *jsonschema.Schema `json:"schema"`
}

// Failure is an error status that any operation may return.
type Failure struct {
	Status      int
	Description string
	Body        *jsonschema.Schema // nil: not described
}

// API is an HTTP interface.
type API struct {
	Title, Version, Description string
	Operations                  []Operation
	Failures                    []Failure
	Shared                      map[string]*jsonschema.Schema // by name: written once, and referenced by properties with an equal schema
}

// The parts of OpenAPI 3.1.0 (https://spec.openapis.org/oas/v3.1.0) that are used. Schemas are
// JSON Schema 2020-12.
type (
	object     = map[string]any
	operation1 struct {
		ID          string         `json:"operationId"`
		Summary     string         `json:"summary"`
		Description string         `json:"description,omitempty"`
		Parameters  []Parameter    `json:"parameters,omitempty"`
		Body        object         `json:"requestBody,omitempty"`
		Responses   map[string]any `json:"responses"`
	}
)

// YAML writes the description.
func (a API) YAML() ([]byte, error) {
	responses, refs := object{}, object{}
	for _, f := range a.Failures {
		r := object{"description": f.Description}
		if f.Body != nil {
			r["content"] = content("application/json", f.Body)
		}
		name := strings.ReplaceAll(http.StatusText(f.Status), " ", "")
		responses[name], refs[strconv.Itoa(f.Status)] = r, object{"$ref": "#/components/responses/" + name}
	}
	paths := map[string]object{}
	for _, op := range a.Operations {
		if paths[op.Path] == nil {
			paths[op.Path] = object{}
		}
		paths[op.Path][strings.ToLower(op.Method)] = a.operation(op, refs)
	}
	schemas := object{}
	for name, s := range a.Shared {
		schemas[name] = s
	}
	text, err := json.Marshal(object{
		"openapi":  "3.1.0",
		"info":     object{"title": a.Title, "version": a.Version, "description": a.Description, "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers":  []object{{"url": "/"}},
		"security": []object{{}, {"bearer": []string{}}}, // tokens are required only if the server has any
		"paths":    paths,
		"components": object{"schemas": schemas, "responses": responses,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer"}}},
	})
	if err != nil {
		return nil, fmt.Errorf("describing the interface: %w", err)
	}
	var v any
	if err := yaml.Load(text, &v); err != nil { // JSON is valid YAML, and integers stay integers
		return nil, fmt.Errorf("describing the interface: %w", err)
	}
	return yaml.Dump(v, yaml.WithIndent(2))
}

func (a API) operation(op Operation, failures object) operation1 {
	out := operation1{ID: operationID(op), Summary: op.Summary, Description: op.Description, Parameters: op.Parameters, Responses: object{}}
	if op.Body != nil {
		out.Body = object{"required": len(op.Body.Required) > 0, "content": content("application/json", a.share(op.Body))}
	}
	answer := object{"description": "the answer"}
	if op.Answer != nil {
		answer["content"] = content("application/json", a.share(op.Answer))
	} else {
		answer["content"] = object{op.Media: object{}}
	}
	for status, r := range failures {
		out.Responses[status] = r
	}
	out.Responses["200"] = answer
	return out
}

func content(media string, s *jsonschema.Schema) object { return object{media: object{"schema": s}} }

// share replaces properties that have a shared schema by references.
func (a API) share(s *jsonschema.Schema) *jsonschema.Schema {
	if s.Properties == nil {
		return s
	}
	s = s.CloneSchemas()
	for property, p := range s.Properties {
		for name, shared := range a.Shared {
			same := *shared
			same.Description = p.Description
			if reflect.DeepEqual(p, &same) {
				s.Properties[property] = &jsonschema.Schema{Ref: "#/components/schemas/" + name, Description: p.Description}
			}
		}
	}
	return s
}

// operationID names an operation after its method and path.
func operationID(op Operation) string {
	id := strings.ToLower(op.Method)
	for _, w := range strings.FieldsFunc(op.Path, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		id += strings.ToUpper(w[:1]) + w[1:]
	}
	return id
}
