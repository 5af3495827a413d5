// Package templates reads report templates: YAML that lists the sections of a report, their order
// and their parameters. The built-in templates have the same form as a user's.
//
// Reading is strict. An unknown key, section or question and a value of the wrong type are errors
// with their line and column and the nearest name.
package templates

import (
	"embed"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/internal/yamltext"
	"github.com/pcapsule/pcapsule/kfl/nearest"
	"github.com/pcapsule/pcapsule/report/value"
)

//go:embed *.yaml
var files embed.FS

// names are the templates that come with the program, in the order in which help lists them.
var names = []string{"overview", "incident", "security", "access", "accesses", "card-accesses", "egress", "pii", "tls", "vendor", "architecture", "performance"}

// Glance is the id of the section that every report with calls begins with.
const Glance = "at-a-glance"

// Limits of a template.
const (
	maxBytes    = 256 << 10
	maxSections = 100
	maxDepth    = 8 // of the input of a question
)

// Template is the plan of a report.
type Template struct {
	Name     string // of the built-in template, or of the file
	Text     string // as read
	Title    string
	About    string
	Focus    string // what the first page answers: failures, findings or traffic
	Sections []Section
}

// Builtin reports whether the template is one of the program, whatever its name.
func (t *Template) Builtin() bool {
	return slices.ContainsFunc(names, func(name string) bool {
		text, err := files.ReadFile(name + ".yaml")
		return err == nil && string(text) == t.Text
	})
}

// Section is one section with its parameters. Which ones a kind of section reads is in Kinds.
type Section struct {
	Kind       string
	ID         string
	Title      string
	Text       []string       // paragraphs
	KFL        string         // filter, in addition to that of the report
	Limit      int            // rows of each table; 0: the section's own
	Ask        string         // question
	In         map[string]any // its input
	List       string         // list of its answer
	Every      bool           // all pages of the list, however many
	Columns    []string       // fields of the rows, each as "field" or "field as Title"
	Empty      string         // what an empty list means
	Analyzers  []string       // only these
	Frameworks []string       // only these
	Bars       string         // field that is drawn as a bar
	Sign       []string       // lines to be filled in by hand
}

// Kinds has the parameters that each kind of section reads, in addition to section, id and title.
type Kinds map[string][]string

// Known lists the names that a template may use.
type Known struct {
	Kinds      Kinds
	Questions  map[string]Question
	Analyzers  []string
	Frameworks []string // of controls
}

// Question is a question with the fields of its input, and the lists of its answer with their fields.
type Question struct {
	In    []string
	Lists map[string][]string
	Keyed string // list that has pages; empty if none has
}

// Error is a mistake in a template.
type Error struct {
	File         string
	Line, Column int
	What         string
}

// Error names the place and the mistake.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.What)
}

// Names lists the built-in templates.
func Names() []string { return slices.Clone(names) }

// Builtin returns the text of a built-in template. For another name it returns an error with the
// nearest one.
func Builtin(name string) ([]byte, error) {
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("unknown template %q%s: use one of %s, or a file that ends in .yaml", name, hint(name, names), strings.Join(names, ", "))
	}
	return files.ReadFile(name + ".yaml")
}

// Parse reads a template. name is its name in errors.
func Parse(name string, text []byte, known Known) (*Template, error) {
	p := &parser{file: name, known: known}
	t := &Template{Name: name, Text: string(text), Focus: "findings"}
	if len(text) > maxBytes {
		return nil, &Error{name, 1, 1, fmt.Sprintf("%d bytes are too many; at most %d are allowed", len(text), maxBytes)}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, syntaxError(name, err)
	}
	if len(root.Content) != 1 {
		return nil, &Error{name, 1, 1, "the file is empty; a template has title and sections"}
	}
	p.mapping(root.Content[0], []string{"title", "about", "focus", "sections"}, func(key string, n *yaml.Node) {
		switch key {
		case "title":
			t.Title = p.text(n)
		case "about":
			t.About = p.text(n)
		case "focus":
			t.Focus = p.oneOf(n, "focus", []string{"failures", "findings", "traffic"})
		case "sections":
			p.list(n, func(n *yaml.Node) { t.Sections = append(t.Sections, p.section(n)) })
		}
	})
	switch {
	case p.err != nil:
		return nil, p.err
	case t.Title == "":
		return nil, &Error{name, 1, 1, "title is missing"}
	case len(t.Sections) == 0 || len(t.Sections) > maxSections:
		return nil, &Error{name, 1, 1, fmt.Sprintf("%d sections, must be 1 to %d", len(t.Sections), maxSections)}
	}
	seen := map[string]bool{Glance: true, value.Cited: true}
	for _, s := range t.Sections {
		if seen[s.ID] {
			return nil, &Error{name, 1, 1, fmt.Sprintf("two sections have the id %q; give one of them another id", s.ID)}
		}
		seen[s.ID] = true
	}
	return t, nil
}

