// Package columnar writes rows of exporter/table structs as Parquet parts.
//
// It guarantees that equal rows give equal bytes regardless of batches, that memory stays near a
// few times Options.GroupBytes for each table, or Scratch.StagedBytes for all tables that share it, and
// that the digest of every column (docs/format/parts.md) does not depend on the encoding of the
// rows. Text that is not UTF-8, which Parquet readers refuse, is escaped reversibly
// (docs/format/parts.md). It refuses rows of another type than the schema's.
package columnar

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// SchemaVersion is the version of the table schemas, stored in the metadata of each part.
const SchemaVersion = 1

// Limits and defaults of a Table.
const (
	DefaultGroupBytes  = 16 << 20
	DefaultRowsPerPart = 4 << 20
	maxGroupRows       = 65536   // rows in a row group
	maxRowBytes        = 1 << 28 // raw bytes of one row: escaped there may be four times as many, and a page's size is an int32
	batchRows          = 512     // rows staged together, so that they stay in the CPU's cache
	maxParts           = 1000    // part numbers have three digits
	footerGroups       = 4       // bytes of a part's row group descriptions, in groups' bytes; at most for half of maxParts
	minFooter          = 2 << 20 // bytes that these may always have
)

// Level is the compression level of zstd.
type Level = zstd.EncoderLevel

// Options control how parts are written. The zero value of each field is a good default.
type Options struct {
	ReleaseName    string // of the program, for the parts' created_by
	ReleaseVersion string
	RowsPerPart    int64       // rows of each part file except the last, unless it has many small row groups; DefaultRowsPerPart if 0
	GroupBytes     int         // raw bytes of rows held before a row group is written; DefaultGroupBytes if 0
	Compression    Level       // zstd.SpeedFastest if 0
	Mode           fs.FileMode // of the parts; 0644 if 0
	Scratch        *Scratch    // shared with other tables; if nil, the table's own
	NoDigests      bool        // for parts that are kept for a short time
}

// Part is one file of a table.
type Part struct {
	Name  string // file name in the table's folder
	Rows  int64
	Bytes int64
}

// ColumnDigest is the digest of a column's values over all parts.
type ColumnDigest struct {
	Name   string
	Type   string // DuckDB type
	SHA256 string // lower-case hexadecimal
}

// Result lists the files that Close wrote.
type Result struct {
	Parts   []Part
	Rows    int64
	Columns []ColumnDigest
}

// Table receives rows and writes them to the parts of one folder. It is not safe for concurrent
// use; different Tables are independent.
type Table struct {
	dir     string
	schema  *table.Schema
	options Options
	columns []*column
	places  []*place // the row, and the structs that it points to
	located bool     // the columns' offsets in them are known

	pointers []unsafe.Pointer
	rows     int64 // rows written and staged
	partRows int64 // of these, in the current part
	staged   int   // rows of the current group
	raw      int   // and their raw bytes, with levels
	leveled  int   // columns whose rows have levels
	room     int   // raw bytes for which the columns keep memory

	part   *part // nil until the first row group
	parts  []Part
	work   *workspace // nil until the first row group
	failed error
	closed bool
}

