// Package statements is the list of databases whose calls are statements, in SQL or a similar form,
// and the SQL for their common fields: the text of a statement, its parameters, its rows, its user.
// Questions, findings and masking use it for any of these databases; their dissectors declare them
// (table.Traits). The package only builds text.
package statements

import (
	"slices"
	"strings"
	"unicode"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Databases are all of them.
var Databases = table.Databases()

// Has reports whether a protocol is one of a database.
func Has(protocol string) bool {
	return slices.ContainsFunc(Databases, func(d table.Database) bool { return d.Protocol == protocol })
}

func join(separator string, each func(table.Database) string) string {
	var list []string
	for _, d := range Databases {
		list = append(list, each(d))
	}
	return strings.Join(list, separator)
}

// Part is the SQL for a part of a call of any database; alias is empty or ends with a point.
func Part(alias, part string) string {
	return "coalesce(" + join(", ", func(d table.Database) string { return alias + d.Column(part) }) + ")"
}

// Columns lists the columns with these parts of all databases, for a SELECT.
func Columns(parts ...string) string {
	return join(", ", func(d table.Database) string {
		var list []string
		for _, p := range parts {
			list = append(list, d.Column(p))
		}
		return strings.Join(list, ", ")
	})
}

// words are the identifiers in SQL, and what looks like them in its texts.
func words(sql string) []string {
	return strings.FieldsFunc(sql, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// Kinds lists the columns with the kind of a call, and whether it accessed data.
var Kinds = join(", ", func(d table.Database) string {
	columns := append(words(d.Data), d.Kind)
	columns = slices.DeleteFunc(columns, func(w string) bool { return !strings.HasPrefix(w, d.Protocol+"_") })
	slices.Sort(columns)
	return strings.Join(slices.Compact(columns), ", ")
})

// Protocols lists the protocols for SQL IN, without brackets.
var Protocols = join(", ", func(d table.Database) string { return "'" + d.Protocol + "'" })

// IsStatement is the condition that a call is one of a database.
var IsStatement = "(protocol IN (" + Protocols + ")" + overHTTP(func(d table.Database) string { return " OR " + d.Kind + " IS NOT NULL" }) + ")"

// overHTTP joins texts of the databases whose statements HTTP carries too.
func overHTTP(each func(table.Database) string) (s string) {
	for _, d := range Databases {
		if d.OverHTTP {
			s += each(d)
		}
	}
	return s
}

// Accesses is the condition that a call reads or changes data, if it is one of a database or a cache: logins, prepared
// statements and commands about the connection or the server do not. Calls of other protocols meet it.
var Accesses = func() string {
	var cases []string
	for _, p := range table.AllTraits() {
		if p.Data != "" {
			cases = append(cases, "WHEN '"+p.Protocol+"' THEN coalesce("+p.Data+", true)")
		}
	}
	return "(CASE protocol " + strings.Join(cases, " ") + " ELSE true" + overHTTP(func(d table.Database) string { return " AND coalesce(" + d.Data + ", true)" }) + " END)"
}()

// NamesKind reports whether a condition with these columns selects kinds of calls: then it also means calls that access no data.
func NamesKind(columns []string) bool {
	kinds := strings.Split(Kinds, ", ")
	return slices.ContainsFunc(columns, func(c string) bool {
		return c == "method" || c == "endpoint" || c == "summary" || slices.Contains(kinds, c)
	})
}

// Error is the SQL for the text of an error; alias is empty or ends with a point.
func Error(alias string) string {
	return join(", ", func(d table.Database) string {
		return strings.NewReplacer(d.Protocol+"_", alias+d.Protocol+"_").Replace(d.Error)
	})
}

// ErrorColumns lists the columns with texts of errors.
func ErrorColumns() (list []string) {
	for _, d := range Databases {
		list = append(list, d.Errors...)
	}
	return list
}
