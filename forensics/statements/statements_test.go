package statements

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

func TestSQL(t *testing.T) {
	for _, x := range []struct{ name, got, want string }{
		{"a part", Part("k.", "query"), "coalesce(k.postgresql_query, k.mysql_query, k.mongodb_query, k.cassandra_query, k.tds_query, k.clickhouse_query)"},
		{"columns", Columns("query", "params"), "postgresql_query, postgresql_params, mysql_query, mysql_params, mongodb_query, mongodb_params, cassandra_query, cassandra_params, tds_query, tds_params, clickhouse_query, clickhouse_params"},
		{"protocols", IsStatement, "(protocol IN ('postgresql', 'mysql', 'mongodb', 'cassandra', 'tds', 'clickhouse') OR clickhouse_kind IS NOT NULL)"},
		{"errors", Error("k."), "k.postgresql_error_severity || ': ' || k.postgresql_error_message, 'ERROR ' || k.mysql_error_code || ': ' || k.mysql_error_message, coalesce(k.mongodb_error_code_name || ': ', '') || k.mongodb_error_message, k.cassandra_error_code_name || ': ' || k.cassandra_error_message, 'ERROR ' || k.tds_error_code || ': ' || k.tds_error_message, k.clickhouse_error_code_name || ': ' || k.clickhouse_error_message"},
	} {
		if x.got != x.want {
			t.Errorf("%s: %s, want %s", x.name, x.got, x.want)
		}
	}
}

// TestEveryDatabaseHasTheColumns lists the columns that questions expect of every database.
func TestEveryDatabaseHasTheColumns(t *testing.T) {
	have := map[string]bool{}
	for _, c := range table.ProtocolColumns() {
		have[c.Name] = true
	}
	for _, d := range Databases {
		for _, part := range []string{"query", "params", "error_code", "rows", "user"} {
			if name := d.Column(part); !have[name] {
				t.Errorf("%s has no column %s", d.Protocol, name)
			}
		}
	}
}