var place = regexp.MustCompile(`line (\d+)(?:[,:]? ?column (\d+))?`)

// syntaxError gives an error of the YAML library its place.
func syntaxError(name string, err error) error {
	e := &Error{name, 1, 1, regexp.MustCompile(`^(yaml: |line [0-9]+: )`).ReplaceAllString(yamltext.Error(err).Error(), "")}
	if m := place.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1]) // digits
		if m[2] != "" {
			e.Column, _ = strconv.Atoi(m[2])
		}
	}
	return e
}

// parser keeps the first mistake.
type parser struct {
	file  string
	known Known
	err   error
}

func (p *parser) wrong(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{p.file, n.Line, n.Column, fmt.Sprintf(format, args...)}
	}
}

// mapping calls do for each key of a mapping, all of which must be allowed.
func (p *parser) mapping(n *yaml.Node, allowed []string, do func(key string, n *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.wrong(n, "must be keys with values, such as title: Incident")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && p.err == nil; i += 2 {
		key := n.Content[i]
		switch {
		case seen[key.Value]:
			p.wrong(key, "key %q twice", key.Value)
		case allowed != nil && !slices.Contains(allowed, key.Value):
			p.wrong(key, "unknown key %q%s: use %s", key.Value, hint(key.Value, allowed), strings.Join(allowed, ", "))
		default:
			seen[key.Value] = true
			do(key.Value, n.Content[i+1])
		}
	}
}

func (p *parser) list(n *yaml.Node, do func(n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		p.wrong(n, "must be a list")
		return
	}
	for _, item := range n.Content {
		do(item)
	}
}

func (p *parser) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.wrong(n, "must be text")
		return ""
	}
	return strings.TrimSpace(n.Value)
}

func (p *parser) texts(n *yaml.Node) (out []string) {
	p.list(n, func(n *yaml.Node) { out = append(out, p.text(n)) })
	return out
}

func (p *parser) oneOf(n *yaml.Node, what string, allowed []string) string {
	s := p.text(n)
	if p.err == nil && !slices.Contains(allowed, s) {
		p.wrong(n, "unknown %s %q%s: use %s", what, s, hint(s, allowed), strings.Join(allowed, ", "))
	}
	return s
}

// common are the keys of every section.
var common = []string{"section", "id", "title"}

var identifier = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

func (p *parser) section(n *yaml.Node) (s Section) {
	if n.Kind == yaml.ScalarNode { // a section without parameters is its name
		s.Kind = p.oneOf(n, "section", slices.Sorted(maps.Keys(p.known.Kinds)))
		s.ID = s.Kind
		return s
	}
	if n.Kind != yaml.MappingNode {
		p.wrong(n, "must be the name of a section, or section: NAME with its parameters")
		return s
	}
	for _, first := range []string{"section", "ask", "list"} { // other keys depend on these
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch key, v := n.Content[i].Value, n.Content[i+1]; {
			case key != first:
			case key == "section":
				s.Kind = p.oneOf(v, "section", slices.Sorted(maps.Keys(p.known.Kinds)))
			case slices.Contains(p.known.Kinds[s.Kind], key):
				p.parameter(&s, key, v)
			}
		}
	}
	if s.Kind == "" {
		p.wrong(n, "section is missing: use one of %s", strings.Join(slices.Sorted(maps.Keys(p.known.Kinds)), ", "))
		return s
	}
	s.ID = s.Kind
	p.mapping(n, slices.Concat(common, p.known.Kinds[s.Kind]), func(key string, n *yaml.Node) { p.parameter(&s, key, n) })
	if slices.Contains(p.known.Kinds[s.Kind], "ask") {
		p.complete(n, &s)
	}
	return s
}

