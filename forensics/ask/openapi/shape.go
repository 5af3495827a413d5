package openapi

import (
	"encoding/json"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a shape.
const (
	maxShapeDepth  = 24
	maxShapeFields = 300
)

// shape counts the types of the values at one place of a body. It stores no values.
type shape struct {
	seen                                             int64
	null, boolean, integer, number, text, list, objs int64
	uuid, dateTime, date                             int64 // texts in this format
	fields                                           map[string]*shape
	items                                            *shape
	values                                           *shape // values of fields whose names are data
	invalid                                          bool   // a body was not one JSON value
	partial                                          bool   // not all values were analyzed, so nothing is known to be required
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// addJSON adds one body. No schema describes bodies that are not one JSON value, such as a stream of
// events.
func (s *shape) addJSON(text string) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	if _, more := d.Token(); err != nil || more != io.EOF {
		s.invalid = true
		return
	}
	s.add(v, 0)
}

func (s *shape) add(v any, depth int) {
	s.seen++
	if depth > maxShapeDepth {
		return
	}
	switch v := v.(type) {
	case nil:
		s.null++
	case bool:
		s.boolean++
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			s.integer++
		} else {
			s.number++
		}
	case string:
		s.addString(v)
	case []any:
		s.list++
		if s.items == nil {
			s.items = &shape{}
		}
		for _, x := range v {
			s.items.add(x, depth+1)
		}
	case map[string]any:
		s.objs++
		if s.fields == nil {
			s.fields = map[string]*shape{}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			s.field(name).add(v[name], depth+1)
		}
	}
}

// field is the shape for a field's values. Fields whose names are data, and fields above the limit,
// share one shape.
func (s *shape) field(name string) *shape {
	f := s.fields[name]
	switch {
	case f != nil:
		return f
	case isData(name) || len(s.fields) >= maxShapeFields:
		if s.values == nil {
			s.values = &shape{}
		}
		return s.values
	}
	f = &shape{}
	s.fields[name] = f
	return f
}

func (s *shape) addString(v string) {
	s.text++
	if len(v) > 64 {
		return
	}
	if uuidForm.MatchString(v) {
		s.uuid++
	}
	if _, err := time.Parse(time.RFC3339, v); err == nil {
		s.dateTime++
	}
	if _, err := time.Parse(time.DateOnly, v); err == nil {
		s.date++
	}
}

// addText adds a value that is always text on the wire, such as a query parameter.
func (s *shape) addText(v string) {
	s.seen++
	if _, err := strconv.ParseInt(v, 10, 64); err == nil {
		s.integer++
	} else if _, err := strconv.ParseFloat(v, 64); err == nil && strings.Trim(v, "0123456789.eE+-") == "" {
		s.number++
	} else if v == "true" || v == "false" {
		s.boolean++
	} else {
		s.addString(v)
	}
}

// schema is the shape as a Schema Object of OpenAPI 3.0 (section 4.7.24). Several types become
// anyOf. A place with only null values is a nullable object, because null needs a type there.
func (s *shape) schema() *schemaObject { return s.object("", !s.partial) }

// object is the schema of the values of the field name, or of a body. required is false if no field
// may be marked as required.
func (s *shape) object(name string, required bool) *schemaObject {
	var kinds []*schemaObject
	if s.objs > 0 {
		o := &schemaObject{Type: "object", Properties: map[string]*schemaObject{}}
		fields, values := s.fields, s.values
		if s.keysAreData(name) {
			fields, values = nil, s.anyField()
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			o.Properties[name] = fields[name].object(name, required)
			if required && fields[name].seen == s.objs {
				o.Required = append(o.Required, name)
			}
		}
		if values != nil {
			o.Additional = values.object("", required)
		}
		kinds = append(kinds, o)
	}
	if s.list > 0 {
		kinds = append(kinds, &schemaObject{Type: "array", Items: s.items.object("", required)})
	}
	if s.text > 0 {
		o := &schemaObject{Type: "string"}
		switch s.text {
		case s.uuid:
			o.Format = "uuid"
		case s.dateTime:
			o.Format = "date-time"
		case s.date:
			o.Format = "date"
		}
		kinds = append(kinds, o)
	}
	switch {
	case s.number > 0:
		kinds = append(kinds, &schemaObject{Type: "number"})
	case s.integer > 0:
		kinds = append(kinds, &schemaObject{Type: "integer"})
	}
	if s.boolean > 0 {
		kinds = append(kinds, &schemaObject{Type: "boolean"})
	}
	if len(kinds) == 0 && s.null > 0 {
		kinds = []*schemaObject{{Type: "object"}}
	}
	for _, k := range kinds { // nullable adds null to a type, so it has no meaning without one
		k.Nullable = s.null > 0
	}
	switch len(kinds) {
	case 0:
		return &schemaObject{}
	case 1:
		return kinds[0]
	}
	return &schemaObject{AnyOf: kinds}
}

// schemaObject is the part of a Schema Object that is written.
type schemaObject struct {
	Type       string                   `yaml:"type,omitempty"`
	Format     string                   `yaml:"format,omitempty"`
	Nullable   bool                     `yaml:"nullable,omitempty"`
	Required   []string                 `yaml:"required,omitempty"`
	Properties map[string]*schemaObject `yaml:"properties,omitempty"`
	Additional *schemaObject            `yaml:"additionalProperties,omitempty"`
	Items      *schemaObject            `yaml:"items,omitempty"`
	AnyOf      []*schemaObject          `yaml:"anyOf,omitempty"`
}
