package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/forensics/shown"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/mcp/object"
)

// page has the fields of every list answer in addition to its rows.
type page struct {
	Coverage  ask.Coverage `json:"coverage"`
	Matched   string       `json:"matched" jsonschema:"some, nothing_matched (the time was recorded, and no row matches) or not_recorded (the time was not recorded)"`
	Truncated bool         `json:"truncated" jsonschema:"there are more rows: ask again with cursor"`
	Cursor    string       `json:"next_cursor,omitempty" jsonschema:"pass it as cursor, with the same arguments, for the next rows"`
	Now       string       `json:"now,omitempty" jsonschema:"the value of now(): the time of the last packet"`
	Notes     []string     `json:"notes,omitempty"`
	Verified  bool         `json:"verified" jsonschema:"every file of the bundles was checked against its hash in this session"`
}

func (s *Invocation) page(ctx context.Context, r *forensics.Result) page {
	p := page{Coverage: ask.CoverageOf(r.Coverage), Truncated: r.Truncated, Cursor: r.Next, Notes: r.Notes, Matched: "some", Verified: s.Case.Verified()}
	if r.Now != 0 {
		p.Now = when.Stamp(r.Now)
	}
	if len(r.Rows) == 0 {
		p.Matched = "nothing_matched"
		if r.Coverage.State == forensics.None {
			p.Matched = "not_recorded"
		} else if notes, err := ask.Unread(ctx, s.Case, r.Coverage.From, r.Coverage.To); err == nil {
			p.Notes = slices.Concat(p.Notes, notes)
		}
	}
	return p
}

// citation is the citation of a row; r.Cited must be there.
func citation(r *forensics.Result, i int) string {
	if i >= len(r.Cited) {
		return ""
	}
	return r.Cited[i]
}

// cellSize is the maximum number of bytes of one text in an answer.
func (s *Invocation) cellSize() int {
	if s.cell > 0 {
		return s.cell
	}
	return maxCell
}

// value converts a value of a row to what commands print as JSON (encode.JSON), with texts that fit a
// conversation.
func (s *Invocation) value(v any) any { return s.cells().Value(v) }

// cells are the values of rows as s shows them.
func (s *Invocation) cells() shown.Cells {
	return shown.Cells{Policy: s.Policy, Size: s.cellSize(), Exact: encode.JSON}
}

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case *big.Int:
		return v.Int64()
	}
	return 0
}

func optional(v any) *int64 {
	if n, ok := v.(int64); ok {
		return &n
	}
	return nil
}

// maskRows masks the rows of an answer by their columns.
func (s *Env) maskRows(r *forensics.Result) {
	if s.Policy == nil {
		return
	}
	names := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		names[i] = c.Name
	}
	for i := range r.Rows {
		r.Rows[i] = s.Policy.Row(names, r.Rows[i])
	}
}

// times parses a time range as package ask does; 0 means no limit.
func (s *Invocation) times(from, to string) (a, b int64, err error) {
	if a, err = ask.ReadTime(s.Case, "from", from); err != nil {
		return 0, 0, err
	}
	if b, err = ask.ReadTime(s.Case, "to", to); err != nil {
		return 0, 0, err
	}
	if b != 0 && a > b {
		return 0, 0, ask.After("from", a, "to", b)
	}
	return a, b, nil
}

// limits are the arguments for one page of rows. They are embedded in the input of every list.
type limits struct {
	Limit  int    `json:"limit,omitempty" jsonschema:"rows, 1 to 1000; default 50"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the previous answer"`
}

const minRow = 512 // bytes that must remain for a row

// rows queries the case and converts each row to a T, as many as fit in the answer next to its
// other members. If not all of them fit, it queries again for fewer rows, so that the cursor
// continues where the answer ends.
func rows[T any](ctx context.Context, s *Invocation, q forensics.Query, l limits, make func(r *forensics.Result, i int) T) ([]T, *forensics.Result, error) {
	q.Limit, q.Cursor, q.MaxBytes = cmp.Or(l.Limit, defaultRows), l.Cursor, 2*int64(s.Max)
	for {
		r, err := s.Case.Query(ctx, q)
		if err != nil {
			return nil, nil, err
		}
		if err := s.Case.CiteRows(ctx, r); err != nil {
			return nil, nil, err
		}
		s.maskRows(r)
		beside, err := object.Marshal(struct {
			Page    page
			Columns []forensics.Column
		}{s.page(ctx, r), r.Columns})
		if err != nil {
			return nil, nil, err
		}
		room := s.Max - len(beside) - len(TrustNote) - 300
		if room < minRow {
			return nil, nil, fmt.Errorf("without its rows, the answer already needs %d of %d bytes; select fewer columns, or pass a larger max_bytes", len(beside), s.Max)
		}
		out := []T{}
		for i := range r.Rows {
			v := make(r, i)
			raw, err := object.Marshal(v)
			for cell := maxCell / 2; err == nil && i == 0 && len(raw) > room && cell >= 32; cell /= 2 {
				s.cell = cell
				v = make(r, i)
				raw, err = object.Marshal(v)
			}
			if err != nil {
				return nil, nil, err
			}
			if room -= len(raw) + 1; room < 0 && i > 0 {
				break
			}
			if room < 0 {
				return nil, nil, fmt.Errorf("the first row alone needs %d bytes more than the %d of the answer; select fewer columns, or pass a larger max_bytes", -room, s.Max)
			}
			out = append(out, v)
		}
		if len(out) == len(r.Rows) {
			return out, r, nil
		}
		q.Limit = len(out)
	}
}

// countTime is how long the rows of a query may be counted that did not all fit a page.
const countTime = 10 * time.Second

// counting returns the query that counts the rows of one in SQL.
func counting(q forensics.Query) forensics.Query {
	q.SQL = "SELECT count(*) FROM (\n" + strings.TrimRight(q.SQL, "; \t\r\n") + "\n)"
	return q
}

// counted are formats of plural.Sprintf for a number of rows: all of them, and what follows "The first 50 of 1342".
type counted struct{ all, part string }

// sentence says how many rows an answer has, of how many. count is the query for all rows, which runs if the page has not
// all of them.
func (s *Invocation) sentence(ctx context.Context, count forensics.Query, l limits, p *page, n int, words counted) (string, error) {
	switch {
	case n == 0 && l.Cursor == "":
		return ask.Without(p.Matched, p.Coverage), nil
	case !p.Truncated && l.Cursor == "":
		return plural.Sprintf(words.all+".", n), nil
	}
	which := "first"
	if l.Cursor != "" {
		which = "next"
	}
	count.Deadline = countTime
	r, err := s.Case.Query(ctx, count)
	switch {
	case ctx.Err() != nil:
		return "", err
	case err != nil || len(r.Rows) != 1 || len(r.Rows[0]) != 1:
		return plural.Sprintf("The "+which+" %d {row|rows}; how many there are was not counted.", n), nil
	}
	return plural.Sprintf("The "+which+" %d of %d "+words.part+".", n, number(r.Rows[0][0])), nil
}

// Sealed returns an answer with the trust note, cut to fit.
func Sealed(v any, most int) (json.RawMessage, error) {
	raw, err := object.Marshal(v)
	if err != nil {
		return nil, err
	}
	return object.Fit(raw, most, object.Field{Name: "trust", Value: object.Quoted(TrustNote)}), nil
}

// ErrArguments reports arguments that do not fit a tool's schema.
var ErrArguments = errors.New("invalid arguments")
