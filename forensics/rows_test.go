package forensics_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

// TestRowsAreThoseOfSQL compares columns of every type, and their bounds, with SQL.
func TestRowsAreThoseOfSQL(t *testing.T) {
	columns := []string{"ts_ns", "call_no", "elapsed_us", "clock_id", "src_id", "failed", "complete", "protocol", "error", "call_id", "request_body_sha256", "path", "status_code", "summary", "host"}
	for _, names := range [][]string{{"shop.pcapng"}, {"http1.pcapng"}, {"dns.pcap"}, {"postgresql.pcapng", "redis.pcap"}, {"tls.pcapng"}} {
		var paths []string
		for _, name := range names {
			paths = append(paths, sample(t, name))
		}
		c := open(t, paths...)
		want := map[string]bool{}
		for _, column := range columns {
			bundle := "0"
			if len(paths) > 1 {
				bundle = "bundle"
			}
			for _, row := range query(t, c, forensics.Query{SQL: fmt.Sprintf("SELECT %s, call_no, %s FROM calls_raw", bundle, column), Limit: 1 << 20}).Rows {
				want[fmt.Sprintf("%v %v %s %v", row[0], row[1], column, row[2])] = true
			}
		}
		rows, err := c.Rows(t.Context(), "calls")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time reads from the cache
			n := 0
			err = rows.Each(ctx, func(bundle int, g *forensics.RowGroup) error {
				no, err := g.Column("call_no")
				if err != nil {
					return err
				}
				for _, name := range columns {
					n += compareColumn(t, g, bundle, no, name, want)
				}
				return nil
			})
			if err != nil || n != len(want) {
				t.Errorf("%v: %d values, SQL has %d: %v", names, n, len(want), err)
			}
		}
	}
}

// compareColumn looks up each value of a column in the result of SQL.
func compareColumn(t *testing.T, g *forensics.RowGroup, bundle int, no *forensics.RowColumn, name string, want map[string]bool) int {
	t.Helper()
	col, err := g.Column(name)
	if err != nil {
		t.Fatal(err)
	}
	low, high, nulls, ok := g.Bounds(name)
	for row := range g.Rows {
		n, _ := no.Number(row)
		v := any(nil)
		if text := col.Text(row); text != nil && (name == "call_id" || name == "request_body_sha256") {
			v = text
		} else if text != nil {
			v = string(text)
		} else if x, there := col.Number(row); there {
			if v = x; name == "failed" || name == "complete" {
				v = x != 0
			} else if ok && (x < low || x > high) {
				t.Errorf("%s: %d is not from %d to %d", name, x, low, high)
			}
		} else if !nulls {
			t.Errorf("%s: an unexpected null", name)
		}
		if line := fmt.Sprintf("%d %d %s %v", bundle, n, name, v); !want[line] {
			t.Errorf("SQL has no %s", line)
			return 0
		}
	}
	return g.Rows
}

func TestRowsOfNothing(t *testing.T) {
	c := open(t, sample(t, "dns.pcap"))
	rows, err := c.Rows(t.Context(), "calls")
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	err = rows.Each(ctx, func(_ int, g *forensics.RowGroup) error {
		col, err := g.Column("nowhere")
		if err != nil {
			return err
		}
		if _, there := col.Number(0); there || col.Text(0) != nil {
			t.Error("a value of a column that is not there")
		}
		if low, high, nulls, ok := g.Bounds("nowhere"); low <= high || !nulls || !ok {
			t.Errorf("bounds of a column that is not there: %d to %d", low, high)
		}
		if g.From == math.MinInt64 || g.From > g.To {
			t.Errorf("times from %d to %d", g.From, g.To)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("%v, want the error of do", err)
	}
}
