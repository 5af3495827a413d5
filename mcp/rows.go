package mcp

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
)

// limits are the arguments for one page of rows. They are embedded in the input of every list.
type limits struct {
	Limit  int    `json:"limit,omitempty" jsonschema:"rows, 1 to 1000; default 50"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the previous answer"`
}

const minRow = 512 // bytes that must remain for a row

// rows queries the case and converts each row to a T, as many as fit in the answer next to its
// other members. If not all of them fit, it queries again for fewer rows, so that the cursor
// continues where the answer ends.
func rows[T any](ctx context.Context, s *invocation, q forensics.Query, l limits, make func(r *forensics.Result, i int) T) ([]T, *forensics.Result, error) {
	q.Limit, q.Cursor, q.MaxBytes = rowsOf(l.Limit), l.Cursor, 2*int64(s.max)
	for {
		r, err := s.c.Query(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		s.maskRows(r)
		beside, err := marshal(struct {
			Page    page
			Columns []forensics.Column
		}{s.page(r), r.Columns})
		if err != nil {
			return nil, nil, err
		}
		room := s.max - len(beside) - len(trustNote) - 300
		if room < minRow {
			return nil, nil, fmt.Errorf("without its rows, the answer already needs %d of %d bytes; select fewer columns, or pass a larger max_bytes", len(beside), s.max)
		}
		out := []T{}
		for i := range r.Rows {
			v := make(r, i)
			raw, err := marshal(v)
			for cell := maxCell / 2; err == nil && i == 0 && len(raw) > room && cell >= 32; cell /= 2 {
				s.cell = cell
				v = make(r, i)
				raw, err = marshal(v)
			}
			if err != nil {
				return nil, nil, err
			}
			if room -= len(raw) + 1; room < 0 && i > 0 {
				break
			}
			out = append(out, v)
		}
		if len(out) == len(r.Rows) {
			return out, r, nil
		}
		q.Limit = len(out)
	}
}
