package all

import (
	"cmp"

	"github.com/pcapsule/pcapsule/exporter/dissect/jsonrpc"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// jsonrpcDid is a message with its version and result.
func jsonrpcDid(row table.CallRow) []string {
	r, ok := row.(*jsonrpc.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	return []string{r.Call.Method.V + "\t" + r.Version.V + "\t" + cmp.Or(r.StatusText.V, "ok")}
}
