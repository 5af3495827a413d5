package mcp

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
)

// limits are a question's way to ask for a page of rows. It is embedded in the input of
// every list.
type limits struct {
	Limit  int    `json:"limit,omitempty" jsonschema:"rows, 1 to 1000; 50 where not given"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before"`
}

const leastRow = 512 // bytes that must be left for a row

// rows asks the case and makes a T of each row, as many as fit into the answer beside
// what else it says. Where not all fit the question is asked again for fewer rows, so
// that the cursor goes on where the answer ends.
func rows[T any](ctx context.Context, s *answerer, q forensics.Query, l limits, make func(r *forensics.Result, i int) T) ([]T, *forensics.Result, error) {
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
		if room < leastRow {
			return nil, nil, fmt.Errorf("what the answer says beside its rows takes %d bytes of %d; select fewer columns, or give a larger max_bytes", len(beside), s.max)
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
