package forensics_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

// named lists the names of the ends of all calls, and which ends connections and flows have.
func named(t *testing.T, c *forensics.Case) string {
	t.Helper()
	ends := "src_ip, src_name, src_who, src_dns_name, src_how_known, dst_ip, dst_name, dst_who, dst_dns_name, dst_how_known"
	var b strings.Builder
	for _, sql := range []string{"SELECT hex(call_id), " + ends + " FROM calls ORDER BY ALL", "SELECT DISTINCT " + ends + " FROM connections ORDER BY ALL", "SELECT DISTINCT " + ends + " FROM flows ORDER BY ALL"} {
		for _, row := range query(t, c, forensics.Query{SQL: sql, Limit: 1 << 20}).Rows {
			fmt.Fprintln(&b, row...)
		}
	}
	return b.String()
}

// TestAddressesHaveTheNamesOfOtherBundles splits a recording without a list of objects, whose addresses only DNS answers
// name. A bundle may lack the answer, and the beginning of a connection that is older than it.
func TestAddressesHaveTheNamesOfOtherBundles(t *testing.T) {
	capture, err := filepath.Abs(filepath.Join("..", "samples", "shop.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	all := open(t, window(t, capture, 0, 0))
	want := named(t, all)
	first, last, _ := all.Window()
	for _, cut := range [][2]int64{{30, 60}, {50, 80}} {
		at := func(percent int64) int64 { return first + (last-first)/100*percent }
		a, b := window(t, capture, 0, at(cut[1])), window(t, capture, at(cut[0]), 0)
		for _, paths := range [][]string{{a, b}, {b, a}} {
			if got := named(t, open(t, paths...)); got != want {
				t.Errorf("in halves at %d: %s", cut, diff(got, want))
			}
		}
	}
}
