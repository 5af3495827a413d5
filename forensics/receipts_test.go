package forensics_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

// TestReceipts names the columns of table receipts in queries of calls: by KFL and SQL, of a table and of a protocol, masked
// and not, of one bundle and of several.
func TestReceipts(t *testing.T) {
	one := sample(t, "http1.pcapng")
	for _, paths := range [][]string{{one}, {one, sample(t, "shop.pcapng")}} {
		for _, mask := range []bool{false, true} {
			c, err := forensics.Open(context.Background(), paths, forensics.Options{MaskSecrets: mask})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			count := func(sql string) string {
				t.Helper()
				rows := query(t, c, forensics.Query{SQL: sql}).Rows
				return strings.Trim(fmt.Sprint(rows), "[]")
			}
			all := count("SELECT count(*) FROM calls_raw")
			yes := count("SELECT count(*) FROM receipts_raw WHERE response_delivered = 'yes'")
			if yes == "0" {
				t.Fatal("the samples have no acknowledged response")
			}
			for _, x := range []struct{ sql, want string }{
				{"SELECT count(*) FROM calls WHERE response_delivered = 'yes'", yes},
				{"SELECT count(*) FROM main.calls WHERE response_delivered = 'yes' AND src_name IS NOT NULL", yes},
				{"SELECT count(*) FROM calls_raw WHERE response_ack IS NOT NULL AND response_bytes > 0", yes},
				{"SELECT count(*) FROM (SELECT call_no, response_delivered, dst_name FROM calls)", all},
				{"SELECT count(*) FROM calls WHERE response_delivered IS NULL AND response_bytes > 0", "0"},
				{"SELECT count(*) FROM calls WHERE response_delivered IS NOT NULL AND response_bytes = 0", "0"},
				{"SELECT count(*) FROM http1 h JOIN (SELECT * FROM receipts_raw) r ON r.call_no = h.call_no WHERE h.response_ack <> r.response_ack AND " + fmt.Sprint(len(paths) == 1), "0"},
			} {
				if got := count(x.sql); got != x.want {
					t.Errorf("%d bundles, masked %v: %s: %s, want %s", len(paths), mask, x.sql, got, x.want)
				}
			}
			kfl := query(t, c, forensics.Query{KFL: `response_delivered == "yes"`, Limit: 10000})
			if got := fmt.Sprint(len(kfl.Rows)); got != yes {
				t.Errorf("KFL: %s calls, want %s", got, yes)
			}
			if res := query(t, c, forensics.Query{SQL: "SELECT * FROM calls LIMIT 1"}); strings.Contains(fmt.Sprint(res.Columns), "response_delivered") {
				t.Error("SELECT * has columns of table receipts")
			}
		}
	}
	c := open(t, one)
	x, err := c.Call(context.Background(), "#0", forensics.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(x.Delivery, "request yes (") || !strings.Contains(x.Delivery, "; response yes (") || !strings.Contains(x.Delivery, "frame") {
		t.Errorf("delivery of the first call: %q", x.Delivery)
	}
}
