package redact

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Cell masks the value of a column as the views of Replace do. of returns the value of another column of the row, and whether the
// table has this column.
func (m *Masker) Cell(column string, v any, of func(column string) (any, bool)) any {
	if v == nil || m.p.exempt(column) {
		return v
	}
	db, part, _ := table.DatabaseOf(column)
	other := func(name string) (text string, has bool) {
		v, has := of(name)
		text, _ = v.(string)
		return text, has
	}
	switch v := v.(type) {
	case string:
		switch {
		case column == "text":
			if kind, has := other("content_type"); has {
				return m.Text(AsContent, kind, v)
			}
		case column == "summary":
			if protocol, has := other("protocol"); has {
				return m.Text(AsContent, SummaryAs(protocol, other), v)
			}
		case part == "preview":
			if names, has := of(db.Column("columns")); has {
				list, _ := names.([]any)
				return m.Text(AsRows, strings.Join(each(list, func(x any) string { s, _ := x.(string); return s }), "\t"), v)
			}
		}
		return m.Text(AsColumn, column, v)
	case []byte:
		return []byte(m.Bytes(column, string(v)))
	case []any:
		return m.cells(column, v, func() (as, name string) {
			if part == "params" {
				if statement, has := other(db.Column("query")); has {
					return AsParams, statement
				}
			}
			return AsColumn, column
		})
	}
	if m.p.columns.has(strings.ToLower(column)) {
		return nil
	}
	return v
}

// cells masks a list: of texts, of headers, or of names with values. Other lists have numbers.
func (m *Masker) cells(column string, list []any, how func() (as, name string)) any {
	var texts []string
	out := make([]any, len(list))
	for i, x := range list {
		switch x := x.(type) {
		case string:
			texts = append(texts, x)
		case wire.Struct:
			out[i] = m.named(x)
		default:
			out[i] = x
		}
	}
	if len(texts) == 0 || len(texts) < len(list) {
		return out
	}
	as, name := how()
	for i, s := range m.List(as, name, texts) {
		out[i] = s
	}
	return out[:len(texts)]
}

// named masks a header or a label.
func (m *Masker) named(x wire.Struct) wire.Struct {
	name, isName := x.Get("name").(string)
	value, isValue := x.Get("value").(string)
	if !isName || !isValue {
		return x
	}
	as := AsPair
	if slices.ContainsFunc(x, func(f wire.Field) bool { return f.Name == "kind" }) {
		as = AsHeader
	}
	out := slices.Clone(x)
	for i := range out {
		switch out[i].Name {
		case "name":
			out[i].Value = m.Text(AsValue, "", name)
		case "value":
			out[i].Value = m.Text(as, name, value)
		}
	}
	return out
}

// SummaryAs is the way to read the summary of a call, as Summaries writes it in SQL. of returns the value of a column, and whether
// the table has it.
func SummaryAs(protocol string, of func(column string) (string, bool)) string {
	statement := slices.Contains(databases(), protocol)
	for _, d := range table.Databases() {
		if query, has := of(d.Column("query")); d.OverHTTP && has && query != "" {
			statement = true
		}
	}
	switch {
	case statement:
		return sqlSummary
	case protocol == "redis":
		return "command"
	}
	return "plain"
}
