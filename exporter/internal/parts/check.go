package parts

import (
	"context"
	"fmt"
	"io"
	"unicode/utf8"

	schema "github.com/pcapsule/pcapsule/exporter/table"
)

// Check reads every value of a part that another machine made. It returns an error if the part does not have exactly
// the columns of a schema and the number of rows, or cannot be read to its end.
func Check(ctx context.Context, file string, want *schema.Schema, rows int64) error {
	r, err := ReadRows([]string{file}, func(string, schema.Kind) bool { return true })
	if err != nil {
		return err
	}
	defer r.Close()
	columns := r.t.parts[0].file.Root().Columns()
	if len(columns) != len(want.Columns) {
		return fmt.Errorf("it has %d columns, table %s has %d in this release", len(columns), want.Name, len(want.Columns))
	}
	for i, c := range columns {
		kind := r.kinds[i]
		if w := &want.Columns[i]; c.Name() != w.Name || kind != w.Kind {
			return fmt.Errorf("column %d is %.80q, %s; table %s has %s, %s in this release", i+1, c.Name(), kind, want.Name, w.Name, w.Kind)
		}
	}
	for i, c := range r.cursors {
		if err := Guard(func() error { return r.readAll(ctx, c, r.kinds[i], rows) }); err != nil {
			return fmt.Errorf("column %s: %w", r.Columns[i], err)
		}
	}
	return nil
}

// readAll reads a column, which must have a number of rows.
func (r *Rows) readAll(ctx context.Context, c *cursor, kind schema.Kind, rows int64) (err error) {
	for n := int64(0); ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.buf, err = c.next(r.buf[:0])
		switch {
		case err == io.EOF && n == rows:
			return nil
		case err == io.EOF, err == nil && n >= rows:
			return fmt.Errorf("it does not have %d rows, which are listed", rows)
		case err != nil:
			return fmt.Errorf("row %d: %w", n, err)
		case !validTexts(kind, r.buf):
			return fmt.Errorf("row %d has text that is not UTF-8", n)
		}
	}
}

// textsEach is how many texts each item of a kind has.
var textsEach = map[schema.Kind]int{schema.Text: 1, schema.TextList: 1, schema.Pairs: 2, schema.Headers: 3}

// validTexts reports whether the texts of a row are UTF-8. A query on others fails as a whole.
func validTexts(kind schema.Kind, row []byte) bool {
	if textsEach[kind] == 0 || row[0] == 0 {
		return true
	}
	v, n := reading{b: row[1:]}, 1
	if kind != schema.Text {
		n = int(v.uint32())
	}
	for range n * textsEach[kind] {
		size := v.uint32()
		if !utf8.Valid(v.b[:size]) {
			return false
		}
		v.b = v.b[size:]
	}
	return true
}
