package acceptance

import "strings"

// storesFacts are the facts of data stores that are not relational. The peer counts messages; a row is
// a request with its reply.
func storesFacts() []fact {
	const from = " from {calls} where protocol = "
	return []fact{
		{name: "mongodb_collections", truth: "mongo_collections", fold: func(v string) string { return strings.TrimSuffix(v, ".$cmd") },
			sql: "select case when mongodb_command <> 'find' then mongodb_database else mongodb_database || '.' || mongodb_collection end, count(*)" + from + "'mongodb' and mongodb_opcode like 'OP_QUERY' and request_bytes > 0 group by 1"},
		{name: "cassandra_opcodes", truth: "cql_opcodes", fold: cqlOpcode,
			sql: "select o, count(*) from (select unnest([cassandra_opcode, if(cassandra_error_code is not null, 'ERROR', null)]) as o from {calls} where protocol = 'cassandra') where o is not null group by 1"},
		// The peer reads no commands in UDP. Binary messages of both sides have an opcode; a statistic is a message of its own.
		{name: "memcached_commands", truth: "memcache_commands", fold: memcacheCommand,
			sql: "select memcached_command, count(*)" + from + "'memcached' and transport = 'tcp' and memcached_form <> 'binary' and request_bytes > 0 group by 1"},
		{name: "memcached_opcodes", truth: "memcache_opcodes", fold: func(v string) string { return peerName(v, "memcached opcode") },
			sql: `select memcached_command, sum(if(request_bytes > 0, 1, 0) + if(response_bytes = 0, 0, if(memcached_command = 'stat', memcached_items + 1, 1)))` +
				from + "'memcached' and transport = 'tcp' and memcached_form = 'binary' group by 1"},
	}
}

// cqlOpcode converts the peer's number of an opcode to its name, if it is one of a request, an event or an
// error: a row has no opcode of other responses.
func cqlOpcode(v string) string {
	switch name := peerName(v, "cassandra opcode"); {
	case name == "EVENT", name == "ERROR", name == peerName(v, "cassandra request"):
		return name
	}
	return ""
}

// memcacheCommand drops the words of replies, which are in capitals.
func memcacheCommand(v string) string {
	if v == strings.ToUpper(v) {
		return ""
	}
	return v
}
