package redact

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// Function is the SQL function with which views mask. Its arguments are the way to read the value, a
// name, and the value: a text, a list of texts or bytes. It exists only in the database worker.
// Queries must not call it, because it would confirm guessed secrets.
const Function = "pcapsule_mask"

// Context lists the columns of calls that Replace needs to mask some columns. A masked source of them must include these.
func Context(columns []string) (list []string) {
	for _, name := range columns {
		switch db, part, _ := table.DatabaseOf(name); {
		case name == "summary":
			list = append(list, "protocol")
			for _, d := range table.Databases() {
				if d.OverHTTP {
					list = append(list, d.Column("query"))
				}
			}
		case part == "preview":
			list = append(list, db.Column("columns"))
		case part == "params":
			list = append(list, db.Column("query"))
		}
	}
	return list
}

// sqlSummary is the way to read the summary of a call with a statement: SQL, an arrow, and the result in words.
const (
	sqlSummary = "sql summary"
	arrow      = " → "
)

// Summaries is the SQL expression for the way to read the summary of a call. has reports whether its table has a column.
func Summaries(has func(column string) bool) string {
	statement := "protocol IN ('" + strings.Join(databases(), "', '") + "')"
	for _, d := range table.Databases() {
		if query := d.Column("query"); d.OverHTTP && has(query) {
			statement += " OR " + query + " IS NOT NULL"
		}
	}
	return "CASE WHEN " + statement + " THEN '" + sqlSummary + "' WHEN protocol = 'redis' THEN 'command' ELSE 'plain' END"
}

func databases() (names []string) {
	for _, d := range table.Databases() {
		names = append(names, d.Protocol)
	}
	return names
}

// words are columns whose values pcapsule chooses, such as words and addresses. They cannot contain a
// secret, and most queries compare them in every row.
var words = map[string]bool{
	"protocol": true, "protocols": true, "transport": true, "src_ip": true, "dst_ip": true, "ip": true, "outer_src_ip": true, "outer_dst_ip": true,
	"error": true, "ended_by": true, "outcome": true, "response_delivered": true, "vantage": true, "role_known": true, "how_known": true, "state": true, "close_reason": true, "pair_method": true,
	"encryption": true, "key_state": true, "key_reason": true, "decrypted_by": true, "tunnel": true, "side": true,
}

// exempt reports whether the policy leaves a column unchanged. With patterns no column is exempt.
func (p *Policy) exempt(column string) bool {
	return isOurs(column) || words[column] && len(p.patterns) == 0 && !p.columns.has(column)
}

// Replace returns the SQL expressions, with column names, that mask columns of a table. Numeric columns stay unless the policy
// names them. Values of unknown types become null.
func (p *Policy) Replace(columns []wire.Column) (list []string) {
	has := func(name string) bool {
		return slices.ContainsFunc(columns, func(c wire.Column) bool { return c.Name == name })
	}
	for _, c := range columns {
		if p.exempt(c.Name) {
			continue
		}
		if sql := p.column(c, has); sql != "" {
			list = append(list, sql+" AS "+quote.Ident(c.Name))
		}
	}
	return list
}

// column is the expression for a column, or empty if it stays.
func (p *Policy) column(c wire.Column, has func(string) bool) string {
	name := quote.Ident(c.Name)
	call := func(as, of, what string) string { return Function + "('" + as + "', " + of + ", " + what + ")" }
	db, part, _ := table.DatabaseOf(c.Name)
	switch c.Type {
	case "VARCHAR":
		switch {
		case c.Name == "text" && has("content_type"):
			return call(AsContent, "coalesce(content_type, '')", name)
		case c.Name == "summary" && has("protocol"):
			return call(AsContent, Summaries(has), name)
		case part == "preview" && has(db.Column("columns")):
			return call(AsRows, "coalesce(array_to_string("+db.Column("columns")+", chr(9)), '')", name)
		}
		return call(AsColumn, quote.SQL(c.Name), name)
	case "VARCHAR[]":
		if part == "params" && has(db.Column("query")) {
			return call(AsParams, "coalesce("+db.Column("query")+", '')", name)
		}
		return call(AsColumn, quote.SQL(c.Name), name)
	case "BLOB":
		return call(AsColumn, quote.SQL(c.Name), name)
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

// numbers reports whether a type contains no text.
func numbers(of string) bool {
	// Field names are in quotes.
	for i, part := range strings.Split(of, `"`) {
		if i%2 == 0 && strings.Trim(numberTypes.Replace(part), " (),[]0123456789") != "" {
			return false
		}
	}
	return true
}

var numberTypes = strings.NewReplacer("UTINYINT", "", "USMALLINT", "", "UINTEGER", "", "UBIGINT", "", "UHUGEINT", "", "TINYINT", "", "SMALLINT", "", "INTEGER", "", "BIGINT", "", "HUGEINT", "",
	"BOOLEAN", "", "FLOAT", "", "DOUBLE", "", "DECIMAL", "", "TIMESTAMP_NS", "", "TIMESTAMP_MS", "", "TIMESTAMP_S", "", "TIMESTAMP WITH TIME ZONE", "", "TIMESTAMP", "", "DATE", "", "TIME", "", "INTERVAL", "", "STRUCT", "")
