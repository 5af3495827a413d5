package all

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/ssdp"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ssdpDid is an announcement, a search or a response: what it is about, and where the device describes itself.
func ssdpDid(row table.CallRow) []string {
	r, ok := row.(*ssdp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	return []string{r.Method.V + "\t" + strings.TrimSpace(r.Kind.V+" "+r.Target.V) + "\t" + strings.TrimLeft(r.USN.V+" "+r.Location.V, " ")}
}
