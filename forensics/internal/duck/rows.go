package duck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Rows is the answer of a query. It must be used by one goroutine only, and must be closed.
type Rows struct {
	Columns []Column

	ctx    context.Context
	cut    context.CancelCauseFunc
	answer *answer
	free   func(error) // releases the resources of the answer; see begin
	sql    string
	asked  bool // see DB.Asked
	batch  wire.Rows
	shapes []wire.Shape
	at     int
	err    error
}

// Query runs one query that Gate has accepted, or that the program made itself. Its rows are streamed:
// only one batch is computed ahead.
func (d *DB) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	rows, err := d.run(ctx, sql, args, false)
	if bad := (*SyntaxError)(nil); errors.As(err, &bad) && d.check != nil && ctx.Value(checking{}) == nil {
		err = cmp.Or(d.check(context.WithValue(ctx, checking{}, true)), err)
	}
	return rows, err
}

func (d *DB) run(ctx context.Context, sql string, args []any, setup bool) (*Rows, error) {
	if strings.IndexByte(sql, 0) >= 0 {
		return nil, &RefusedError{"the text holds a zero byte"}
	}
	if d.ready != nil {
		if err := d.ready(ctx); err != nil {
			return nil, err
		}
	}
	q := wire.Question{Kind: d.kind, Setup: setup, SQL: sql, Hidden: d.hides, Args: args}
	if d.aside != nil {
		if err := d.aside.acquire(ctx); err != nil {
			return nil, explain(ctx, sql, err)
		}
		q.Own = d.aside.number
		return begin(ctx, d.aside.w, &q, d.asked, func(err error) {
			d.pool.wear(d.aside.w, err)
			d.aside.turn <- struct{}{}
		})
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, explain(ctx, sql, ctx.Err())
	}
	rows, err := d.once(ctx, &q, d.alone)
	// Another query may have crashed the worker. Repeat the query in a separate worker: this
	// identifies the cause and answers the others.
	if errors.Is(err, ErrCrashed) && !d.alone && ctx.Err() == nil {
		rows, err = d.once(ctx, &q, true)
	}
	if err != nil {
		<-d.slots
		return nil, err
	}
	end := rows.free
	rows.free = func(err error) {
		end(err)
		<-d.slots
	}
	return rows, nil
}

// once asks a worker.
func (d *DB) once(ctx context.Context, q *wire.Question, alone bool) (*Rows, error) {
	w, err := d.pool.acquire(ctx, alone)
	if err != nil {
		return nil, explain(ctx, q.SQL, err)
	}
	return begin(ctx, w, q, d.asked, func(err error) {
		d.pool.wear(w, err)
		d.pool.release(w)
	})
}

// begin asks a worker. free is called with the error of the answer, or nil, when it is closed, and if there is none.
func begin(ctx context.Context, w *process, q *wire.Question, asked bool, free func(error)) (*Rows, error) {
	if ctx.Err() != nil {
		err := explain(ctx, q.SQL, ctx.Err())
		free(err)
		return nil, err
	}
	ctx, cut := context.WithCancelCause(ctx)
	a, err := w.ask(q, cut)
	r := &Rows{ctx: ctx, cut: cut, answer: a, free: free, sql: q.SQL, asked: asked}
	if err == nil {
		err = r.first()
	}
	if err != nil {
		err = r.explain(err)
		cut(nil)
		free(err)
		return nil, err
	}
	return r, nil
}

// first reads the columns and the first batch. After an error the answer is over.
func (r *Rows) first() error {
	f, err := r.answer.wait(r.ctx)
	if err != nil {
		return err
	}
	h, rest, err := wire.ReadHeader(f.Body)
	if err == nil {
		r.Columns, r.shapes = h.Columns, h.Shapes
		err = r.batch.Read(rest, len(r.Columns), r.shapes)
	}
	if err == nil && f.Kind != wire.Head {
		err = wire.ErrFrame
	}
	if err != nil {
		return r.answer.distrust(err)
	}
	return r.came()
}

// came begins a batch and requests the next one, which is computed while this one is read.
func (r *Rows) came() error {
	r.at = -1
	if r.batch.Last {
		r.answer.over()
		return nil
	}
	return r.answer.next()
}

// Next moves to the next row. It returns false at the end and after an error.
func (r *Rows) Next() bool {
	if r.at+1 < r.batch.N {
		r.at++
		return true
	}
	return r.more() && r.Next()
}

// more reads the next requested batch.
func (r *Rows) more() bool {
	if r.err != nil || r.batch.Last || r.free == nil {
		return false
	}
	if err := r.ctx.Err(); err != nil {
		return r.fail(err)
	}
	f, err := r.answer.wait(r.ctx)
	if err != nil {
		return r.fail(err)
	}
	if err := r.batch.Read(f.Body, len(r.Columns), r.shapes); err != nil || f.Kind != wire.Batch {
		return r.fail(r.answer.distrust(errors.Join(wire.ErrFrame, err)))
	}
	if err := r.came(); err != nil {
		return r.fail(err)
	}
	return r.batch.N > 0
}

func (r *Rows) fail(err error) bool {
	r.err = r.explain(err)
	r.batch.N, r.at = 0, 0
	return false
}

// explain is the error of the query. No table of a capture makes a value out of range in a query of
// the program itself.
func (r *Rows) explain(err error) error {
	err = explain(r.ctx, r.sql, err)
	if out := (*RangeError)(nil); !r.asked && errors.As(err, &out) {
		return &limitError{ErrDamaged, "an impossible value: " + firstLine(out.Msg)}
	}
	return err
}

// Row fills dst with the values of the row; they are the caller's. See Value.
func (r *Rows) Row(dst []any) error {
	for i := range r.Columns {
		v, err := r.Value(i)
		if err != nil {
			return fmt.Errorf("reading column %s: %w", r.Columns[i].Name, err)
		}
		dst[i] = v
	}
	return nil
}

// Int returns the value of an integer column, 0 if it is null.
func (r *Rows) Int(col int) int64 { return r.batch.Int(col, r.at) }

// Text returns the value of a text column, "" if it is null.
func (r *Rows) Text(col int) string { return r.batch.Text(col, r.at) }

// Value returns the value of one column of the row:
// nil, bool, int64, *big.Int, float64, Decimal, string, []byte, time.Time, []any, Struct or
// Map. Dates, times of day, intervals and UUIDs are text.
func (r *Rows) Value(col int) (any, error) {
	return r.batch.Value(col, r.at)
}

// Err is the error that ended the rows, or nil.
func (r *Rows) Err() error { return r.err }

// Close closes the answer and cancels its computation.
func (r *Rows) Close() error {
	if r.free == nil {
		return nil
	}
	r.answer.stop()
	r.cut(nil)
	r.free(r.err)
	r.free = nil
	return nil
}
