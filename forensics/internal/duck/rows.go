package duck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// Column is one column of an answer.
type Column struct {
	Name string
	Type string // DuckDB's word
}

// Rows is an answer being read. It is for one goroutine and must be closed.
type Rows struct {
	Columns []Column

	d     *DB
	conn  duckdb.Connection
	stmt  duckdb.PreparedStatement
	res   duckdb.Result
	chunk duckdb.DataChunk
	kinds []*kind
	vecs  []vector
	sql   string
	ctx   context.Context
	cut   context.CancelCauseFunc

	size, at int
	err      error
	open     bool // res holds a result
	stop     chan struct{}
	stopped  sync.WaitGroup
}

// Query runs one query that Gate has passed, or that the program made itself. Its
// rows stream: what was not asked for is not computed, as far as the plan allows.
func (d *DB) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	return d.run(ctx, sql, args, false)
}

func (d *DB) run(ctx context.Context, sql string, args []any, setup bool) (*Rows, error) {
	if strings.IndexByte(sql, 0) >= 0 {
		return nil, &RefusedError{"the text holds a zero byte"}
	}
	conn, err := d.take(ctx)
	if err != nil {
		return nil, explain(ctx, sql, err.Error())
	}
	ctx, cut := context.WithCancelCause(ctx)
	r := &Rows{d: d, conn: conn, sql: sql, ctx: ctx, cut: cut, stop: make(chan struct{})}
	d.runs(r)
	r.stopped.Add(1)
	go r.watch()
	if err := r.start(args, setup); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// watch interrupts the query when its context ends, again and again, since DuckDB
// forgets an interrupt that comes between two steps.
func (r *Rows) watch() {
	defer r.stopped.Done()
	select {
	case <-r.stop:
		return
	case <-r.ctx.Done():
	}
	for {
		duckdb.Interrupt(r.conn)
		select {
		case <-r.stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *Rows) start(args []any, setup bool) error {
	var list duckdb.ExtractedStatements
	n := duckdb.ExtractStatements(r.conn, r.sql, &list)
	defer duckdb.DestroyExtracted(&list)
	if n == 0 {
		msg := duckdb.ExtractStatementsError(list)
		if msg == "" {
			msg = "Parser Error: no statement"
		}
		return explain(r.ctx, r.sql, msg)
	}
	if n != 1 {
		return &RefusedError{fmt.Sprintf("%d statements, want one", n)}
	}
	if duckdb.PrepareExtractedStatement(r.conn, list, 0, &r.stmt) == duckdb.StateError {
		return explain(r.ctx, r.sql, duckdb.PrepareError(r.stmt))
	}
	if t := duckdb.PreparedStatementType(r.stmt); t != duckdb.StatementTypeSelect && !setup {
		return &RefusedError{"not a query"}
	}
	if err := r.bind(args); err != nil {
		return err
	}
	state := duckdb.ExecutePreparedStreaming(r.stmt, &r.res)
	r.open = true
	if state == duckdb.StateError {
		return explain(r.ctx, r.sql, duckdb.ResultError(&r.res))
	}
	for i := range duckdb.ColumnCount(&r.res) {
		t := duckdb.ColumnLogicalType(&r.res, i)
		k, err := newKind(t, 0)
		duckdb.DestroyLogicalType(&t)
		if err != nil {
			return fmt.Errorf("SQL: column %s: %w", duckdb.ColumnName(&r.res, i), err)
		}
		r.kinds = append(r.kinds, k)
		r.Columns = append(r.Columns, Column{duckdb.ColumnName(&r.res, i), k.name})
	}
	r.vecs = make([]vector, len(r.kinds))
	return nil
}

// bind gives the parameters their values.
func (r *Rows) bind(args []any) error {
	if n := int(duckdb.NParams(r.stmt)); n != len(args) {
		return &SyntaxError{Offset: -1, Msg: fmt.Sprintf("%d parameters, %d values", n, len(args))}
	}
	for i, a := range args {
		v, err := makeValue(a)
		if err != nil {
			return fmt.Errorf("SQL: parameter %d: %w", i+1, err)
		}
		state := duckdb.BindValue(r.stmt, duckdb.IdxT(i+1), v)
		duckdb.DestroyValue(&v)
		if state == duckdb.StateError {
			return explain(r.ctx, r.sql, duckdb.PrepareError(r.stmt))
		}
	}
	return nil
}

func makeValue(a any) (duckdb.Value, error) {
	switch a := a.(type) {
	case nil:
		return duckdb.CreateNullValue(), nil
	case bool:
		return duckdb.CreateBool(a), nil
	case int:
		return duckdb.CreateInt64(int64(a)), nil
	case int32:
		return duckdb.CreateInt32(a), nil
	case int64:
		return duckdb.CreateInt64(a), nil
	case uint64:
		return duckdb.CreateUInt64(a), nil
	case float64:
		return duckdb.CreateDouble(a), nil
	case string:
		if !utf8.ValidString(a) { // DuckDB throws where nobody catches
			return duckdb.Value{}, errors.New("text that is not UTF-8")
		}
		return duckdb.CreateVarchar(a), nil
	case []byte:
		return duckdb.CreateBlob(a), nil
	case time.Time:
		return duckdb.CreateTimestampNS(duckdb.NewTimestampNS(a.UnixNano())), nil
	case []string:
		for _, x := range a {
			if !utf8.ValidString(x) {
				return duckdb.Value{}, errors.New("text that is not UTF-8")
			}
		}
		return listValue(duckdb.TypeVarchar, len(a), func(i int) duckdb.Value { return duckdb.CreateVarchar(a[i]) }), nil
	case []int64:
		return listValue(duckdb.TypeBigInt, len(a), func(i int) duckdb.Value { return duckdb.CreateInt64(a[i]) }), nil
	}
	return duckdb.Value{}, fmt.Errorf("type %T, want nil, bool, int, float64, string, []byte, time.Time or a list of text or int64", a)
}

func listValue(elem duckdb.Type, n int, at func(int) duckdb.Value) duckdb.Value {
	t := duckdb.CreateLogicalType(elem)
	defer duckdb.DestroyLogicalType(&t)
	values := make([]duckdb.Value, n)
	for i := range values {
		values[i] = at(i)
		defer duckdb.DestroyValue(&values[i])
	}
	return duckdb.CreateListValue(t, values)
}

// Next goes to the next row. It is false at the end and at an error.
func (r *Rows) Next() bool {
	if r.at+1 < r.size {
		r.at++
		return true
	}
	return r.next()
}

// next fetches the next chunk that has rows.
func (r *Rows) next() bool {
	for r.err == nil && r.open {
		r.dropChunk()
		if err := r.ctx.Err(); err != nil {
			r.err = explain(r.ctx, r.sql, err.Error())
			return false
		}
		r.chunk = duckdb.FetchChunk(r.res)
		if r.chunk.Ptr == nil {
			if msg := duckdb.ResultError(&r.res); msg != "" {
				r.err = explain(r.ctx, r.sql, msg)
			}
			return false
		}
		r.size = int(duckdb.DataChunkGetSize(r.chunk))
		if r.size == 0 {
			continue
		}
		for i, k := range r.kinds {
			r.vecs[i].load(k, duckdb.DataChunkGetVector(r.chunk, duckdb.IdxT(i)))
		}
		return true
	}
	return false
}

// Skip passes over n rows and says how many there were.
func (r *Rows) Skip(n int64) (passed int64) {
	for passed < n {
		if left := int64(r.size - 1 - r.at); left > 0 {
			step := min(left, n-passed)
			r.at += int(step)
			passed += step
			continue
		}
		if !r.next() {
			return passed
		}
		r.at = -1
	}
	return passed
}

func (r *Rows) dropChunk() {
	if r.chunk.Ptr != nil {
		duckdb.DestroyDataChunk(&r.chunk)
	}
	r.size, r.at = 0, 0
}

// Row fills dst with the values of the row; they are the caller's. See Value.
func (r *Rows) Row(dst []any) error {
	for i := range r.vecs {
		v, err := r.vecs[i].value(r.at)
		if err != nil {
			return fmt.Errorf("reading column %s: %w", r.Columns[i].Name, err)
		}
		dst[i] = v
	}
	return nil
}

// Int is the value of an integer column, 0 where it is null.
func (r *Rows) Int(col int) int64 {
	v, _ := r.vecs[col].value(r.at)
	n, _ := v.(int64)
	return n
}

// Text is the value of a text column, empty where it is null.
func (r *Rows) Text(col int) string {
	v, _ := r.vecs[col].value(r.at)
	s, _ := v.(string)
	return s
}

// Value is the value of one column of the row:
// nil, bool, int64, uint64, *big.Int, float64, Decimal, string, []byte, time.Time,
// []any, Struct or Map. Dates, times of day, intervals and UUIDs are text.
func (r *Rows) Value(col int) (any, error) { return r.vecs[col].value(r.at) }

// Err is the error that ended the rows, or nil.
func (r *Rows) Err() error { return r.err }

// Close ends the answer and what is still being computed for it.
func (r *Rows) Close() error {
	if r.d == nil {
		return nil
	}
	r.dropChunk()
	if r.open {
		duckdb.DestroyResult(&r.res)
		r.open = false
	}
	duckdb.DestroyPrepare(&r.stmt)
	// The watcher must be gone before the connection is used again: a late interrupt
	// would end somebody else's query.
	close(r.stop)
	r.stopped.Wait()
	r.cut(nil)
	r.d.ran(r)
	r.d.give(r.conn)
	r.d = nil
	return nil
}

var errUnsupported = errors.New("a type that has no form here; cast it to VARCHAR")
