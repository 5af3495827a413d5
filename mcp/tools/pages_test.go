package tools

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/mcp/object"
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
		for _, rows := range []int{1, 7, 100, MaxRows} {
			for _, most := range []int{600, MinBytes, MaxBytes} {
				got := map[string][]string{}
				var at *pageStart
				for n := 0; ; n++ {
					p := &paging{q: q, id: "x", at: at, rows: rows, most: most}
					fields := []object.Field{{Name: "total", Value: json.RawMessage("5")}}
					for _, name := range []string{"long", "short", "sums", "keyed", "none"} {
						list := want[name]
						if name == q.Keyed && q.Keyed != "" { // limited, and after its cursor
							from, limit := 0, rows
							if p.onlyKeyed() {
								from, _ = strconv.Atoi(p.at.Keyed.After)
								limit = max(rows, p.at.Keyed.Skip+1)
							}
							if to := from + limit; to < len(list) {
								fields = append(fields, object.Field{Name: "next_cursor", Value: object.Quoted(strconv.Itoa(to))})
								list = list[:to]
							}
							list = list[from:]
						}
						raw, _ := json.Marshal(append([]string{}, list...)) // strings always marshal
						fields = append(fields, object.Field{Name: name, Value: raw})
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

func FuzzPages(f *testing.F) {
	f.Add(`"eyJxIjoieCIsIm8iOnsiYSI6MX19"`)
	f.Add(`"eyJxIjoieCIsImsiOnsibiI6MX19"`)
	f.Add(`"x"`)
	f.Add(`5`)
	f.Fuzz(func(t *testing.T, cursor string) {
		at, err := readPlace(json.RawMessage(cursor), "x")
		if at != nil && err != nil {
			t.Errorf("%v and %v", at, err)
		}
		p := &paging{q: ask.Question{Keyed: "c"}, id: "x", at: at, rows: 2, most: MinBytes}
		raw := p.page(object.Fields(json.RawMessage(`{"a":[1,2,3],"b":[4],"c":[5,6,7],"next_cursor":"y","truncated":true,"notes":["n"]}`)))
		if !json.Valid(raw) {
			t.Errorf("not JSON: %s", raw)
		}
	})
}
