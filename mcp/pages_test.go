package mcp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// TestPagesHaveEachRowOnce follows the cursors of a question with a long list, a short one, totals,
// and a list with its own cursor, with page sizes in rows and bytes.
func TestPagesHaveEachRowOnce(t *testing.T) {
	numbers := func(from, to int) (out []string) {
		for i := from; i < to; i++ {
			out = append(out, fmt.Sprintf("%06d", i))
		}
		return out
	}
	want := map[string][]string{"long": numbers(0, 250), "short": numbers(0, 3), "sums": numbers(0, 40), "keyed": numbers(0, 111), "none": nil}
	for _, q := range []ask.Question{{Keyed: "keyed", Sums: []string{"sums"}}, {Sums: []string{"sums"}}} {
		for _, rows := range []int{1, 7, 100, maxRows} {
			for _, most := range []int{600, minBytes, maxBytes} {
				got := map[string][]string{}
				var at *pageStart
				for n := 0; ; n++ {
					p := &paging{q: q, id: "x", at: at, rows: rows, most: most}
					fields := []field{{"total", json.RawMessage("5")}}
					for _, name := range []string{"long", "short", "sums", "keyed", "none"} {
						list := want[name]
						if name == q.Keyed && q.Keyed != "" { // limited, and after its cursor
							from, limit := 0, rows
							if p.onlyKeyed() {
								from, _ = strconv.Atoi(p.at.Keyed.After)
								limit = max(rows, p.at.Keyed.Skip+1)
							}
							if to := from + limit; to < len(list) {
								fields = append(fields, field{"next_cursor", quoted(strconv.Itoa(to))})
								list = list[:to]
							}
							list = list[from:]
						}
						raw, _ := json.Marshal(append([]string{}, list...)) // strings always marshal
						fields = append(fields, field{name, raw})
					}
					var out map[string]json.RawMessage
					raw := p.page(fields)
					if err := json.Unmarshal(raw, &out); err != nil || n > 1000 {
						t.Fatalf("page %d of %d rows: %v", n, rows, err)
					}
					for name := range want {
						var list []string
						if err := json.Unmarshal(out[name], &list); err != nil {
							t.Fatal(err)
						}
						if len(list) > rows && !(n == 0 && name == "sums") {
							t.Errorf("page %d has %d rows of %s, want at most %d", n, len(list), name, rows)
						}
						got[name] = append(got[name], list...)
					}
					if out["next_cursor"] == nil {
						break
					}
					var err error
					if at, err = readPlace(out["next_cursor"], "x"); err != nil {
						t.Fatal(err)
					}
				}
				for name := range want {
					if !slices.Equal(got[name], want[name]) {
						t.Errorf("pages of %d rows and %d bytes have %d rows of %s, want %d, each once", rows, most, len(got[name]), name, len(want[name]))
					}
				}
			}
		}
	}
}