// complete checks the required keys of a section with a question.
func (p *parser) complete(n *yaml.Node, s *Section) {
	fields := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		fields[i], _, _ = strings.Cut(c, " as ")
	}
	switch {
	case s.Ask == "":
		p.wrong(n, "ask is missing: use one of %s", strings.Join(slices.Sorted(maps.Keys(p.known.Questions)), ", "))
	case s.List == "":
		p.wrong(n, "list is missing: use one of %s", strings.Join(slices.Sorted(maps.Keys(p.known.Questions[s.Ask].Lists)), ", "))
	case len(s.Columns) == 0:
		p.wrong(n, "columns are missing: use some of %s", strings.Join(p.known.Questions[s.Ask].Lists[s.List], ", "))
	case s.Every && s.List != p.known.Questions[s.Ask].Keyed:
		p.wrong(n, "every: list %q of %s has no pages; only lists such as calls of audit_access have", s.List, s.Ask)
	case s.Every && s.Limit != 0:
		p.wrong(n, "every and limit exclude each other")
	case s.Bars != "" && !slices.Contains(fields, s.Bars):
		p.wrong(n, "bars %q%s is not a field in columns", s.Bars, hint(s.Bars, fields))
	}
}

// parameter reads one parameter of a section.
func (p *parser) parameter(s *Section, key string, n *yaml.Node) {
	switch key {
	case "id":
		if s.ID = p.text(n); !identifier.MatchString(s.ID) {
			p.wrong(n, "id %q: must be lower-case letters, digits and dashes", s.ID)
		}
	case "title":
		s.Title = p.text(n)
	case "text":
		s.Text = p.texts(n)
	case "sign":
		s.Sign = p.texts(n)
	case "kfl":
		s.KFL = p.text(n)
	case "empty":
		s.Empty = p.text(n)
	case "limit":
		var err error
		if s.Limit, err = strconv.Atoi(p.text(n)); err != nil || s.Limit < 1 || s.Limit > 1000 {
			p.wrong(n, "limit %q: must be a number from 1 to 1000", n.Value)
		}
	case "analyzers":
		p.list(n, func(n *yaml.Node) { s.Analyzers = append(s.Analyzers, p.oneOf(n, "analyzer", p.known.Analyzers)) })
	case "frameworks":
		p.list(n, func(n *yaml.Node) { s.Frameworks = append(s.Frameworks, p.oneOf(n, "framework", p.known.Frameworks)) })
	case "ask":
		s.Ask = p.oneOf(n, "question", slices.Sorted(maps.Keys(p.known.Questions)))
	case "in":
		s.In = map[string]any{}
		p.mapping(n, p.known.Questions[s.Ask].In, func(key string, n *yaml.Node) { s.In[key] = p.any(n, 0) })
	case "list":
		s.List = p.oneOf(n, "list", slices.Sorted(maps.Keys(p.known.Questions[s.Ask].Lists)))
	case "columns":
		p.list(n, func(n *yaml.Node) {
			field, _, _ := strings.Cut(p.text(n), " as ")
			first, _, _ := strings.Cut(field, ".")
			if fields := p.known.Questions[s.Ask].Lists[s.List]; !slices.Contains(fields, first) {
				p.wrong(n, "unknown field %q%s: use %s", field, hint(first, fields), strings.Join(fields, ", "))
			}
			s.Columns = append(s.Columns, p.text(n))
		})
	case "every":
		s.Every = p.oneOf(n, "every", []string{"true", "false"}) == "true"
	case "bars":
		s.Bars = p.text(n)
	}
}

// any reads a value of a question's input, which the question itself checks.
func (p *parser) any(n *yaml.Node, depth int) any {
	if depth > maxDepth {
		p.wrong(n, "nested too deeply")
		return nil
	}
	switch n.Kind {
	case yaml.SequenceNode:
		list := []any{}
		p.list(n, func(n *yaml.Node) { list = append(list, p.any(n, depth+1)) })
		return list
	case yaml.MappingNode:
		m := map[string]any{}
		p.mapping(n, nil, func(key string, n *yaml.Node) { m[key] = p.any(n, depth+1) })
		return m
	case yaml.ScalarNode:
		var v any
		if err := n.Decode(&v); err != nil {
			p.wrong(n, "%v", err)
		}
		if f, ok := v.(float64); ok && (math.IsInf(f, 0) || math.IsNaN(f)) {
			p.wrong(n, "%s is not a number that a question can take", n.Value)
		}
		return v
	}
	p.wrong(n, "aliases are not allowed here")
	return nil
}

// hint names the nearest of some names.
func hint(s string, among []string) string {
	if near := nearest.Name(s, among); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}
