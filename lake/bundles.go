package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
)

// Tables of the lake's own.
const (
	bundlesTable  = "bundles"
	removalsTable = "removals"
)

// Bundle is a bundle in the lake: a row of table bundles.
type Bundle struct {
	ID      string    `json:"bundle_id"`
	Cluster string    `json:"cluster"`
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Nodes   string    `json:"nodes"` // with commas between them
	Release string    `json:"release"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Calls   int64     `json:"calls"`
	Rows    int64     `json:"rows"`
	Files   int64     `json:"files"`
	Bytes   int64     `json:"bytes"`
	Added   time.Time `json:"added"`
}

// Day is the UTC day on which the bundle begins, in days since 1970.
func (b *Bundle) Day() int32 {
	if b.First.IsZero() {
		return 0
	}
	return int32(b.First.Unix() / 86400)
}

// bundlesColumns are those of table bundles after the constants. How each is set and read is beside it.
var bundlesColumns = []struct {
	name, doc string
	typ       iceberg.Type
	value     func(*Bundle) any // *string, *int64 or *time.Time
}{
	{"name", "the bundle's name", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Name }},
	{"address", "where the bundle is", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Address }},
	{"nodes", "the recorders' nodes, with commas between them", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Nodes }},
	{"release", "the release that made the bundle", iceberg.PrimitiveTypes.String, func(b *Bundle) any { return &b.Release }},
	{"first_ts", "the first packet, UTC", iceberg.PrimitiveTypes.Timestamp, func(b *Bundle) any { return &b.First }},
	{"last_ts", "the last packet, UTC", iceberg.PrimitiveTypes.Timestamp, func(b *Bundle) any { return &b.Last }},
	{"calls", "calls in the bundle", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Calls }},
	{"row_count", "rows of all tables", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Rows }},
	{"file_count", "files of all tables", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Files }},
	{"byte_count", "bytes of these files", iceberg.PrimitiveTypes.Int64, func(b *Bundle) any { return &b.Bytes }},
	{"added_ts", "when it was added, UTC, by the clock of the machine that did", iceberg.PrimitiveTypes.Timestamp, func(b *Bundle) any { return &b.Added }},
}

func bundlesSchema() *iceberg.Schema {
	fields := constants()
	for i, c := range bundlesColumns {
		fields = append(fields, iceberg.NestedField{ID: len(constants()) + 1 + i, Name: c.name, Type: c.typ, Doc: c.doc})
	}
	return iceberg.NewSchema(0, fields...)
}

// record adds a bundle to table bundles.
func (l *Lake) record(ctx context.Context, b Bundle) (*table.Transaction, error) {
	t, err := l.ensure(ctx, bundlesTable, bundlesSchema())
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
		to := row.Field(i)
		switch f.Name {
		case columnBundle:
			to.(*array.StringBuilder).Append(b.ID)
		case columnCluster:
			to.(*array.StringBuilder).Append(b.Cluster)
		case columnDay:
			to.(*array.Date32Builder).Append(arrow.Date32(b.Day()))
		default:
			appendValue(to, f.Name, &b)
		}
	}
	batch := row.NewRecordBatch()
	defer batch.Release()
	rows, err := array.NewRecordReader(sc, []arrow.RecordBatch{batch})
	if err != nil {
		return nil, err
	}
	defer rows.Release()
	tx := t.NewTransaction()
	return tx, tx.Append(ctx, rows, iceberg.Properties{"pcapsule.bundle": b.ID})
}

// appendValue adds a bundle's value of a column; a column that another release added is NULL.
func appendValue(to array.Builder, name string, b *Bundle) {
	at := slices.IndexFunc(bundlesColumns, func(c struct {
		name, doc string
		typ       iceberg.Type
		value     func(*Bundle) any
	}) bool {
		return c.name == name
	})
	if at < 0 {
		to.AppendNull()
		return
	}
	switch v := bundlesColumns[at].value(b).(type) {
	case *string:
		to.(*array.StringBuilder).Append(*v)
	case *int64:
		to.(*array.Int64Builder).Append(*v)
	case *time.Time:
		if v.IsZero() {
			to.AppendNull()
			return
		}
		to.(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
	}
}

// Bundles lists the bundles of the lake, sorted by the time of their first packet and their id.
func (l *Lake) Bundles(ctx context.Context) ([]Bundle, error) {
	return l.bundles(ctx, iceberg.AlwaysTrue{})
}

// Find returns the bundle with an id, or an error that wraps ErrNone.
func (l *Lake) Find(ctx context.Context, id string) (Bundle, error) {
	list, err := l.bundles(ctx, iceberg.EqualTo(iceberg.Reference(columnBundle), id))
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("bundle %s: %w", id, ErrNone)
	}
	if err != nil {
		return Bundle{}, err
	}
	return list[0], nil
}

func (l *Lake) bundles(ctx context.Context, which iceberg.BooleanExpression) ([]Bundle, error) {
	list := []Bundle{}
	t, err := l.cat.LoadTable(ctx, l.ident(bundlesTable))
	if errors.Is(err, catalog.ErrNoSuchTable) {
		return list, nil
	}
	if err != nil {
		return nil, fmt.Errorf("loading table %s: %w", bundlesTable, err)
	}
	_, batches, err := t.Scan(table.WithRowFilter(which)).ToArrowRecords(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading table %s: %w", bundlesTable, err)
	}
	for batch, err := range batches {
		if err != nil {
			return nil, fmt.Errorf("reading table %s: %w", bundlesTable, err)
		}
		for i := range int(batch.NumRows()) {
			b, err := rowOf(batch, i)
			if err != nil {
				return nil, fmt.Errorf("reading table %s: %w", bundlesTable, err)
			}
			list = append(list, b)
		}
		batch.Release()
	}
	slices.SortFunc(list, func(a, b Bundle) int {
		if c := a.First.Compare(b.First); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list, nil
}

// rowOf reads a row of table bundles.
func rowOf(batch arrow.RecordBatch, row int) (b Bundle, err error) {
	columns := map[string]any{columnBundle: &b.ID, columnCluster: &b.Cluster}
	for _, c := range bundlesColumns {
		columns[c.name] = c.value(&b)
	}
	for i, f := range batch.Schema().Fields() {
		column := batch.Column(i)
		to, ok := columns[f.Name]
		if !ok || column.IsNull(row) {
			continue
		}
		switch to := to.(type) {
		case *string:
			v, ok := column.(interface{ Value(int) string })
			if !ok {
				return b, fmt.Errorf("column %s is %s", f.Name, f.Type)
			}
			*to = v.Value(row)
		case *int64:
			v, ok := column.(*array.Int64)
			if !ok {
				return b, fmt.Errorf("column %s is %s", f.Name, f.Type)
			}
			*to = v.Value(row)
		case *time.Time:
			v, ok := column.(*array.Timestamp)
			if !ok {
				return b, fmt.Errorf("column %s is %s", f.Name, f.Type)
			}
			*to = time.UnixMicro(int64(v.Value(row))).UTC()
		}
	}
	return b, nil
}
