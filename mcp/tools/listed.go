package tools

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
)

// MaxList is the size limit of tools/list in bytes of JSON: an assistant reads the whole list
// before its first question.
const MaxList = 43_000

// Listed returns the short form of a tool for tools/list. The server's instructions explain
// shared arguments once, and describe_schema describes the members of an answer.
func (e *Entry) Listed() *mcp.Tool {
	t := &mcp.Tool{Name: e.Name, Title: e.title, Description: e.doc, InputSchema: shortIn(e.In), Annotations: &mcp.ToolAnnotations{ReadOnlyHint: !e.writes, OpenWorldHint: &e.world}}
	if e.writes { // these hints mean nothing for a tool that only reads
		t.Annotations.IdempotentHint, t.Annotations.DestructiveHint = e.again, &e.destroys
	}
	return t
}

// Shared returns the descriptions in tools/list of arguments that many tools have. The server's
// instructions must explain all of them.
func Shared() map[string]string { return maps.Clone(shared) }

var shared = map[string]string{
	"from": "time, or 15m before the end", "to": "", "kfl": "KFL filter", "limit": "", "cursor": "",
	"max_bytes": "", "db": "",
}

// shortIn returns the schema of a tool's arguments without the parts that the instructions explain.
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

// notNull removes null from the types of a list or object, because clients omit the member instead.
func notNull(s *jsonschema.Schema) {
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
}

// members describes an answer as the columns of a table: each member by its path, with [] after
// a list.
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

// unordered returns the properties that are missing from a schema's order, sorted by name.
func unordered(s *jsonschema.Schema) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !slices.Contains(s.PropertyOrder, name) {
			out = append(out, name)
		}
	}
	return out
}
