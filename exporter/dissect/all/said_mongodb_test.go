package all

import (
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect/mongodb"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// mongoDid is what a row of MongoDB says in the client's terms.
func mongoDid(row table.CallRow) []string {
	r, ok := row.(*mongodb.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	result := "ok"
	switch command := r.Command.V; {
	case slices.Contains([]string{"isMaster", "hello", "endSessions"}, command):
		return nil
	case r.Errors > 0:
		result = fmt.Sprintf("error %d", r.ErrCode.V)
	case r.ResponseBytes == 0 && r.Complete:
		result = "unacknowledged"
	case r.Rows.OK:
		result = fmt.Sprintf("%d documents", r.Rows.V)
	case r.Modified.OK:
		result += fmt.Sprintf(" %d, %d modified", r.Affected.V, r.Modified.V)
	case r.Affected.OK:
		result += fmt.Sprintf(" %d", r.Affected.V)
	}
	return []string{r.Command.V + "\t" + r.Path.V + "\t" + result}
}
