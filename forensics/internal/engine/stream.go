package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Sizes of batches, in bytes of memory.
const (
	batchSize = 1 << 20
	firstRows = 2048 // rows in the first batch; the size of DuckDB's chunks
)

// stream is one query with its answer.
type stream struct {
	s      *server
	number uint64
	q      wire.Question
	ctx    context.Context // ends at Stop
	cancel context.CancelCauseFunc
	wanted chan struct{} // holds one token if a batch is requested

	*session
	stmt  duckdb.PreparedStatement
	res   duckdb.Result
	open  bool // res holds a result
	kinds []*kind
	head  wire.Header
	chunk duckdb.DataChunk
	vecs  []vector
	size  int   // rows of chunk
	at    int   // the next row of chunk
	rows  int   // rows to try in the next batch
	late  error // error in the rows after those that were sent
	out   wire.Writer
}

// refused is the reason for not running a query.
type refused string

func (e refused) Error() string { return string(e) }

// said matches an error message of DuckDB.
type said string

func (e said) Error() string { return string(e) }

// run answers the question.
func (st *stream) run() {
	defer st.s.end(st)
	give, err := st.connect()
	if err == nil {
		err = st.answer()
		st.close()
		give()
	}
	if err == nil || st.ctx.Err() != nil {
		return
	}
	f := wire.Failure{Reason: wire.Other, Msg: err.Error()}
	switch err.(type) {
	case refused:
		f.Reason = wire.Refused
	case said:
		f.Reason = wire.Said
	}
	if errors.Is(err, wire.ErrTooBig) {
		f.Reason = wire.TooBig
	}
	st.s.sent(st.s.send(wire.Failed, st.number, f.Append(nil)))
}

func (st *stream) connect() (give func(), err error) {
	if st.q.Own != 0 {
		st.session, give, err = st.s.db.takeOwn(st.q.Kind, st.q.Own, st.ctx.Done())
		return give, err
	}
	if st.session, err = st.s.db.acquire(st.q.Kind); err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return func() { st.s.db.release(st.q.Kind, st.session) }, nil
}

// answer runs the query and sends rows on request.
func (st *stream) answer() error {
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { st.watch(stop) })
	// The watcher must end before the connection is reused: a late interrupt would stop another
	// query.
	defer watching.Wait()
	defer close(stop)
	if err := st.s.db.makeViews(st.session, &st.q); err != nil {
		return err
	}
	if err := st.start(); err != nil {
		return err
	}
	st.out.Buf = st.head.Append(st.out.Buf[:0])
	for kind := wire.Head; ; kind = wire.Batch {
		n, err := st.batch()
		if err != nil {
			return err
		}
		if st.ctx.Err() != nil {
			return nil
		}
		last := n == 0 || st.ends()
		if last {
			st.out.Last()
		}
		st.s.sent(st.s.send(kind, st.number, st.out.Buf))
		if last {
			return nil
		}
		select {
		case <-st.wanted:
		case <-st.ctx.Done():
			return nil
		}
		st.out.Buf = st.out.Buf[:0]
	}
}

