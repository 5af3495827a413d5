package mcp

import "github.com/google/jsonschema-go/jsonschema"

// slim is an output schema without what costs an assistant room and tells it little: the
// words and obligations of what lies deeper than an answer's members, and the inside of
// coverage, which is the same in every answer.
func slim(s *jsonschema.Schema) *jsonschema.Schema {
	c := s.CloneSchemas()
	c.AdditionalProperties = nil
	if p := c.Properties["coverage"]; p != nil {
		c.Properties["coverage"] = &jsonschema.Schema{Type: "object", Required: []string{"state"},
			Description: "how much of the asked time was recorded. state: complete; partial: see holes, the coverage gaps (source, reason, from, to, packets lost); none: an empty answer says nothing"}
	}
	for _, p := range c.Properties {
		bare(p, 0)
	}
	return c
}

// maxSchema is how deep below a member a schema tells, counting lists: the rows of its
// lists and their members.
const maxSchema = 2

// bare takes words and obligations from all below a member of an answer.
func bare(s *jsonschema.Schema, depth int) {
	if s == nil {
		return
	}
	s.AdditionalProperties = open(s.AdditionalProperties, depth)
	if depth > 0 {
		s.Description, s.Required = "", nil
	}
	if depth >= maxSchema { // rows of rows: their kind only
		s.Properties, s.PropertyOrder, s.Items = nil, nil, nil
		return
	}
	bare(s.Items, depth+1)
	for _, p := range s.Properties {
		bare(p, depth+1)
	}
}

// open is what a schema says of other members: nothing, where it allows none.
func open(s *jsonschema.Schema, depth int) *jsonschema.Schema {
	if s == nil || s.Not != nil {
		return nil
	}
	bare(s, depth+1)
	return s
}
