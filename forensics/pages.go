package forensics

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/internal/pages"
)

// cursor is the place after a row. It is valid in every process that has the same bundles open.
type cursor struct {
	Question string  `json:"q"`           // hash of the question and the case
	Key      []int64 `json:"k,omitempty"` // key of the last row, if rows have a key
	Row      int64   `json:"n,omitempty"` // otherwise the number of rows before
	Sum      string  `json:"s,omitempty"` // and their digest
}

const maxCursor = 512 // bytes

// question is a hash of everything that determines the rows and their order.
func (c *Case) question(q *Query) string {
	h := sha256.New()
	fmt.Fprintf(h, "1 %s %q %q %q %d %d %q %q %q %v", c.id, q.KFL, q.SQL, q.Table, q.From, q.To, q.Order, q.GroupBy, q.Columns, q.Count)
	if len(q.Macros) > 0 {
		fmt.Fprintf(h, " %q", q.Macros) // maps are printed sorted by key
	}
	for _, a := range q.Args {
		fmt.Fprintf(h, " %T %v", a, a)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (c *Case) readCursor(q *Query) (*cursor, error) {
	if q.Cursor == "" {
		return nil, nil
	}
	if len(q.Cursor) > maxCursor {
		return nil, ErrNoCursor
	}
	data, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	var cur cursor
	if err != nil || json.Unmarshal(data, &cur) != nil {
		return nil, ErrNoCursor
	}
	if cur.Question != c.question(q) || cur.Row < 0 || (len(cur.Key) == 0) != (cur.Row > 0) {
		return nil, ErrCursor
	}
	return &cur, nil
}

func (c *Case) writeCursor(q *Query, cur cursor) string {
	cur.Question = c.question(q)
	data, err := json.Marshal(cur)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// ErrNoCursor refuses a text that is no cursor. It is an ErrCursor.
var ErrNoCursor error = noCursor{}

type noCursor struct{}

func (noCursor) Error() string {
	return "the cursor is not one that an answer returned: pass next_cursor whole and unchanged, or begin again without a cursor"
}

func (noCursor) Is(target error) bool { return target == ErrCursor }

// ErrMoved refuses a cursor whose page cannot be found again. It is an ErrCursor.
var ErrMoved = fmt.Errorf("%w: the query returned its rows in another order, or other rows, than when it returned this cursor; "+
	"end the SQL with ORDER BY ALL, or with columns that together are different in each row, and begin again without a cursor", ErrCursor)

// unordered is the note about rows that were cut off.
const unordered = "the SQL does not end with ORDER BY, so which rows come first may differ each time it runs"

// lines are the rows of a query from its cursor on: of a new run, or read ahead by an earlier one.
type lines struct {
	columns []Column
	rows    *duck.Rows // nil if they were read ahead
	run     *pages.Run
	at      int          // in run
	trail   *pages.Trail // of the rows so far
}

// lines runs a query, or continues rows that were read ahead if they suffice for limit.
func (c *Case) lines(ctx context.Context, p *plan, q *Query, sql string, limit int) (*lines, error) {
	if p.skip > 0 {
		run, trail := c.pages.Find(c.question(q), p.skip, p.sum)
		if run != nil && (run.Whole || run.First+int64(len(run.Rows)) > p.skip+int64(limit)) {
			return &lines{columns: run.Columns, run: run, at: int(p.skip - run.First), trail: trail}, nil
		}
	}
	rows, err := c.run(ctx, p, sql, p.args)
	if err != nil {
		return nil, err
	}
	l := &lines{columns: rows.Columns, rows: rows, trail: pages.NewTrail()}
	if err := l.skip(p); err != nil {
		rows.Close()
		return nil, err
	}
	return l, nil
}

// skip passes the rows before the cursor, which must be those of the pages before.
func (l *lines) skip(p *plan) error {
	if p.skip == 0 {
		return nil
	}
	for range p.skip {
		row, err := l.next()
		if err != nil {
			return err
		}
		if row == nil {
			return ErrMoved
		}
		l.trail.Add(row)
	}
	if l.trail.Sum() != p.sum {
		return ErrMoved
	}
	return nil
}

// next returns the next row, or nil at the end.
func (l *lines) next() ([]any, error) {
	if l.rows == nil {
		if l.at == len(l.run.Rows) {
			return nil, nil
		}
		l.at++
		return l.run.Rows[l.at-1], nil
	}
	if !l.rows.Next() {
		return nil, l.rows.Err()
	}
	row := make([]any, len(l.columns))
	return row, l.rows.Row(row)
}

func (l *lines) close() {
	if l.rows != nil {
		l.rows.Close()
	}
}

// keep reads ahead from row on, which is number first, for the pages that follow. Rows with a total
// order need none.
func (c *Case) keep(p *plan, q *Query, l *lines, first int64, row []any) {
	if l.rows == nil {
		c.pages.Mark(l.run, first, l.trail)
		return
	}
	if p.sel != nil {
		return
	}
	run := &pages.Run{Columns: l.columns, First: first}
	for ; row != nil && run.Size < pages.Ahead; row, _ = l.next() { // an error is of the page that has the row
		run.Rows, run.Size = append(run.Rows, row), run.Size+sizeOf(row)
	}
	run.Whole = row == nil && l.rows.Err() == nil
	c.pages.Put(c.question(q), run, l.trail)
}

// cursorAfter is the cursor after the row that is number before in the answer.
func (c *Case) cursorAfter(p *plan, q *Query, l *lines, row []any, before int64) (string, error) {
	if !p.keyed() {
		return c.writeCursor(q, cursor{Row: before, Sum: l.trail.Sum()}), nil
	}
	key := make([]int64, len(p.keys))
	for i, k := range p.keys {
		n, ok := row[k].(int64)
		if !ok {
			return "", &bundle.DamagedError{File: "data/tables/" + p.sel.view.name, What: "a row has no " + l.columns[k].Name}
		}
		key[i] = n
	}
	return c.writeCursor(q, cursor{Key: key}), nil
}

// keyed reports whether a key determines the end of a page.
func (p *plan) keyed() bool { return len(p.keys) > 0 && p.ordering != "" && p.sliced }
