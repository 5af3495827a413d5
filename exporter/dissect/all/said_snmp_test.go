package all

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/snmp"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// snmpDid is a request or trap of SNMP, its user or version, and what the client learned: variables, an
// error or what a trap notified of.
func snmpDid(row table.CallRow) []string {
	r, ok := row.(*snmp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	who, result := r.Version, strings.ReplaceAll(strings.Join(r.Values, " | "), " = 1.3.6.1", " = .1.3.6.1")
	if r.Version == "3" {
		who = r.User.V
	}
	switch {
	case r.Error.OK:
		result = r.Error.V
	case r.Trap.OK:
		result = r.Trap.V
	case r.StatusText.OK && r.StatusText.V != "noError":
		result = r.StatusText.V
	case r.PDU == "encrypted":
		result = r.ResponsePDU.V
	}
	return []string{r.PDU + "\t" + who + "\t" + result}
}
