package bundle

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// OpenSQL is the text of data/open.sql: a view for every table and for the calls of each protocol, with paths relative to
// data/, where DuckDB must be started.
func OpenSQL(schemas []*table.Schema, protocols []string) string {
	return "-- Opens this bundle with DuckDB alone. Run it in the folder that holds this file:\n" +
		"--   duckdb -init open.sql\n" + views(schemas, protocols)
}

// views is the SQL that makes a view for every table, and one for the calls of each protocol with the protocol's own columns.
// A table with src_id and dst_id is joined with both endpoints; their columns have the
// prefix src_ or dst_, and the table without the join is NAME_raw. A table with ts_ns also gets
// ts_exact, the same time as TIMESTAMP_NS.
func views(schemas []*table.Schema, protocols []string) string {
	var ends, calls *table.Schema
	flows := false
	for _, s := range schemas {
		switch s.Name {
		case "endpoints":
			ends = s
		case "flows":
			flows = true
		case "calls":
			calls = s
		}
	}
	var b strings.Builder
	for _, s := range schemas {
		from := partsOf(s.Name)
		if turn := Turn(s.Name, partsOf("flows")); turn != "" && flows {
			from = "(SELECT *" + turn + " FROM " + from + ")"
		}
		writeView(&b, s.Name, s, ends, from)
	}
	for _, protocol := range protocols {
		if calls != nil {
			writeView(&b, protocol, calls, ends, partsOf("calls/protocol="+protocol))
		}
	}
	return b.String()
}

// partsOf is the SQL that reads the parts of a table. Table calls has the columns of its part without rows, which is named
// first and so read twice.
func partsOf(name string) string {
	if name == "calls" {
		return "read_parquet(['tables/calls/part-000.parquet', 'tables/calls/**/*.parquet'], hive_partitioning=false)"
	}
	return "read_parquet(" + quote.SQL("tables/"+name+"/*.parquet") + ", hive_partitioning=false)"
}

// plainName reports whether SQL needs no quotes around a name.
func plainName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" && (s[0] < '0' || s[0] > '9')
}

// writeView writes the views of a table that has at least the columns of s.
func writeView(b *strings.Builder, name string, s, ends *table.Schema, from string) {
	exact := ""
	if s.Column("ts_ns") != nil {
		exact = ", make_timestamp_ns(t.ts_ns) AS ts_exact"
	}
	if ends == nil || s.Column("src_id") == nil || s.Column("dst_id") == nil {
		fmt.Fprintf(b, "CREATE OR REPLACE VIEW %s AS SELECT t.*%s FROM %s t;\n", name, exact, from)
		return
	}
	fmt.Fprintf(b, "CREATE OR REPLACE VIEW %s_raw AS SELECT * FROM %s;\n", name, from)
	fmt.Fprintf(b, "CREATE OR REPLACE VIEW %s AS SELECT t.*%s%s%s FROM %s t\n"+
		"  LEFT JOIN %s s ON s.endpoint_id = t.src_id\n"+
		"  LEFT JOIN %[6]s d ON d.endpoint_id = t.dst_id;\n",
		name, exact, endColumns(s, ends, "s", "src_"), endColumns(s, ends, "d", "dst_"), from, partsOf("endpoints"))
}

// TurnedFlows is the counter of flows with client and server swapped by content.
const TurnedFlows = "turned"

// Turn is the SQL after SELECT * that gives the rows of a table the direction that content
// revealed later, or empty if the table has no direction. flows is the source of table flows. No
// other code reads flows.turned.
func Turn(table, flows string) string {
	const turned = " REPLACE (CASE WHEN flow_id IN (SELECT flow_id FROM %s WHERE turned) THEN %s ELSE %s END AS %[3]s)"
	switch table {
	case "packets":
		return fmt.Sprintf(turned, flows, "xor(flags, 256)", "flags")
	case "tcp_events":
		return fmt.Sprintf(turned, flows, "CASE side WHEN 'client' THEN 'server' ELSE 'client' END", "side")
	}
	return ""
}

// endColumns are the endpoint's columns under their prefix, except those that the table has
// itself, such as src_ip.
func endColumns(s, ends *table.Schema, alias, prefix string) string {
	var b strings.Builder
	for _, c := range ends.Columns {
		if name := prefix + c.Name; c.Name != "endpoint_id" && s.Column(name) == nil {
			fmt.Fprintf(&b, ", %s.%s AS %s", alias, quote.Ident(c.Name), quote.Ident(name))
		}
	}
	return b.String()
}
