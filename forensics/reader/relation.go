package reader

import (
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/exporter/tables"
	"github.com/pcapsule/pcapsule/forensics"
)

// relation is a table, or the calls of one protocol. A column is read when a question first needs it.
type relation struct {
	tables.Table
	rows    int
	columns map[string][]any
}

// relations reads what a bundle has of a table.
func relations(b *bundle.Bundle, name, key string) ([]*relation, error) {
	list, err := tables.Of(b, name)
	if err != nil {
		return nil, err
	}
	var out []*relation
	for _, t := range list {
		r := &relation{Table: t, columns: map[string][]any{}}
		if err := r.load(key); err != nil {
			return nil, err
		}
		r.rows = len(r.columns[key])
		out = append(out, r)
	}
	return out, nil
}

// load reads columns that are not yet read. Those that the table lacks have no values.
func (r *relation) load(names ...string) error {
	var want []string
	var times []bool
	for _, c := range r.Columns { // the order of rows
		if slices.Contains(names, c.Name) && r.columns[c.Name] == nil {
			want, times = append(want, c.Name), append(times, c.Kind == table.Timestamp)
		}
	}
	if len(want) == 0 {
		return nil
	}
	got := make([][]any, len(want))
	same := make([]map[string]any, len(want))
	for i := range got {
		got[i], same[i] = make([]any, 0, r.rows), map[string]any{}
	}
	err := r.Each(want, func(row []any) error {
		for i, v := range row {
			v = valueOf(v)
			if us, ok := v.(int64); ok && times[i] {
				v = time.UnixMicro(us).UTC()
			}
			if s, ok := v.(string); ok { // columns repeat texts
				if known, ok := same[i][s]; ok {
					v = known
				} else if len(same[i]) < maxSame {
					same[i][s] = v
				}
			}
			got[i] = append(got[i], v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, name := range want {
		r.columns[name] = got[i]
	}
	return nil
}

// maxSame is how many texts of a column are kept once, however many rows have them.
const maxSame = 1 << 16

// at is the value of a column that was loaded.
func (r *relation) at(name string, row int) any {
	if c := r.columns[name]; row < len(c) {
		return c[row]
	}
	return nil
}

func (r *relation) int(name string, row int) int64 {
	n, _ := r.at(name, row).(int64)
	return n
}

func (r *relation) text(name string, row int) string {
	s, _ := r.at(name, row).(string)
	return s
}

// names lists the columns.
func (r *relation) names() (list []string) {
	for _, c := range r.Columns {
		list = append(list, c.Name)
	}
	return list
}

// valueOf converts a value of a part to what a database returns.
func valueOf(v any) any {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case table.ID:
		return v[:]
	case table.Hash:
		return v[:]
	case []string:
		return listOf(v, func(s string) any { return s })
	case []int64:
		return listOf(v, func(n int64) any { return n })
	case table.Cites:
		return listOf(v, func(c table.Range) any {
			return forensics.Struct{{Name: "first", Value: c.First}, {Name: "last", Value: c.Last}}
		})
	case []table.Header:
		return listOf(v, func(h table.Header) any {
			return forensics.Struct{{Name: "name", Value: h.Name}, {Name: "value", Value: h.Value}, {Name: "kind", Value: h.Kind}}
		})
	case []table.Pair:
		return listOf(v, func(p table.Pair) any {
			return forensics.Struct{{Name: "name", Value: p.Name}, {Name: "value", Value: p.Value}}
		})
	}
	return v
}

func listOf[T any](list []T, f func(T) any) any {
	out := make([]any, len(list))
	for i, x := range list {
		out[i] = f(x)
	}
	return out
}

// citesOf converts a value of a column cites.
func citesOf(v any) (out table.Cites) {
	list, _ := v.([]any)
	for _, x := range list {
		s, _ := x.(forensics.Struct)
		first, ok1 := s.Get("first").(int64)
		last, ok2 := s.Get("last").(int64)
		if ok1 && ok2 && first >= 0 && last >= first {
			out.Add(first, last)
		}
	}
	return out
}
