package redact

import (
	"regexp"
	"slices"
	"strings"
)

// HeadersSQL is a DuckDB expression for a column of headers with the values masked that
// Header masks whatever they are.
func (p *Policy) HeadersSQL(column string) string {
	if len(p.headers.exact)+len(p.headers.globs) == 0 {
		return column
	}
	return "list_transform(" + column + ", lambda h: CASE WHEN " + p.headers.sql("lower(h.name)") + " AND h.value <> '' THEN struct_pack(name := h.name, value := " +
		"CASE WHEN lower(h.name) IN ('authorization', 'proxy-authorization') AND strpos(h.value, ' ') BETWEEN 2 AND 21 THEN split_part(h.value, ' ', 1) || ' ' ELSE '' END || " +
		quoted(p.mask) + ", kind := h.kind) ELSE h END)"
}

// QuerySQL is a DuckDB expression for a URL query with the values of secret names masked.
// It knows single names, as Query does, and looks at no value.
//
// The expression is part of every query that reads calls and is planned with it, so it is
// short: a name is made once, and what it may be is one regular expression.
func (p *Policy) QuerySQL(column string) string {
	// normal() of the name, which stands after the last of ?, # and ;.
	const name = `regexp_replace(lower(coalesce(TRY(url_decode(split_part(part, '=', 1))), split_part(part, '=', 1))), '^.*[?#;.\[]|[-_ \]]', '', 'g')`
	return "array_to_string(list_transform(list_transform(string_split(" + column + ", '&'), lambda part: {'part': part, 'name': CASE WHEN contains(part, '=') AND NOT ends_with(part, '=') THEN " + name +
		" END}), lambda x: CASE WHEN x.name IS NOT NULL AND " + p.keys.last.sql("x.name") + " AND NOT " + p.except.last.sql("x.name") +
		" THEN split_part(x.part, '=', 1) || '=' || " + quoted(p.mask) + " ELSE x.part END), '&')"
}

// sql is the condition that a text is one of the names.
func (n *names) sql(text string) string {
	var any []string
	for k := range n.exact {
		any = append(any, regexp.QuoteMeta(k))
	}
	slices.Sort(any)
	for _, g := range n.globs {
		any = append(any, strings.ReplaceAll(regexp.QuoteMeta(string(g)), `\*`, ".*"))
	}
	if len(any) == 0 {
		return "FALSE"
	}
	return "regexp_full_match(" + text + ", " + quoted("(?s)"+strings.Join(any, "|")) + ")"
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
