package redact

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// maxWalk is the depth up to which lists and structs are searched; deeper values are masked.
const maxWalk = 64

// contents is the content type of text columns; others are guessed.
var contents = withStatements(map[string]string{
	"sql": "sql", "statement": "sql", "redis_command": "command", "redis_reply": "command",
	"query_string": "application/x-www-form-urlencoded", "http1_target": "application/x-www-form-urlencoded", "url": "application/x-www-form-urlencoded",
	"path": "plain", "summary": "plain", "message": "plain",
})

// withStatements adds the columns of databases.
func withStatements(of map[string]string) map[string]string {
	for _, d := range table.Databases() {
		of[d.Column("query")], of[d.Column("preview")] = "sql", "plain"
	}
	return of
}

// ours are columns whose names look secret but whose values are not, and digests, which are never
// text.
var ours = map[string]bool{"extended_master_secret": true, "rdp_routing_token": true, "kafka_api_key": true, "kafka_api_key_name": true, "session_id": true, "auth_kind": true, "call_id": true, "client_random": true, "server_random": true, "exe": true, "cites": true}

// Value masks a value of a row: texts by their column, headers and labels by their names, and the
// contents of lists, structs and maps. Other values stay as they are. Nothing is changed in place.
func (p *Policy) Value(column string, v any) any {
	t := task{p: p}
	return t.column(column, v)
}

// Row masks a row like Value, and also uses relations between columns: the parameters of a
// statement, and the column names of its result.
func (p *Policy) Row(columns []string, row []any) []any {
	t := task{p: p}
	out := make([]any, len(row))
	find := func(name string) (any, int) {
		if i := slices.Index(columns, name); i >= 0 && i < len(row) {
			return row[i], i
		}
		return nil, -1
	}
	for i, v := range row {
		name := ""
		if i < len(columns) {
			name = columns[i]
		}
		out[i] = t.column(name, v)
	}
	if reply, i := find("redis_reply"); i >= 0 && !t.secretColumn("redis_reply") {
		command, _ := find("redis_command")
		asked, _ := command.(string)
		if s, ok := reply.(string); ok {
			out[i] = t.reply(asked, s)
		}
	}
	for _, d := range table.Databases() {
		if list, i := find(d.Column("params")); i >= 0 {
			statement, _ := find(d.Column("query"))
			if s, ok := statement.(string); ok {
				out[i] = t.texts(list, func(params []string) []string { return t.params(s, params) })
			}
		}
		if preview, i := find(d.Column("preview")); i >= 0 {
			names, _ := find(d.Column("columns"))
			if s, ok := preview.(string); ok {
				list, _ := names.([]any)
				out[i] = t.table(s, each(list, func(x any) string { name, _ := x.(string); return name }))
			}
		}
	}
	return out
}

func (t *task) column(name string, v any) any {
	if v == nil || isOurs(name) {
		return v
	}
	if s, ok := v.(string); ok {
		return t.columnText(name, s)
	}
	if t.secretColumn(name) {
		return t.whole(v, 0)
	}
	if list, ok := v.([]any); ok && isCommand(name) {
		return t.texts(list, t.arguments)
	}
	return t.walk(nil, "", v, 0)
}

// columnText masks a text of a column.
func (t *task) columnText(name, s string) string {
	if t.secretColumn(name) && !t.harmless(name, s) {
		return t.value(s)
	}
	return t.text(contents[strings.ToLower(name)], s, 0)
}

// secretColumn reports whether all values of a column are masked.
func (t *task) secretColumn(name string) bool {
	return t.p.columns.has(strings.ToLower(name)) || t.secret(nil, name)
}

func isOurs(column string) bool {
	return ours[column] || strings.HasSuffix(column, "sha256") || strings.HasSuffix(column, "_ns")
}

// isCommand reports whether a column is a list of arguments.
func isCommand(column string) bool {
	return strings.EqualFold(column, "command") || strings.EqualFold(column, "args")
}

// texts applies do to v if it is a list of texts.
func (t *task) texts(v any, do func([]string) []string) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	words := make([]string, len(list))
	for i, x := range list {
		w, ok := x.(string)
		if !ok && x != nil {
			return t.walk(nil, "", v, 0)
		}
		words[i] = w
	}
	words = do(words)
	out := make([]any, len(list))
	for i, x := range list {
		if x != nil {
			out[i] = words[i]
		}
	}
	return out
}

// whole masks an entire value.
func (t *task) whole(v any, depth int) any {
	if depth > maxWalk {
		return t.p.mask
	}
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return each(v, func(x any) any { return t.whole(x, depth+1) })
	case wire.Struct:
		out := make(wire.Struct, len(v))
		for i, f := range v {
			out[i] = wire.Field{Name: f.Name, Value: t.whole(f.Value, depth+1)}
		}
		return out
	case wire.Map:
		out := make(wire.Map, len(v))
		for i, e := range v {
			out[i] = wire.Entry{Key: e.Key, Value: t.whole(e.Value, depth+1)}
		}
		return out
	case string:
		return t.value(v)
	}
	t.n++
	return t.p.mask
}

// walk masks the contents of a value with a name below path.
func (t *task) walk(path []string, name string, v any, depth int) any {
	if depth > maxWalk {
		return t.p.mask
	}
	if name != "" && t.secret(path, name) {
		return t.whole(v, depth)
	}
	below := path
	if name != "" {
		below = append(path[:len(path):len(path)], name)
	}
	switch v := v.(type) {
	case string:
		return t.text(contents[strings.ToLower(name)], v, 0)
	case []byte:
		return t.bytes(v)
	case []any:
		return each(v, func(x any) any { return t.walk(path, name, x, depth+1) })
	case wire.Struct:
		return t.fields(below, v, depth)
	case wire.Map:
		out := make(wire.Map, len(v))
		for i, e := range v {
			key, _ := e.Key.(string)
			out[i] = wire.Entry{Key: e.Key, Value: t.walk(below, key, e.Value, depth+1)}
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = t.walk(below, k, x, depth+1)
		}
		return out
	}
	return v
}

// fields masks a struct: a name-value pair by its name, a header as a header.
func (t *task) fields(path []string, s wire.Struct, depth int) wire.Struct {
	name, paired := s.Get("name").(string)
	value, isText := s.Get("value").(string)
	header := s.Get("kind") != nil
	out := make(wire.Struct, len(s))
	for i, f := range s {
		out[i] = f
		switch {
		case paired && isText && f.Name == "value" && header:
			had := value
			if value = t.p.Header(name, value); value != had {
				t.n++
			}
			out[i].Value = value
		case paired && isText && f.Name == "value":
			out[i].Value = t.walk(path, name, value, depth+1)
		case paired && f.Name == "name":
		default:
			out[i].Value = t.walk(path, f.Name, f.Value, depth+1)
		}
	}
	return out
}

// bytes masks binary data as if it were text.
func (t *task) bytes(v []byte) any {
	had := t.n
	out := t.binary(string(v))
	if t.n == had {
		return v
	}
	return []byte(out)
}

// table masks columns of rows in the text format of COPY.
func (t *task) table(s string, columns []string) string {
	secret := map[int]bool{}
	for i, name := range columns {
		if t.secret(nil, name) {
			secret[i] = true
		}
	}
	if len(secret) == 0 {
		return t.plain(s)
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		fields := strings.Split(line, "\t")
		for j, f := range fields {
			if secret[j] && f != `\N` {
				fields[j] = t.value(f)
			}
		}
		lines[i] = strings.Join(fields, "\t")
	}
	return t.plain(strings.Join(lines, "\n"))
}
