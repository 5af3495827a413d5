package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/clickhouse"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// clickhouseDid is a statement with its rows or error, a ping, or a refused login.
func clickhouseDid(row table.CallRow) []string {
	r, ok := row.(*clickhouse.Row)
	result := "0 rows"
	switch {
	case !ok:
		return []string{"another protocol: " + row.Base().Summary}
	case r.ErrCode.OK:
		result = fmt.Sprintf("error %d", r.ErrCode.V)
	case r.Inserted.OK || r.Kind.V == "PING":
		result = "ok"
	case r.Rows.OK:
		result = fmt.Sprintf("%d rows", r.Rows.V)
	}
	switch r.Kind.V {
	case "HELLO":
		if !r.ErrCode.OK {
			return nil
		}
		return []string{"HELLO\t" + r.User.V + "\t" + result}
	case "PING":
		return []string{"PING\t\t" + result}
	}
	if r.ErrCode.V == 101 { // the second answer to a statement that failed: to the empty block after it
		return nil
	}
	return []string{r.Method.V + "\t" + strings.ReplaceAll(r.SQL.V, "\n", " ") + "\t" + result}
}
