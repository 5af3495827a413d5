package redact

import (
	"slices"
	"strings"
)

// HeadersSQL is a DuckDB expression for a column of headers with the values masked that
// Header masks whatever they are.
func (p *Policy) HeadersSQL(column string) string {
	var is []string
	if len(p.headers.exact) > 0 {
		var list []string
		for h := range p.headers.exact {
			list = append(list, h)
		}
		slices.Sort(list)
		is = append(is, "lower(h.name) IN ("+quotedList(list)+")")
	}
	for _, g := range p.headers.globs {
		is = append(is, "lower(h.name) LIKE "+like(g)+` ESCAPE '\'`)
	}
	if len(is) == 0 {
		return column
	}
	return "list_transform(" + column + ", lambda h: CASE WHEN (" + strings.Join(is, " OR ") + ") AND h.value <> '' THEN struct_pack(name := h.name, value := " +
		"CASE WHEN lower(h.name) IN ('authorization', 'proxy-authorization') AND strpos(h.value, ' ') BETWEEN 2 AND 21 THEN split_part(h.value, ' ', 1) || ' ' ELSE '' END || " +
		quoted(p.mask) + ", kind := h.kind) ELSE h END)"
}

// QuerySQL is a DuckDB expression for a URL query with the values of secret names masked.
// It knows single names, as Query does, and looks at no value.
func (p *Policy) QuerySQL(column string) string {
	// normal() of the name, which stands after the last of ?, # and ;.
	name := `regexp_replace(lower(coalesce(TRY(url_decode(split_part(part, '=', 1))), split_part(part, '=', 1))), '^.*[?#;.\[]|[-_ \]]', '', 'g')`
	is := func(n *names) string {
		var list, any []string
		for k := range n.exact {
			list = append(list, k)
		}
		if slices.Sort(list); len(list) > 0 {
			any = append(any, name+" IN ("+quotedList(list)+")")
		}
		for _, g := range n.globs {
			any = append(any, name+" LIKE "+like(g)+` ESCAPE '\'`)
		}
		if len(any) == 0 {
			return "FALSE"
		}
		return "(" + strings.Join(any, " OR ") + ")"
	}
	return "array_to_string(list_transform(string_split(" + column + ", '&'), lambda part: CASE WHEN contains(part, '=') AND NOT ends_with(part, '=') AND " + is(&p.keys.last) +
		" AND NOT " + is(&p.except.last) + " THEN split_part(part, '=', 1) || '=' || " + quoted(p.mask) + " ELSE part END), '&')"
}

// like is a glob as a pattern of LIKE.
func like(g glob) string {
	return quoted(strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%").Replace(string(g)))
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func quotedList(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quoted(s)
	}
	return strings.Join(out, ", ")
}
