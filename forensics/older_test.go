package forensics_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/internal/older"
)

// TestOlderColumnsAreLikeTheNew compares what views make for bundles of earlier releases with
// what bundles have today. docs/format/calls.md says what is coarser: which calls the end of the
// capture cut is not known, and other rules were coarser.
func TestOlderColumnsAreLikeTheNew(t *testing.T) {
	for _, name := range []string{"shop.pcapng", "http1.pcapng", "dns.pcap", "redis.pcap", "postgresql.pcapng", "grpc.pcapng"} {
		c, err := forensics.Open(context.Background(), []string{sample(t, name)}, forensics.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct{ Table, Column, SQL string }{{"calls", "outcome", older.Outcome}, {"calls", "endpoint", older.Endpoint}, {"endpoints", "who", older.Who}} {
			r := query(t, c, forensics.Query{SQL: fmt.Sprintf(`SELECT count(*), count(*) FILTER (%[1]s IS NOT DISTINCT FROM older), any_value(older) FILTER (%[1]s IS DISTINCT FROM older), any_value(%[1]s) FILTER (%[1]s IS DISTINCT FROM older)
				FROM (SELECT *, %[2]s AS older FROM %[3]s_raw WHERE %[1]s <> 'cut')`, x.Column, x.SQL, x.Table)})
			rows, same := r.Rows[0][0].(int64), r.Rows[0][1].(int64)
			if same < rows*3/4 {
				t.Errorf("%s, %s: %d of %d are equal, and %v is %v", name, x.Column, same, rows, r.Rows[0][3], r.Rows[0][2])
			}
		}
		c.Close()
	}
}
