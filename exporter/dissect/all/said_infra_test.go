package all

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/ldap"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ldapDid is what a row says in the terms of a client of LDAP: the operation, its object, its result
// and the number of entries.
func ldapDid(row table.CallRow) []string {
	r, ok := row.(*ldap.Row)
	if !ok {
		return nil // TLS
	}
	entries := ""
	if r.Entries.OK {
		entries = fmt.Sprintf(" %d", r.Entries.V)
	}
	return []string{r.Method.V + "\t" + r.Path.V + "\t" + r.StatusText.V + entries}
}
