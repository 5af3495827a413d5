package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/cassandra"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// cqlDid is what a row of Cassandra says in the client's terms. What the driver does on its own, such as
// preparing and reading the schema, is not noted.
func cqlDid(row table.CallRow) []string {
	r, ok := row.(*cassandra.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	action, object, result := r.Method.V, r.CQL.V, "ok"
	switch {
	case r.ErrName.OK:
		result = r.ErrName.V
	case r.Rows.OK:
		result = fmt.Sprintf("%d rows", r.Rows.V)
	case !r.Complete:
		result = "incomplete"
	}
	switch {
	case r.Opcode.V == "BATCH":
		object = fmt.Sprintf("%d statements", r.Statements.V)
	case r.Opcode.V == "AUTH_RESPONSE":
		action, object = "AUTH", r.User.V
	case r.Opcode.V != "QUERY" && r.Opcode.V != "EXECUTE" || strings.Contains(object, "system"):
		return nil
	}
	return []string{action + "\t" + object + "\t" + result}
}
