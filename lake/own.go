package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
)

// ownColumn is a column of a table that the lake writes itself. The first ones are the constants.
type ownColumn[T any] struct {
	name, doc string
	typ       iceberg.Type
	value     func(*T) any // *string, *int64 or *time.Time to set and read; an int32 is a day, and not read
}

func ownSchema[T any](columns []ownColumn[T]) *iceberg.Schema {
	fields := constants()
	for _, c := range columns[len(fields):] {
		fields = append(fields, iceberg.NestedField{ID: len(fields) + 1, Name: c.name, Type: c.typ, Doc: c.doc})
	}
	return iceberg.NewSchema(0, fields...)
}

// insert adds a row to a table of the lake's own.
func insert[T any](ctx context.Context, l *Lake, name string, columns []ownColumn[T], bundle string, v *T) (*table.Transaction, error) {
	t, err := l.ensure(ctx, name, ownSchema(columns))
	if err != nil {
		return nil, err
	}
	sc, err := table.SchemaToArrowSchema(t.Schema(), nil, true, false)
	if err != nil {
		return nil, err
	}
	row := array.NewRecordBuilder(memory.DefaultAllocator, sc)
	defer row.Release()
	for i, f := range sc.Fields() {
		at := slices.IndexFunc(columns, func(c ownColumn[T]) bool { return c.name == f.Name })
		if at < 0 { // another release added it
			row.Field(i).AppendNull()
			continue
		}
		appendValue(row.Field(i), columns[at].value(v))
	}
	batch := row.NewRecordBatch()
	defer batch.Release()
	rows, err := array.NewRecordReader(sc, []arrow.RecordBatch{batch})
	if err != nil {
		return nil, err
	}
	defer rows.Release()
	tx := t.NewTransaction()
	return tx, tx.Append(ctx, rows, iceberg.Properties{"pcapsule.bundle": bundle})
}

func appendValue(to array.Builder, v any) {
	switch v := v.(type) {
	case *string:
		to.(*array.StringBuilder).Append(*v)
	case *int64:
		to.(*array.Int64Builder).Append(*v)
	case int32:
		to.(*array.Date32Builder).Append(arrow.Date32(v))
	case *time.Time:
		if v.IsZero() {
			to.AppendNull()
			return
		}
		to.(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
	}
}

// ownRows reads rows of a table of the lake itself; a table that does not exist yet has none.
func ownRows[T any](ctx context.Context, l *Lake, name string, columns []ownColumn[T], which iceberg.BooleanExpression) ([]T, error) {
	list := []T{}
	t, err := l.cat.LoadTable(ctx, l.ident(name))
	if errors.Is(err, catalog.ErrNoSuchTable) {
		return list, nil
	}
	if err != nil {
		return nil, fmt.Errorf("loading table %s: %w", name, err)
	}
	_, batches, err := t.Scan(table.WithRowFilter(which)).ToArrowRecords(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading table %s: %w", name, err)
	}
	for batch, err := range batches {
		if err != nil {
			return nil, fmt.Errorf("reading table %s: %w", name, err)
		}
		for i := range int(batch.NumRows()) {
			v, err := rowOf(batch, i, columns)
			if err != nil {
				return nil, fmt.Errorf("reading table %s: %w", name, err)
			}
			list = append(list, v)
		}
		batch.Release()
	}
	return list, nil
}

func rowOf[T any](batch arrow.RecordBatch, row int, columns []ownColumn[T]) (v T, err error) {
	for i, f := range batch.Schema().Fields() {
		at := slices.IndexFunc(columns, func(c ownColumn[T]) bool { return c.name == f.Name })
		column := batch.Column(i)
		if at < 0 || column.IsNull(row) {
			continue
		}
		fits := true
		switch to := columns[at].value(&v).(type) {
		case *string:
			var c interface{ Value(int) string }
			if c, fits = column.(interface{ Value(int) string }); fits {
				*to = c.Value(row)
			}
		case *int64:
			var c *array.Int64
			if c, fits = column.(*array.Int64); fits {
				*to = c.Value(row)
			}
		case *time.Time:
			var c *array.Timestamp
			if c, fits = column.(*array.Timestamp); fits {
				*to = time.UnixMicro(int64(c.Value(row))).UTC()
			}
		}
		if !fits {
			return v, fmt.Errorf("column %s is %s", f.Name, f.Type)
		}
	}
	return v, nil
}
