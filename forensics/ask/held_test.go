package ask

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// bundleOfShop exports the shop sample.
func bundleOfShop(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "t.pcapsule")
	if _, err := exporter.Run(t.Context(), []string{filepath.Join("..", "..", "samples", "shop.pcapng")}, dir, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	return dir
}

const heldColumns = `call_no, call_id, ts_ns, protocol, method, path, host, endpoint, src_id, src_who, dst_id, dst_who`

func TestLoadedCallsGiveTheSameAnswers(t *testing.T) {
	ctx := context.Background()
	c, err := forensics.Open(ctx, []string{bundleOfShop(t)}, forensics.Options{MaskSecrets: true, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range []struct {
		name  string
		most  int64
		where string
		held  bool
	}{
		{"all calls", maxCallTable, "true", true},
		{"some calls", maxCallTable, "protocol = ?", true},
		{"no call", maxCallTable, "false", true},
		{"more calls than the limit", 2, "true", false},
	} {
		var args []any
		if x.where == "protocol = ?" {
			args = []any{"http1"}
		}
		rows, err := loadUpTo(ctx, c, x.most, heldColumns, x.where, args)
		if err != nil {
			t.Fatal(err)
		}
		if rows.InMemory != x.held {
			t.Errorf("%s: held %v, want %v", x.name, rows.InMemory, x.held)
		}
		type row struct {
			Endpoint string `json:"endpoint"`
			Src      string `json:"src"`
			N        int64  `json:"n"`
		}
		ask := func(c *forensics.Case, sql string, args []any) []row {
			list, _, err := Rows[row](ctx, c, 100, sql, args...)
			if err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			return list
		}
		const text = "SELECT %s AS endpoint, %s AS src, count(*) AS n FROM %s WHERE %s GROUP BY ALL ORDER BY ALL"
		got := ask(rows.Case, fmt.Sprintf(text, terms.Endpoint, terms.Who("src_"), rows.From, rows.Where), rows.Args)
		want := ask(c, fmt.Sprintf(text, terms.Endpoint, terms.Who("src_"), "calls", x.where), args)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", x.name, got, want)
		}
		a, _, err := rows.List(ctx, c, Cursor{No: -1}, 3)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := CallsWhere(ctx, c, 3, x.where, args...)
		if err != nil || !reflect.DeepEqual(append([]Call{}, a...), append([]Call{}, b...)) {
			t.Errorf("%s: %v, %v; want %v", x.name, a, err, b)
		}
		rows.Release()
	}
	if _, err := LoadCalls(ctx, c, "nothing", "true", nil); err == nil {
		t.Error("a missing column is loaded")
	}
}
