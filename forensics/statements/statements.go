// Package statements is the one list of databases whose calls are statements, in SQL or with a shape
// like it, and the SQL for what all of them have: the text of a statement, its parameters, its rows, its user. Questions,
// findings and masking are about any of these databases; a new one is one line here. The package
// only builds text and imports no other package of pcapsule.
package statements

import (
	"slices"
	"strings"
)

// Database is a protocol whose calls are statements. Its columns in table calls begin with its
// name: <protocol>_query, _params, _columns, _preview, _rows, _user and _application.
type Database struct {
	Protocol string
	Kind     string   // column that says what a call is
	Executed string   // condition that a call executed a statement
	Error    string   // SQL for the text of an error
	Errors   []string // columns with it
	TooMany  string   // condition that the server refused a connection because it has too many
}

// Databases are all of them.
var Databases = [...]Database{
	{"postgresql", "postgresql_kind", "postgresql_kind IN ('query', 'execute', 'function_call')", "postgresql_error_severity || ': ' || postgresql_error_message",
		[]string{"postgresql_error_message", "postgresql_error_detail"}, "postgresql_error_code = '53300'"},
	{"mysql", "mysql_command", "mysql_command IN ('COM_QUERY', 'COM_STMT_EXECUTE', 'COM_STMT_BULK_EXECUTE')", "'ERROR ' || mysql_error_code || ': ' || mysql_error_message",
		[]string{"mysql_error_message"}, "mysql_error_code IN (1040, 1203, 1226)"},
	{"mongodb", "mongodb_command", "lower(mongodb_command) NOT IN ('hello', 'ismaster', 'ping', 'buildinfo', 'saslstart', 'saslcontinue', 'authenticate', 'getnonce', 'endsessions', 'logout')",
		"coalesce(mongodb_error_code_name || ': ', '') || mongodb_error_message", []string{"mongodb_error_message"}, "false"},
	{"cassandra", "cassandra_opcode", "cassandra_opcode IN ('QUERY', 'EXECUTE', 'BATCH')",
		"cassandra_error_code_name || ': ' || cassandra_error_message", []string{"cassandra_error_message"}, "cassandra_error_code = 4097"},
}

// Has reports whether a protocol is one of a database.
func Has(protocol string) bool {
	return slices.ContainsFunc(Databases[:], func(d Database) bool { return d.Protocol == protocol })
}

// Column is the column with a part of a call: query, params, columns, preview, rows, user or
// application.
func (d Database) Column(part string) string { return d.Protocol + "_" + part }

// Of returns the database and the part of a column, if it is one of the parts.
func Of(column string) (d Database, part string, ok bool) {
	for _, d := range Databases {
		if part, ok := strings.CutPrefix(column, d.Protocol+"_"); ok {
			return d, part, true
		}
	}
	return d, "", false
}

func join(separator string, each func(Database) string) string {
	var list []string
	for _, d := range Databases {
		list = append(list, each(d))
	}
	return strings.Join(list, separator)
}

// Part is the SQL for a part of a call of any database; alias is empty or ends with a point.
func Part(alias, part string) string {
	return "coalesce(" + join(", ", func(d Database) string { return alias + d.Column(part) }) + ")"
}

// Columns lists the columns with these parts of all databases, for a SELECT.
func Columns(parts ...string) string {
	return join(", ", func(d Database) string {
		var list []string
		for _, p := range parts {
			list = append(list, d.Column(p))
		}
		return strings.Join(list, ", ")
	})
}

// Find is the database of a protocol.
func Find(protocol string) (d Database) {
	for _, d := range Databases {
		if d.Protocol == protocol {
			return d
		}
	}
	return d
}

// Kinds lists the columns that say what a call is.
var Kinds = join(", ", func(d Database) string { return d.Kind })

// Names lists the columns with a part.
func Names(part string) (list []string) {
	for _, d := range Databases {
		list = append(list, d.Column(part))
	}
	return list
}

// Protocols lists the protocols for SQL IN, without brackets.
var Protocols = join(", ", func(d Database) string { return "'" + d.Protocol + "'" })

// IsStatement is the condition that a call is one of a database.
var IsStatement = "protocol IN (" + Protocols + ")"

// Executed is the condition that a call executed something, if it is one of a database: preparing
// a statement and starting a connection do not.
var Executed = "(CASE protocol " + join(" ", func(d Database) string { return "WHEN '" + d.Protocol + "' THEN coalesce(" + d.Executed + ", true)" }) + " ELSE true END)"

// TooMany is the condition that a server refused a connection because it has too many.
var TooMany = join(" OR ", func(d Database) string { return "protocol = '" + d.Protocol + "' AND " + d.TooMany })

// Error is the SQL for the text of an error; alias is empty or ends with a point.
func Error(alias string) string {
	return join(", ", func(d Database) string {
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

// Contents is the SQL for how package redact reads the summary of a call.
var Contents = "CASE WHEN " + IsStatement + " THEN 'sql' WHEN protocol = 'redis' THEN 'command' ELSE 'plain' END"