// Create makes the folder dir and a table in it. Nothing else is written before the first row
// group is full or Close is called.
func Create(dir string, schema *table.Schema, o Options) (*Table, error) {
	if o.RowsPerPart <= 0 {
		o.RowsPerPart = DefaultRowsPerPart
	}
	if o.GroupBytes <= 0 {
		o.GroupBytes = DefaultGroupBytes
	}
	if o.Compression == 0 {
		o.Compression = zstd.SpeedFastest
	}
	if o.Mode == 0 {
		o.Mode = 0o644
	}
	if len(schema.Columns) == 0 {
		return nil, fmt.Errorf("creating table %s: no columns", schema.Name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating table %s: %w", schema.Name, err)
	}
	t := &Table{dir: dir, schema: schema, options: o}
	for i := range schema.Columns {
		t.columns = append(t.columns, newColumn(&schema.Columns[i]))
	}
	return t, nil
}

// Append adds rows to the table; T is the schema's row type. It keeps no reference to rows or to
// anything they point to.
func Append[T any](t *Table, rows []T) error {
	if err := t.takes(reflect.TypeFor[T]()); err != nil {
		return err
	}
	for len(rows) > 0 {
		n := min(len(rows), batchRows)
		t.pointers = t.pointers[:0]
		for i := range rows[:n] {
			t.pointers = append(t.pointers, unsafe.Pointer(&rows[i]))
		}
		err := t.AppendPointers(t.pointers)
		clear(t.pointers)
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// takes is an error for rows of another type than the schema's.
func (t *Table) takes(row reflect.Type) error {
	if row != t.schema.Row {
		return fmt.Errorf("appending to table %s: the rows have type %s instead of %s", t.schema.Name, row, t.schema.Row)
	}
	return nil
}

// AppendRows adds rows that are not next to each other, without copying them; T is the schema's row type. It keeps no
// reference to anything they point to.
func AppendRows[T any](t *Table, rows []*T) error {
	if err := t.takes(reflect.TypeFor[T]()); err != nil {
		return err
	}
	return t.AppendPointers(unsafe.Slice((*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(rows))), len(rows)))
}

// AppendPointers adds rows to the table, each a pointer to the schema's row type. It keeps no
// reference to anything they point to.
func (t *Table) AppendPointers(rows []unsafe.Pointer) error {
	switch {
	case t.failed != nil:
		return t.failed
	case t.closed:
		return fmt.Errorf("appending to table %s: the table is closed", t.schema.Name)
	}
	if err := t.locate(); err != nil {
		return t.fail(err)
	}
	for len(rows) > 0 {
		n, full, err := t.fit(rows[:min(len(rows), batchRows)])
		if err != nil {
			return t.fail(err)
		}
		for _, p := range t.places {
			p.gather(rows[:n])
		}
		rows = rows[n:]
		if err = t.options.Scratch.grow(t); err == nil && full && t.staged > 0 {
			err = t.flush()
		}
		if err != nil {
			return t.fail(err)
		}
	}
	return nil
}

// fit counts rows into the group until it is full, including the row that fills it. Only the
// rows determine where a group ends.
func (t *Table) fit(rows []unsafe.Pointer) (n int, full bool, err error) {
	for i, row := range rows {
		size, first := 0, 0
		for _, p := range t.places {
			n, added := p.size(row)
			size, first = size+n, first+added
		}
		if size > maxRowBytes {
			return 0, false, fmt.Errorf("row %d has %d bytes, the limit is %d", t.rows, size, maxRowBytes)
		}
		t.leveled += first
		t.raw += size + first*t.staged + t.leveled
		t.staged++
		t.rows++
		t.partRows++
		if t.raw >= t.options.GroupBytes || t.staged == maxGroupRows || t.partRows == t.options.RowsPerPart {
			return i + 1, true, nil
		}
	}
	return len(rows), false, nil
}

// flush writes the staged rows as a row group, and ends the part if it has all its rows.
func (t *Table) flush() error {
	if err := t.open(); err != nil {
		return err
	}
	if t.staged > 0 {
		// Digests cost as much as encoding; both only read the staged rows.
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, c := range t.columns {
				if !t.options.NoDigests {
					t.work.digester.digest(c)
				}
			}
		}()
		err := t.part.writeGroup(t.columns, t.staged, t.work)
		<-done
		if err != nil {
			return err
		}
		for _, c := range t.columns {
			c.reset()
		}
		t.staged, t.raw, t.leveled = 0, 0, 0
	}
	large := t.part.footer >= max(footerGroups*t.options.GroupBytes, minFooter) && len(t.parts) < maxParts/2
	if t.partRows == t.options.RowsPerPart || large {
		return t.endPart()
	}
	return nil
}

func (t *Table) open() (err error) {
	if t.work == nil {
		if t.work, err = t.options.Scratch.workspace(t.options.Compression); err != nil {
			return err
		}
	}
	if t.part != nil {
		return nil
	}
	if len(t.parts) == maxParts {
		return fmt.Errorf("more than %d parts of %d rows", maxParts, t.options.RowsPerPart)
	}
	name := fmt.Sprintf("part-%03d.parquet", len(t.parts))
	t.part, err = createPart(filepath.Join(t.dir, name), t.options.Mode, t.schema, t.columns)
	return err
}

func (t *Table) endPart() error {
	size, err := t.part.close(metadata(t.schema, t.options))
	if err != nil {
		return err
	}
	t.parts = append(t.parts, Part{Name: filepath.Base(t.part.path), Rows: t.partRows, Bytes: size})
	t.part, t.partRows = nil, 0
	return nil
}

// Close writes the staged rows and ends the last part. A table without rows has one part with
// the schema and no rows. The caller syncs the files.
func (t *Table) Close() (Result, error) {
	if t.failed != nil {
		return Result{}, t.failed
	}
	if t.closed {
		return Result{}, fmt.Errorf("closing table %s: the table is closed", t.schema.Name)
	}
	if t.staged > 0 || len(t.parts) == 0 {
		if err := t.flush(); err != nil {
			return Result{}, t.fail(err)
		}
	}
	if t.part != nil {
		if err := t.endPart(); err != nil {
			return Result{}, t.fail(err)
		}
	}
	r := Result{Parts: t.parts, Rows: t.rows}
	for _, c := range t.columns {
		r.Columns = append(r.Columns, ColumnDigest{c.Name, c.Kind.String(), hex.EncodeToString(c.sum.Sum(nil))})
	}
	t.options.Scratch.drop(t)
	t.closed, t.columns, t.work = true, nil, nil
	return r, nil
}

// Abort ends the table and removes the parts it wrote. It may be called at any time; after Close it
// does nothing.
func (t *Table) Abort() {
	if t.closed {
		return
	}
	t.closed = true
	t.options.Scratch.drop(t)
	if t.part != nil {
		t.part.abort()
	}
	for _, p := range t.parts {
		os.Remove(filepath.Join(t.dir, p.Name))
	}
	t.part, t.parts, t.columns, t.work = nil, nil, nil, nil
}

// fail makes err the result of every later call: a table with missing rows must not look
// complete.
func (t *Table) fail(err error) error {
	t.failed = fmt.Errorf("writing table %s: %w", t.schema.Name, err)
	return t.failed
}
