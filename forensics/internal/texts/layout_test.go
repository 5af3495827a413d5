package texts

import (
	"strings"
	"testing"
)

// TestWhatIsWrongWithAColumnMattersWhereItIsRead keeps chunks that cannot be read, so that
// nothing is passed over in silence, and other columns can be.
func TestWhatIsWrongWithAColumnMattersWhereItIsRead(t *testing.T) {
	for name, row := range map[string]struct {
		m    meta
		want string // "": it is kept; "none": it has no values
	}{
		"one of ours":              {meta{codec: codecZstd, values: 10, nulls: 3, raw: 100, size: 50, data: 4}, ""},
		"one that says 0 bytes":    {meta{codec: codecZstd, values: 10, nulls: 3, raw: 0, size: 50, data: 4}, ""},
		"all null":                 {meta{codec: codecZstd, values: 10, nulls: 10, raw: 100, size: 50, data: 4}, "none"},
		"very many values":         {meta{codec: codecZstd, values: maxValues + 1, nulls: -1, raw: 100, size: 50, data: 4}, "the limit is"},
		"more nulls than values":   {meta{codec: codecZstd, values: 10, nulls: 11, raw: 100, size: 50, data: 4}, "11 nulls"},
		"behind the end":           {meta{codec: codecZstd, values: 10, raw: 100, size: 50, data: 960}, "outside the file"},
		"before the beginning":     {meta{codec: codecZstd, values: 10, raw: 100, size: 50, data: -1}, "outside the file"},
		"of no bytes":              {meta{codec: codecZstd, values: 10, raw: 100, size: 0, data: 4}, "outside the file"},
		"a dictionary and no data": {meta{codec: codecZstd, values: 10, raw: 100, size: 50, dict: 4, data: 54}, "outside the file"},
		"another compression":      {meta{codec: 1, values: 10, raw: 100, size: 50, data: 4}, "compression 1"},
	} {
		p := &part{name: "p", names: map[string]int{"a": 0}, leaves: []leaf{{typ: typeBytes}}, size: 1000}
		var g group
		p.keep(&g, chunk{}, &row.m)
		if len(g.chunks) == 0 {
			if row.want != "none" {
				t.Errorf("%s: it is not kept", name)
			}
			continue
		}
		c := &g.chunks[0]
		if c.raw <= 0 {
			t.Errorf("%s: it would not be looked at", name)
		}
		if row.want == "" {
			if c.values != 10 {
				t.Errorf("%s: %+v", name, c)
			}
			continue
		}
		err := (&reader{p: p}).begin(&column{}, c)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", name, err, row.want)
		}
	}
}
