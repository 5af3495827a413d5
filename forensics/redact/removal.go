package redact

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Removal is a policy for removing values from packets. In addition to a Policy it has whole
// bodies, and tests. It is immutable and safe for concurrent use.
type Removal struct {
	*Policy
	Name  string
	Tests []Try // of the policy itself

	source   []byte
	bodies   []string // content types of bodies that are removed whole; "*" is all
	comments bool
	names    bool // addresses become pseudonyms
}

// Try is a test of a removal policy: a text, how to read it, and the expected result.
type Try struct {
	Type    string `yaml:"type"`   // content type, sql or command
	Header  string `yaml:"header"` // the text is the value of this header
	Text    string `yaml:"text"`
	Becomes string `yaml:"becomes"`
}

// removalFile is a removal policy as written in YAML.
type removalFile struct {
	file      `yaml:",inline"`
	Name      string   `yaml:"name"`
	Bodies    []string `yaml:"bodies"`
	Comments  string   `yaml:"comments"`
	Addresses string   `yaml:"addresses"`
	Tests     []Try    `yaml:"tests"`
}

// RemovesBodies reports whether some bodies are removed whole.
func (r *Removal) RemovesBodies() bool { return len(r.bodies) > 0 }

// Addresses reports whether addresses become pseudonyms.
func (r *Removal) Addresses() bool { return r.names }

// KeepComments reports whether comments on packets stay.
func (r *Removal) KeepComments() bool { return r.comments }

// Kinds of a Removal's results in addition to those of detectors and patterns.
const (
	kindHeader = "header"
	kindColumn = "column"
)

// LoadRemoval reads a removal policy from a YAML file; see docs/guide/redaction.md.
func LoadRemoval(path string) (*Removal, error) { return load(path, ParseRemoval) }

// ParseRemoval parses a removal policy in YAML.
func ParseRemoval(data []byte) (*Removal, error) {
	var f removalFile
	if err := readYAML(data, &f); err != nil {
		return nil, err
	}
	p, err := f.policy()
	if err != nil {
		return nil, err
	}
	r := &Removal{Policy: p, Name: f.Name, Tests: f.Tests, comments: f.Comments == "keep", names: f.Addresses == "pseudonyms", source: bytes.Clone(data)}
	if f.Comments != "" && f.Comments != "keep" && f.Comments != "remove" {
		return nil, fmt.Errorf("comments must be keep or remove, not %q", f.Comments)
	}
	if f.Addresses != "" && f.Addresses != "keep" && f.Addresses != "pseudonyms" {
		return nil, fmt.Errorf("addresses must be keep or pseudonyms, not %q", f.Addresses)
	}
	if max(len(f.Bodies), len(f.Tests)) > maxEntries {
		return nil, fmt.Errorf("a list has more than %d entries", maxEntries)
	}
	for _, b := range f.Bodies {
		if b = strings.ToLower(strings.TrimSpace(b)); b == "" {
			return nil, fmt.Errorf("bodies: a content type is empty; use \"*\" for all")
		}
		r.bodies = append(r.bodies, b)
	}
	return r, nil
}

// Source is the policy as it was written.
func (r *Removal) Source() []byte { return r.source }

// WholeBody reports whether bodies of a content type are removed whole.
func (r *Removal) WholeBody(contentType string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	kind = strings.TrimSpace(kind)
	return slices.ContainsFunc(r.bodies, func(b string) bool { return glob(b).match(kind) })
}

// Finder finds the values that the policy removes. One goroutine may use it.
type Finder struct {
	r     *Removal
	found func(kind, value, whole string, rest bool)
	clean map[reading]map[string]bool // short texts without anything to remove
	texts int                         // in clean
}

// reading is how a text is read: its form, and its type or name.
type reading struct {
	as   byte // text, header or pair
	name string
}

const (
	memoTexts = 1 << 16 // short texts that a Finder remembers
	memoText  = 200     // bytes of one
)

// Finder returns a Finder that passes what it finds to found: its kind (of a detector, the name of
// a pattern, name, header, column or body), the value as it is in the text, and the value of the
// whole header or line that holds it. rest means that the row shows only the beginning of a message
// with such values, so the whole message must be removed.
func (r *Removal) Finder(found func(kind, value, whole string, rest bool)) *Finder {
	return &Finder{r: r, found: found, clean: map[reading]map[string]bool{}}
}