// watch interrupts the query when it is stopped. It repeats the interrupt, because DuckDB loses an
// interrupt between two steps.
func (st *stream) watch(stop <-chan struct{}) {
	select {
	case <-stop:
		return
	case <-st.ctx.Done():
	}
	for {
		duckdb.Interrupt(st.conn)
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (st *stream) start() error {
	var list duckdb.ExtractedStatements
	n := duckdb.ExtractStatements(st.conn, st.q.SQL, &list)
	defer duckdb.DestroyExtracted(&list)
	if n == 0 {
		msg := duckdb.ExtractStatementsError(list)
		if msg == "" {
			msg = "Parser Error: no statement"
		}
		return said(msg)
	}
	if n != 1 {
		return refused(fmt.Sprintf("%d statements, only one is allowed", n))
	}
	if duckdb.PrepareExtractedStatement(st.conn, list, 0, &st.stmt) == duckdb.StateError {
		return said(duckdb.PrepareError(st.stmt))
	}
	if t := duckdb.PreparedStatementType(st.stmt); t != duckdb.StatementTypeSelect && !st.q.Setup {
		return refused("not a query")
	}
	if err := st.bind(); err != nil {
		return err
	}
	state := duckdb.ExecutePreparedStreaming(st.stmt, &st.res)
	st.open = true
	if state == duckdb.StateError {
		return said(duckdb.ResultError(&st.res))
	}
	for i := range duckdb.ColumnCount(&st.res) {
		name := duckdb.ColumnName(&st.res, i)
		t := duckdb.ColumnLogicalType(&st.res, i)
		k, err := newKind(t, &st.head.Shapes, 0)
		duckdb.DestroyLogicalType(&t)
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
		st.kinds = append(st.kinds, k)
		st.head.Columns = append(st.head.Columns, wire.Column{Name: name, Type: k.name})
	}
	st.vecs, st.rows = make([]vector, len(st.kinds)), firstRows
	return nil
}

// bind sets the values of the parameters.
func (st *stream) bind() error {
	if n := int(duckdb.NParams(st.stmt)); n != len(st.q.Args) {
		return said(plural.Sprintf("Binder Error: the SQL has %d {parameter|parameters} (? or $1), but got %d {value|values}; write values into the SQL", n, len(st.q.Args)))
	}
	for i, a := range st.q.Args {
		v, err := makeValue(a)
		if err != nil {
			return fmt.Errorf("parameter %d: %w", i+1, err)
		}
		state := duckdb.BindValue(st.stmt, duckdb.IdxT(i+1), v)
		duckdb.DestroyValue(&v)
		if state == duckdb.StateError {
			return said(duckdb.PrepareError(st.stmt))
		}
	}
	return nil
}

// makeValue converts an argument. Text that is not UTF-8 would make DuckDB throw an uncaught
// exception.
func makeValue(a any) (duckdb.Value, error) {
	switch a := a.(type) {
	case nil:
		return duckdb.CreateNullValue(), nil
	case bool:
		return duckdb.CreateBool(a), nil
	case int32:
		return duckdb.CreateInt32(a), nil
	case int64:
		return duckdb.CreateInt64(a), nil
	case uint64:
		return duckdb.CreateUInt64(a), nil
	case float64:
		return duckdb.CreateDouble(a), nil
	case string:
		if utf8.ValidString(a) {
			return duckdb.CreateVarchar(a), nil
		}
	case []byte:
		return duckdb.CreateBlob(a), nil
	case time.Time:
		return duckdb.CreateTimestampNS(duckdb.NewTimestampNS(a.UnixNano())), nil
	case []string:
		if !slices.ContainsFunc(a, func(x string) bool { return !utf8.ValidString(x) }) {
			return listValue(duckdb.TypeVarchar, len(a), func(i int) duckdb.Value { return duckdb.CreateVarchar(a[i]) }), nil
		}
	case []int64:
		return listValue(duckdb.TypeBigInt, len(a), func(i int) duckdb.Value { return duckdb.CreateInt64(a[i]) }), nil
	}
	return duckdb.Value{}, fmt.Errorf("a value of type %T cannot be bound", a)
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

// ends checks whether a short chunk was the last one, so that a small answer needs no further
// request.
func (st *stream) ends() bool {
	if st.at < st.size || st.size == firstRows {
		return false
	}
	st.late = st.fetch()
	return st.late == nil && st.size == 0
}

// batch appends the next rows to the buffer, as many as fit, and returns their number.
func (st *stream) batch() (n int, err error) {
	if st.late != nil {
		return 0, st.late
	}
	if st.at == st.size {
		if err := st.fetch(); err != nil {
			return 0, err
		}
	}
	for begin := len(st.out.Buf); ; st.out.Buf = st.out.Buf[:begin] {
		n = min(st.rows, st.size-st.at)
		st.out.Limit = batchSize
		if n <= 1 {
			st.out.Limit = wire.MaxRow
		}
		err := st.encode(n)
		if err == nil {
			st.at += n
			if n == st.rows { // the next rows may be smaller
				st.rows = min(2*st.rows, firstRows)
			}
			return n, nil
		}
		if !errors.Is(err, wire.ErrTooBig) || n <= 1 {
			return 0, err
		}
		st.rows = max(1, n/4)
	}
}

func (st *stream) encode(n int) error {
	st.out.Begin(n)
	for i := range st.vecs {
		if n == 0 {
			st.out.Column(wire.Ints, false)
			continue
		}
		if err := st.vecs[i].column(&st.out, st.at, n); err != nil {
			return fmt.Errorf("column %s: %w", st.head.Columns[i].Name, err)
		}
	}
	if st.out.Full() {
		return wire.ErrTooBig
	}
	return nil
}

// fetch fetches the next chunk that has rows; without one, size is 0.
func (st *stream) fetch() error {
	for {
		st.dropChunk()
		if st.ctx.Err() != nil {
			return nil
		}
		st.chunk = duckdb.FetchChunk(st.res)
		if st.chunk.Ptr == nil {
			if msg := duckdb.ResultError(&st.res); msg != "" {
				return said(msg)
			}
			return nil
		}
		if st.size = int(duckdb.DataChunkGetSize(st.chunk)); st.size == 0 {
			continue
		}
		for i, k := range st.kinds {
			st.vecs[i].load(k, duckdb.DataChunkGetVector(st.chunk, duckdb.IdxT(i)))
		}
		return nil
	}
}

func (st *stream) dropChunk() {
	if st.chunk.Ptr != nil {
		duckdb.DestroyDataChunk(&st.chunk)
	}
	st.size, st.at = 0, 0
}

// close cancels a running computation.
func (st *stream) close() {
	st.dropChunk()
	if st.open {
		duckdb.DestroyResult(&st.res)
		st.open = false
	}
	duckdb.DestroyPrepare(&st.stmt)
}
