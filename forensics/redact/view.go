package redact

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Function is the SQL function by which views mask: of a text, a list of texts or bytes,
// behind the way to read it and a name. It exists in the database worker only, and no
// question may name it, since it would confirm guesses.
const Function = "pcapsule_mask"

// Beside are the columns of calls that Replace reads for masking others: a source of calls that
// is masked needs them, whatever is asked.
var Beside = []string{"protocol", "postgresql_columns", "postgresql_query"}

// words are columns whose values are words or addresses of ours, whatever was sent: they
// hold no secret, and most questions compare them in every row.
var words = map[string]bool{
	"protocol": true, "protocols": true, "transport": true, "src_ip": true, "dst_ip": true, "ip": true, "outer_src_ip": true, "outer_dst_ip": true,
	"error": true, "outcome": true, "vantage": true, "role_known": true, "how_known": true, "state": true, "close_reason": true, "pair_method": true,
	"encryption": true, "key_state": true, "key_reason": true, "decrypted_by": true, "tunnel": true, "side": true,
}

// exempt says that the policy leaves a column as it is. A pattern may be about anything.
func (p *Policy) exempt(column string) bool {
	return isOurs(column) || words[column] && len(p.patterns) == 0 && !p.columns.has(column)
}

// Replace are the expressions of SQL, with their names, that mask the columns of a table;
// want chooses among them. Columns of numbers stay, unless the policy names them, and a
// type that nobody foresaw is answered with null.
func (p *Policy) Replace(columns []wire.Column, want func(name string) bool) (list []string) {
	has := func(name string) bool {
		return slices.ContainsFunc(columns, func(c wire.Column) bool { return c.Name == name })
	}
	for _, c := range columns {
		if !want(c.Name) || p.exempt(c.Name) {
			continue
		}
		if sql := p.column(c, has); sql != "" {
			list = append(list, sql+" AS "+ident(c.Name))
		}
	}
	return list
}

// column is the expression for a column, empty if it stays.
func (p *Policy) column(c wire.Column, has func(string) bool) string {
	name := ident(c.Name)
	call := func(as, of, what string) string { return Function + "('" + as + "', " + of + ", " + what + ")" }
	switch c.Type {
	case "VARCHAR":
		switch {
		case c.Name == "text" && has("content_type"):
			return call(AsContent, "coalesce(content_type, '')", name)
		case c.Name == "summary" && has("protocol"):
			return call(AsContent, "CASE protocol WHEN 'postgresql' THEN 'sql' WHEN 'redis' THEN 'command' ELSE 'plain' END", name)
		case c.Name == "postgresql_preview" && has("postgresql_columns"):
			return call(AsRows, `coalesce(array_to_string(postgresql_columns, chr(9)), '')`, name)
		}
		return call(AsColumn, quoted(c.Name), name)
	case "VARCHAR[]":
		if c.Name == "postgresql_params" && has("postgresql_query") {
			return call(AsParams, "coalesce(postgresql_query, '')", name)
		}
		return call(AsColumn, quoted(c.Name), name)
	case "BLOB":
		return call(AsColumn, quoted(c.Name), name)
	case `STRUCT("name" VARCHAR, "value" VARCHAR, "kind" VARCHAR)[]`:
		return "list_transform(" + name + ", lambda h: struct_pack(name := " + call(AsValue, "''", "h.name") + ", value := " + call(AsHeader, "h.name", "h.value") + ", kind := h.kind))"
	case `STRUCT("name" VARCHAR, "value" VARCHAR)[]`:
		return "list_transform(" + name + ", lambda h: struct_pack(name := " + call(AsValue, "''", "h.name") + ", value := " + call(AsPair, "h.name", "h.value") + "))"
	}
	if numbers(c.Type) && !p.columns.has(strings.ToLower(c.Name)) {
		return ""
	}
	return "CAST(NULL AS " + c.Type + ")"
}

// numbers says that no value of a type is text.
func numbers(of string) bool {
	// The names of fields stand in quotes.
	for i, part := range strings.Split(of, `"`) {
		if i%2 == 0 && strings.Trim(numberTypes.Replace(part), " (),[]0123456789") != "" {
			return false
		}
	}
	return true
}

var numberTypes = strings.NewReplacer("UTINYINT", "", "USMALLINT", "", "UINTEGER", "", "UBIGINT", "", "UHUGEINT", "", "TINYINT", "", "SMALLINT", "", "INTEGER", "", "BIGINT", "", "HUGEINT", "",
	"BOOLEAN", "", "FLOAT", "", "DOUBLE", "", "DECIMAL", "", "TIMESTAMP_NS", "", "TIMESTAMP_MS", "", "TIMESTAMP_S", "", "TIMESTAMP WITH TIME ZONE", "", "TIMESTAMP", "", "DATE", "", "TIME", "", "INTERVAL", "", "STRUCT", "")

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