// Text searches a text according to its content type.
func (f *Finder) Text(contentType, s string) {
	f.once(reading{'t', contentType}, s, func(t *task) { t.text(contentType, s, 0) })
}

// Payload searches bytes of any kind. It finds only values with a recognizable form.
func (f *Finder) Payload(s string) {
	t := task{p: f.r.Policy, seen: func(kind, v string) {
		if kind != encodedKind && !strings.Contains(v, f.r.mask) {
			f.value(kind, strings.TrimSpace(v), "")
		}
	}}
	t.words(s)
}

// once runs do unless a short text is known to hold nothing.
func (f *Finder) once(how reading, s string, do func(t *task)) {
	if len(s) < 3 || len(s) <= memoText && f.clean[how][s] {
		return
	}
	hit := false
	t := task{p: f.r.Policy, seen: func(kind, v string) {
		if v = strings.TrimSpace(v); v != "" && !strings.Contains(v, f.r.mask) {
			hit = true
			f.value(kind, v, s)
		}
	}}
	do(&t)
	if hit || len(s) > memoText {
		return
	}
	if f.texts >= memoTexts {
		clear(f.clean)
		f.texts = 0
	}
	if f.clean[how] == nil {
		f.clean[how] = map[string]bool{}
	}
	f.clean[how][s] = true
	f.texts++
}

// value reports a value without the word before it, such as Bearer, and the values inside it.
func (f *Finder) value(kind, v, whole string) {
	bare := strings.Trim(v, `"'`)
	if scheme, rest, ok := strings.Cut(bare, " "); ok && isScheme(strings.ToLower(scheme)) {
		bare = strings.TrimSpace(rest)
		if strings.EqualFold(scheme, "basic") {
			f.basic(bare)
		}
	}
	if bare != "" {
		f.found(kind, bare, whole, false)
	}
}

// basic reports the user and password of Basic credentials (RFC 7617), which may be sent elsewhere.
func (f *Finder) basic(text string) {
	if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
		if _, password, ok := strings.Cut(string(plain), ":"); ok && password != "" {
			f.found("basic", password, "", false)
		}
	}
}

// Header searches the value of a header.
func (f *Finder) Header(name, value string) {
	if !f.r.SecretHeader(name) {
		f.once(reading{'h', name}, value, func(t *task) { t.header(name, value) })
		return
	}
	switch strings.ToLower(name) {
	case "cookie", "set-cookie":
		for i, part := range strings.Split(value, ";") {
			_, v, ok := strings.Cut(part, "=")
			if !ok {
				v = part
			}
			if v = strings.TrimSpace(v); v != "" && (i == 0 || strings.EqualFold(name, "cookie")) {
				f.found(kindHeader, v, value, false)
				if part = strings.TrimSpace(part); part != value { // HTTP/2 sends each cookie alone
					f.found(kindHeader, v, part, false)
				}
			}
		}
		return
	case "authorization", "proxy-authorization":
		if scheme, rest, ok := strings.Cut(value, " "); ok && len(scheme) <= 20 {
			if strings.EqualFold(scheme, "basic") {
				f.basic(strings.TrimSpace(rest))
			}
			if rest = strings.TrimSpace(rest); rest != "" {
				f.found(kindHeader, rest, value, false)
			}
			return
		}
	}
	if value != "" {
		f.found(kindHeader, value, value, false)
	}
}

// fullPreview is the length from which a preview of a result may have been cut.
const fullPreview = 3 << 10

