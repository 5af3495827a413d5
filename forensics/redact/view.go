package redact

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
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

// HeaderView is the value of a header as HeadersSQL leaves it.
func (p *Policy) HeaderView(name, value string) string {
	name = strings.ToLower(name)
	if value == "" || !p.headers.has(name) {
		return value
	}
	if scheme, _, ok := strings.Cut(value, " "); ok && (name == "authorization" || name == "proxy-authorization") {
		if n := utf8.RuneCountInString(scheme); n >= 1 && n <= 20 {
			return scheme + " " + p.mask
		}
	}
	return p.mask
}

// QueryView is a URL query as QuerySQL leaves it.
func (p *Policy) QueryView(query string) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		raw, _, ok := strings.Cut(part, "=")
		if !ok || strings.HasSuffix(part, "=") {
			continue
		}
		name := urlDecode(raw)
		if !utf8.ValidString(name) {
			name = raw
		}
		name = beforeName.ReplaceAllString(strings.ToLower(name), "")
		if p.keys.last.has(name) && !p.except.last.has(name) {
			parts[i] = raw + "=" + p.mask
		}
	}
	return strings.Join(parts, "&")
}

// beforeName is what normal() and form() take from a name.
var beforeName = regexp.MustCompile(notName)

const notName = `^.*[?#;.\[]|[-_ \]]`

// urlDecode undoes percent-encoding where it is right, as url_decode of DuckDB does.
func urlDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, ok := hex2(s[i+1], s[i+2]); ok {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// QuerySQL is a DuckDB expression for a URL query with the values of secret names masked.
// It knows single names, as Query does, and looks at no value.
//
// The expression is part of every query that reads calls and is planned with it, so it is
// short: a name is made once, and what it may be is one regular expression.
func (p *Policy) QuerySQL(column string) string {
	// normal() of the name, which stands after the last of ?, # and ;.
	const name = `regexp_replace(lower(coalesce(TRY(url_decode(split_part(part, '=', 1))), split_part(part, '=', 1))), '` + notName + `', '', 'g')`
	// Where nothing has a value, which is told at a glance, no lambda is run at all.
	return "CASE WHEN contains(" + column + ", '=') THEN array_to_string(list_transform(list_transform(string_split(" + column + ", '&'), lambda part: {'part': part, 'name': CASE WHEN contains(part, '=') AND NOT ends_with(part, '=') THEN " + name +
		" END}), lambda x: CASE WHEN x.name IS NOT NULL AND " + p.keys.last.sql("x.name") + " AND NOT " + p.except.last.sql("x.name") +
		" THEN split_part(x.part, '=', 1) || '=' || " + quoted(p.mask) + " ELSE x.part END), '&') ELSE " + column + " END"
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
