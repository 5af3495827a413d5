package acceptance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// mysqlFacts are the facts of MySQL. The peer numbers commands, and cuts queries at 200 characters.
func mysqlFacts() []fact {
	const from = " from {calls} where protocol = 'mysql' and "
	return []fact{
		{name: "mysql_commands", truth: "mysql_commands", fold: mysqlCommand, sql: "select mysql_command, count(*)" + from + "mysql_command like 'COM%' group by 1"},
		{name: "mysql_queries", truth: "mysql_queries", sql: "select left(mysql_query, 200), count(*)" + from + "mysql_command in ('COM_QUERY', 'COM_STMT_PREPARE') group by 1"},
		{name: "mysql_errors", truth: "mysql_errors", sql: "select mysql_error_code, count(*)" + from + "mysql_error_code is not null group by 1"},
	}
}

// mysqlNames are the names of commands by their numbers.
var mysqlNames = sync.OnceValue(func() map[string]string {
	b, err := os.ReadFile(filepath.Join("..", "..", "exporter", "dissect", "mysql", "names.txt"))
	if err != nil {
		panic(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if number, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "COM_") {
			all[number] = name
		}
	}
	return all
})

// mysqlCommand converts the peer's number of a command to its name.
func mysqlCommand(v string) string {
	if _, err := strconv.Atoi(v); err != nil || mysqlNames()[v] == "" {
		return "command " + v
	}
	return mysqlNames()[v]
}
