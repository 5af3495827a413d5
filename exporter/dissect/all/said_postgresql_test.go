package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/postgresql"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// replicationDid is a replicated transaction with its changes and its end, or a stream with what the
// client confirmed. Other statements were not noted.
func replicationDid(row table.CallRow) []string {
	r, ok := row.(*postgresql.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	method := r.Method.V
	switch {
	case r.Kind == "replication" && method == "MESSAGE":
		return []string{"MESSAGE\t" + r.Channel.V + "\t" + r.To.V}
	case r.Kind == "replication":
		return []string{fmt.Sprintf("%s\t%d %s\t+%d ~%d -%d 0:%d %s", method, r.XID.V, strings.Join(r.Tables, ","), r.Inserts.V, r.Updates.V, r.Deletes.V, r.Truncates.V, r.To.V)}
	case method == "START_REPLICATION" && r.ErrCode.OK:
		return []string{"START_REPLICATION\torders_slot\t" + r.ErrCode.V}
	case method == "START_REPLICATION":
		return []string{"START_REPLICATION\t" + r.Slot.V + "\tconfirmed " + r.Flushed.V}
	}
	return nil
}
