package acceptance

// postgresqlFacts are the facts of PostgreSQL. The peer counts Query and Parse messages, while rows
// are executions: a named statement counts once per connection.
func postgresqlFacts() []fact {
	const from = " from {calls} where protocol = 'postgresql' and "
	return []fact{
		{name: "postgresql_queries", truth: "pgsql_queries", sql: `select left(q, 200), count(*) from (
			select string_agg(postgresql_query, ' ' order by ordinal) q` + from + `postgresql_kind = 'query' and postgresql_query is not null
				group by conn_id, ordinal - coalesce(postgresql_query_part, 0)
			union all select postgresql_query` + from + `postgresql_kind = 'execute' and postgresql_statement is null and postgresql_query is not null
			union all select distinct_query from (select distinct conn_id, postgresql_statement, postgresql_query distinct_query` + from +
			`postgresql_statement is not null and postgresql_query is not null)) where q <> '' group by 1`},
		{name: "postgresql_error_codes", truth: "pgsql_error_codes", sql: `select code, count(*) from (
			select postgresql_error_code code` + from + `postgresql_error_code is not null
			union all select left(unnest(postgresql_notices), 5)` + from + `len(postgresql_notices) > 0) group by 1`},
		{name: "postgresql_messages", truth: "pgsql_types", fold: postgresqlMessage, sql: `select postgresql_kind, count(*)` + from +
			`postgresql_kind in ('startup', 'ssl_request', 'gssenc_request', 'cancel_request', 'execute', 'notification')
			and error is distinct from 'no_request' group by 1`},
	}
}

// postgresqlMessage converts the peer's name of a message that is one row to ours.
func postgresqlMessage(v string) string {
	switch v {
	case "Startup message":
		return "startup"
	case "SSL request":
		return "ssl_request"
	case "GSS encrypt request":
		return "gssenc_request"
	case "Cancel request":
		return "cancel_request"
	case "Execute":
		return "execute"
	case "Notification":
		return "notification"
	}
	return ""
}
