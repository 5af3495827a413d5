package parts

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/exporter/internal/columnar"
	schema "github.com/pcapsule/pcapsule/exporter/table"
)

// Rows reads some columns of a table row by row.
type Rows struct {
	Columns  []string // those that are read
	AsStored bool     // texts stay escaped, as databases read them

	t       *table
	cursors []*cursor
	kinds   []schema.Kind
	buf     []byte
}

// ReadRows opens the parts of one table. want selects columns by name and kind; the kind of a
// column that no table of ours has is refused. Close must be called.
func ReadRows(paths []string, want func(name string, kind schema.Kind) bool) (r *Rows, err error) {
	t, err := openTable(paths)
	if err != nil {
		return nil, err
	}
	r = &Rows{t: t}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if len(t.parts) == 0 {
		return r, nil
	}
	for _, c := range t.parts[0].file.Root().Columns() {
		s, err := shapeOf(c)
		if err != nil {
			return nil, fmt.Errorf("column %s %w", c.Name(), err)
		}
		kind, ok := kindOf(c, s)
		if !ok {
			return nil, fmt.Errorf("column %s has a type that no table has: %s", c.Name(), typeText(c))
		}
		if want(c.Name(), kind) {
			r.Columns = append(r.Columns, c.Name())
			r.kinds = append(r.kinds, kind)
			r.cursors = append(r.cursors, newCursor(t, s, s))
		}
	}
	for _, p := range t.parts[1:] {
		for i, name := range r.Columns {
			c := p.file.Root().Column(name)
			if c == nil {
				return nil, fmt.Errorf("%s has no column %s", p.name, name)
			}
			if s, err := shapeOf(c); err != nil || !s.like(r.cursors[i].shape) || s.leaves[0].index != r.cursors[i].shape.leaves[0].index {
				return nil, fmt.Errorf("%s has column %s in another form", p.name, name)
			}
		}
	}
	return r, nil
}

// Close closes the files.
func (r *Rows) Close() { r.t.close() }

// kindOf is the kind of a column, from how it is stored.
func kindOf(c *parquet.Column, s *shape) (schema.Kind, bool) {
	text := func(c *parquet.Column) bool {
		return c.Type().String() == "STRING"
	}
	first := s.leaves[0]
	if s.list {
		item := c.Columns()[0].Columns()[0]
		var names []string
		for _, l := range s.leaves {
			names = append(names, l.name)
		}
		switch {
		case slices.Equal(names, []string{"name", "value", "kind"}):
			return schema.Headers, true
		case slices.Equal(names, []string{"name", "value"}):
			return schema.Pairs, true
		case slices.Equal(names, []string{"first", "last"}):
			return schema.Ranges, true
		case len(names) == 1 && names[0] == "" && first.kind == parquet.Int64:
			return schema.IntList, true
		case len(names) == 1 && names[0] == "" && text(item):
			return schema.TextList, true
		}
		return 0, false
	}
	switch {
	case first.kind == parquet.Boolean:
		return schema.Bool, true
	case first.kind == parquet.Int32:
		return schema.Int32, true
	case first.kind == parquet.Int64 && strings.HasPrefix(c.Type().String(), "TIMESTAMP"):
		return schema.Timestamp, true
	case first.kind == parquet.Int64:
		return schema.Int64, true
	case first.kind == parquet.FixedLenByteArray && first.width == 16:
		return schema.Fixed16, true
	case first.kind == parquet.FixedLenByteArray && first.width == 32:
		return schema.Fixed32, true
	case first.kind == parquet.ByteArray && text(c):
		return schema.Text, true
	case first.kind == parquet.ByteArray:
		return schema.Bytes, true
	}
	return 0, false
}

// Next appends the values of the next row to row[:0], or returns io.EOF. A value is nil, bool,
// int32, int64, string (texts as they were before they were escaped), []byte, []string, []int64,
// schema.ID, schema.Hash, schema.Cites, []schema.Header or []schema.Pair.
func (r *Rows) Next(row []any) ([]any, error) {
	row = row[:0]
	if len(r.cursors) == 0 {
		return row, io.EOF
	}
	err := Guard(func() (err error) { row, err = r.next(row); return err })
	return row, err
}

func (r *Rows) next(row []any) ([]any, error) {
	for i, c := range r.cursors {
		var err error
		r.buf, err = c.next(r.buf[:0])
		if err == io.EOF && i == 0 {
			for j := range r.cursors[1:] {
				if _, err := r.cursors[j+1].next(nil); err != io.EOF {
					return row, fmt.Errorf("column %s has more rows than column %s", r.Columns[j+1], r.Columns[0])
				}
			}
			return row, io.EOF
		}
		if err == io.EOF {
			return row, fmt.Errorf("column %s has fewer rows than column %s", r.Columns[i], r.Columns[0])
		}
		if err != nil {
			return row, fmt.Errorf("column %s: %w", r.Columns[i], err)
		}
		v := reading{r.buf, r.AsStored}
		row = append(row, v.value(r.kinds[i]))
	}
	return row, nil
}

// reading takes values from the form of docs/format/parts.md, which cursor wrote.
type reading struct {
	b        []byte
	asStored bool
}

func (v *reading) value(kind schema.Kind) any {
	present := v.b[0] == 1
	v.b = v.b[1:]
	if !present {
		return nil
	}
	switch kind {
	case schema.Bool:
		return v.b[0] == 1
	case schema.Int32:
		return int32(v.uint32())
	case schema.Int64, schema.Timestamp:
		return v.int64()
	case schema.Text:
		return v.text()
	case schema.Bytes:
		return v.bytes()
	case schema.Fixed16:
		return schema.ID(v.b)
	case schema.Fixed32:
		return schema.Hash(v.b)
	}
	n := int(v.uint32())
	switch kind {
	case schema.TextList:
		return repeat(n, v.text)
	case schema.IntList:
		return repeat(n, v.int64)
	case schema.Ranges:
		return schema.Cites(repeat(n, func() schema.Range { return schema.Range{First: v.int64(), Last: v.int64()} }))
	case schema.Headers:
		return repeat(n, func() schema.Header { return schema.Header{Name: v.text(), Value: v.text(), Kind: v.text()} })
	default:
		return repeat(n, func() schema.Pair { return schema.Pair{Name: v.text(), Value: v.text()} })
	}
}

func repeat[T any](n int, next func() T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = next()
	}
	return list
}

func (v *reading) uint32() uint32 {
	n := binary.LittleEndian.Uint32(v.b)
	v.b = v.b[4:]
	return n
}

func (v *reading) int64() int64 {
	n := binary.LittleEndian.Uint64(v.b)
	v.b = v.b[8:]
	return int64(n)
}

func (v *reading) bytes() []byte {
	n := v.uint32()
	b := slices.Clone(v.b[:n])
	v.b = v.b[n:]
	return b
}

func (v *reading) text() string {
	n := v.uint32()
	s := string(v.b[:n])
	v.b = v.b[n:]
	if v.asStored {
		return s
	}
	return columnar.UnescapeText(s)
}
