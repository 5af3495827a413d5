package statements

import "testing"

func TestSQL(t *testing.T) {
	for _, x := range []struct{ name, got, want string }{
		{"a part", Part("k.", "query"), "coalesce(k.postgresql_query, k.mysql_query, k.mongodb_query, k.cassandra_query)"},
		{"columns", Columns("query", "params"), "postgresql_query, postgresql_params, mysql_query, mysql_params, mongodb_query, mongodb_params, cassandra_query, cassandra_params"},
		{"protocols", IsStatement, "protocol IN ('postgresql', 'mysql', 'mongodb', 'cassandra')"},
		{"errors", Error("k."), "k.postgresql_error_severity || ': ' || k.postgresql_error_message, 'ERROR ' || k.mysql_error_code || ': ' || k.mysql_error_message, coalesce(k.mongodb_error_code_name || ': ', '') || k.mongodb_error_message, k.cassandra_error_code_name || ': ' || k.cassandra_error_message"},
	} {
		if x.got != x.want {
			t.Errorf("%s: %s, want %s", x.name, x.got, x.want)
		}
	}
}
