package lake

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// row is one row of a batch. A column that the batch lacks has no value.
type row struct {
	batch arrow.RecordBatch
	at    int
}

func (r row) column(name string) arrow.Array {
	list := r.batch.Schema().FieldIndices(name)
	if len(list) != 1 || r.batch.Column(list[0]).IsNull(r.at) {
		return nil
	}
	return r.batch.Column(list[0])
}

func (r row) number(name string) (int64, bool) {
	switch c := r.column(name).(type) {
	case *array.Int64:
		return c.Value(r.at), true
	case *array.Int32:
		return int64(c.Value(r.at)), true
	}
	return 0, false
}

// text returns a text or bytes.
func (r row) text(name string) (string, bool) {
	switch c := r.column(name).(type) {
	case *array.String:
		return c.Value(r.at), true
	case *array.Binary:
		return string(c.Value(r.at)), true
	case *array.FixedSizeBinary:
		return string(c.Value(r.at)), true
	}
	return "", false
}

func (r row) texts(name string) (list []string) {
	c, ok := r.column(name).(*array.List)
	if !ok {
		return nil
	}
	values, ok := c.ListValues().(*array.String)
	if !ok {
		return nil
	}
	from, to := c.ValueOffsets(r.at)
	for i := from; i < to; i++ {
		list = append(list, values.Value(int(i)))
	}
	return list
}

// verifyOwn compares a file of the lake with its hash. Its name is its path.
func (l *Lake) verifyOwn(ctx context.Context, f transfer.File) error {
	fs, err := l.files(ctx, f.Name)
	if err != nil {
		return err
	}
	r, err := fs.Open(f.Name)
	if err != nil {
		return fmt.Errorf("opening %s: %w", f.Name, err)
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.Name, err)
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); n != f.Size || got != f.SHA256 {
		return &bundle.DamagedError{File: f.Name, What: fmt.Sprintf("%d bytes with SHA-256 %s, expected %d bytes with %s", n, got, f.Size, f.SHA256)}
	}
	return nil
}

// counter counts the bytes that are written. It hides Close, which is not the Parquet writer's to call.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// eachBatch reads columns of a Parquet file, nil for all, a row group at a time, which pcapsule's limits to a
// few MiB. Columns that the file lacks are left out; a file that has none of them has batches without columns.
func (l *Lake) eachBatch(ctx context.Context, path string, columns []string, use func(arrow.RecordBatch) error) (err error) {
	defer func() {
		if recover() != nil { // arrow-go panics on some damaged files
			err = fmt.Errorf("reading %s: it is damaged", path)
		}
	}()
	fs, err := l.files(ctx, path)
	if err != nil {
		return err
	}
	f, err := fs.Open(path)
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	defer f.Close()
	p, err := file.NewParquetReader(f)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	for g := range p.NumRowGroups() {
		rows := p.MetaData().RowGroups[g].NumRows
		r, err := pqarrow.NewFileReader(p, pqarrow.ArrowReadProperties{BatchSize: max(rows, 1)}, memory.DefaultAllocator)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		t, err := r.ReadRowGroups(ctx, leaves(p, columns), []int{g})
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		batches := array.NewTableReader(t, max(rows, 1))
		for err == nil && batches.Next() {
			err = use(batches.RecordBatch())
		}
		batches.Release()
		t.Release()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// leaves are the numbers of the physical columns of the named ones, nil for all.
func leaves(p *file.Reader, columns []string) []int {
	list := []int{}
	sc := p.MetaData().Schema
	for i := range sc.NumColumns() {
		if columns == nil || slices.Contains(columns, sc.Column(i).ColumnPath()[0]) {
			list = append(list, i)
		}
	}
	return list
}
