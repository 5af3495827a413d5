package acceptance

import "strings"

// storesFacts are the facts of data stores that are not relational. The peer counts messages; a row is
// a request with its reply.
func storesFacts() []fact {
	const from = " from {calls} where protocol = "
	return []fact{
		{name: "mongodb_collections", truth: "mongo_collections", fold: func(v string) string { return strings.TrimSuffix(v, ".$cmd") },
			sql: "select case when mongodb_command <> 'find' then mongodb_database else mongodb_database || '.' || mongodb_collection end, count(*)" + from + "'mongodb' and mongodb_opcode like 'OP_QUERY' and request_bytes > 0 group by 1"},
	}
}
