package mcp

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
)

// MaxList is how many bytes of JSON the list of all tools may have: an assistant reads it before
// it asks anything.
const MaxList = 40_000

// listed is a tool as tools/list has it, which is short, because an assistant reads all of them:
// the server's instructions explain once the arguments that many tools take, and describe_schema
// describes the members of an answer.
func (e *entry) listed() *mcp.Tool {
	t := &mcp.Tool{Name: e.name, Title: e.title, Description: e.doc, InputSchema: shortIn(e.in), Annotations: &mcp.ToolAnnotations{ReadOnlyHint: !e.writes, OpenWorldHint: &e.world}}
	if e.writes { // of a tool that only reads these hints mean nothing
		t.Annotations.IdempotentHint, t.Annotations.DestructiveHint = e.again, &e.destroys
	}
	return t
}

// shared are the descriptions in tools/list of arguments that many tools take. The instructions
// explain those with an empty one.
var shared = map[string]string{
	"from": "RFC 3339, or 15m before the end", "to": "", "kfl": "KFL filter", "limit": "rows per list", "cursor": "",
	"max_bytes": "", "db": "",
}

// shortIn is the schema of a tool's arguments without what the instructions say.
func shortIn(s *jsonschema.Schema) *jsonschema.Schema {
	c := s.CloneSchemas()
	for name, p := range c.Properties {
		if doc, ok := shared[name]; ok {
			p.Description, p.Minimum, p.Maximum = doc, nil, nil
		}
		notNull(p)
	}
	return c
}

// notNull makes a list or object of one that may be null too: nobody has to send null.
func notNull(s *jsonschema.Schema) {
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
}

// members are the columns of a table that describes an answer: each member by its path, with []
// after a list.
func members(path string, s *jsonschema.Schema) (out []forensics.TableColumn) {
	for _, name := range slices.Concat(s.PropertyOrder, unordered(s)) {
		p, at := s.Properties[name], strings.TrimPrefix(path+"."+name, ".")
		kind := p.Type
		if kind == "" {
			kind = strings.Join(p.Types, " or ")
		}
		out = append(out, forensics.TableColumn{Name: at, Type: kind, Doc: p.Description})
		for p.Items != nil {
			p, at = p.Items, at+"[]"
		}
		out = append(out, members(at, p)...)
	}
	return out
}

// unordered are the properties of a schema that its order does not name, by name.
func unordered(s *jsonschema.Schema) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !slices.Contains(s.PropertyOrder, name) {
			out = append(out, name)
		}
	}
	return out
}