// Row searches all values of a row. They have the types of exporter/table.
func (f *Finder) Row(columns []string, row []any) {
	text := func(name string) string {
		if i := slices.Index(columns, name); i >= 0 {
			s, _ := row[i].(string)
			return s
		}
		return ""
	}
	for i, v := range row {
		name := columns[i]
		if v == nil || isOurs(name) {
			continue
		}
		switch v := v.(type) {
		case string:
			f.column(name, v, text)
		case []byte:
			f.Text(text("content_type"), string(v))
		case []string:
			f.list(name, v, text)
		case []table.Header:
			for _, h := range v {
				f.Header(h.Name, h.Value)
			}
		case []table.Pair:
			for _, p := range v {
				f.once(reading{'p', p.Name}, p.Value, func(t *task) { t.walk(nil, p.Name, p.Value, 0) })
			}
		}
	}
	f.preview(columns, row, text)
	if i := slices.Index(columns, "memcached_keys"); i >= 0 { // its values are bodies, which have no names
		keys, _ := row[i].([]string)
		if t := (&task{p: f.r.Policy}); slices.ContainsFunc(keys, t.secretWord) {
			f.found(byName, "", "", true)
		}
	}
	// Dissectors leave out what logs in, so only the packets have it. Headers of HTTP and similar
	// protocols contain it; those of a protocol with its own login do not.
	t := task{p: f.r.Policy}
	traits := table.TraitsOf(text("protocol"))
	shown := slices.ContainsFunc(row, func(v any) bool { h, ok := v.([]table.Header); return ok && len(h) > 0 }) && !traits.Login
	kind := text("auth_kind")
	secret := kind != "" && !slices.Contains(table.NoLogin, kind) || slices.Contains(columns, "auth_kind") && traits.Issues
	if secret && !shown && t.passwords() {
		f.found(byName, "", "", true)
	}
}

// column searches a text of a column.
func (f *Finder) column(name, s string, text func(string) string) {
	t := task{p: f.r.Policy}
	switch {
	case t.secretColumn(name):
		if s != "" {
			f.found(kindColumn, s, s, false)
		}
	case name == "text": // of table bodies
		f.Text(text("content_type"), s)
	case name == "path" && text("query_string") != "":
		f.line("", s, s+"?"+text("query_string"))
	case name == "redis_reply":
		f.reply(text("redis_command"), s)
	case name == "query_string":
		f.line(contents[name], s, text("path")+"?"+s)
	default:
		f.Text(contents[name], s)
	}
}

// reply searches a reply of Redis. If its command makes it secret, a reply of several texts is removed as a whole, because
// its column has them in brackets.
func (f *Finder) reply(command, s string) {
	t := task{p: f.r.Policy}
	if t.reply(command, s) != f.r.mask {
		f.Text("command", s)
		return
	}
	f.found(byName, s, s, isList(s) || len(s) >= 1<<10)
}

// line searches a part of a text that is sent as one.
func (f *Finder) line(contentType, s, whole string) {
	t := task{p: f.r.Policy, seen: func(kind, v string) {
		if v != "" && !strings.Contains(v, f.r.mask) {
			f.value(kind, v, whole)
		}
	}}
	t.text(contentType, s, 0)
}

func (f *Finder) list(name string, list []string, text func(string) string) {
	t := task{p: f.r.Policy, seen: func(kind, v string) {
		if v != "" && !strings.Contains(v, f.r.mask) {
			f.value(kind, v, v)
		}
	}}
	db, part, _ := table.DatabaseOf(name)
	switch {
	case t.secretColumn(name):
		for _, s := range list {
			f.found(kindColumn, s, s, false)
		}
	case part == "params":
		t.params(text(db.Column("query")), list)
	case isCommand(name):
		t.arguments(list)
	default:
		for _, s := range list {
			f.Text("", s)
		}
	}
}

// preview searches the rows of a result, which have the names of its columns. If it has secret
// columns and its preview may be cut, the whole message must go.
func (f *Finder) preview(columns []string, row []any, text func(string) string) {
	for _, d := range table.Databases() {
		f.previewOf(d, columns, row, text)
	}
}

func (f *Finder) previewOf(d table.Database, columns []string, row []any, text func(string) string) {
	preview := text(d.Column("preview"))
	i := slices.Index(columns, d.Column("columns"))
	if preview == "" || i < 0 {
		return
	}
	names, _ := row[i].([]string)
	secret := false
	t := task{p: f.r.Policy, seen: func(kind, v string) {
		if v != "" && !strings.Contains(v, f.r.mask) {
			secret = secret || kind == byName
			f.value(kind, v, v)
		}
	}}
	t.table(preview, names)
	if secret && len(preview) >= fullPreview {
		f.found(byName, "", "", true)
	}
}
