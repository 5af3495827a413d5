package parts

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
)

// Difference is one difference between a table's files and the rows from the packets.
type Difference struct {
	Column string // empty: the table as a whole
	Row    int64  // the first row that differs, from 0; -1: not about one row
	What   string
}

// Result is the result of comparing a table.
type Result struct {
	Digests     map[string][sha256.Size]byte // of the columns in the files
	Differences []Difference
}

// Compare compares the existing parts of a table with the newly made ones, column by column and
// row by row. strict is for parts of one release, with identical schemas. created is the
// required created_by of each part.
func Compare(there, made []string, strict bool, created string) Result {
	r := Result{Digests: map[string][sha256.Size]byte{}}
	err := Guard(func() error { return r.compare(there, made, strict, created) })
	if err != nil {
		r.add("", -1, "%v", err)
	}
	return r
}

func (r *Result) add(column string, row int64, format string, args ...any) {
	r.Differences = append(r.Differences, Difference{column, row, fmt.Sprintf(format, args...)})
}

func (r *Result) compare(there, made []string, strict bool, created string) error {
	want, err := openTable(made)
	if err != nil {
		return fmt.Errorf("reading what the packets give: %w", err)
	}
	defer want.close()
	have, err := openTable(there)
	if err != nil {
		return err
	}
	defer have.close()
	if have.rows != want.rows {
		r.add("", -1, "the files hold %d rows, the packets give %d", have.rows, want.rows)
	}
	for _, p := range have.parts {
		if by := p.file.Metadata().CreatedBy; by != created {
			r.add("", -1, "a part says that %q wrote it, not %q", by, created)
			break
		}
	}
	if len(have.parts) == 0 || len(want.parts) == 0 {
		return nil
	}
	r.schemas(have, want, strict)
	for _, c := range have.parts[0].file.Root().Columns() {
		if err := Guard(func() error { return r.column(have, want, c) }); err != nil {
			r.add(c.Name(), -1, "%v", err)
		}
	}
	return nil
}

// schemas compares names, order and types of the columns of all parts.
func (r *Result) schemas(have, want *table, strict bool) {
	first := have.parts[0].file.Root()
	for _, p := range have.parts[1:] {
		if p.file.Root().String() != first.String() {
			r.add("", -1, "its parts have different columns")
			return
		}
	}
	if !strict {
		return
	}
	made := want.parts[0].file.Root()
	seen, moved := map[string]bool{}, false
	for i, c := range first.Columns() {
		w := made.Column(c.Name())
		switch {
		case seen[c.Name()]:
			r.add(c.Name(), -1, "is there twice")
		case w == nil:
			r.add(c.Name(), -1, "the packets give no such column")
		case typeText(c) != typeText(w):
			r.add(c.Name(), -1, "is %s, the packets give %s", typeText(c), typeText(w))
		case !moved && (i >= len(made.Columns()) || made.Columns()[i].Name() != c.Name()):
			moved = true // and so are those after it
			r.add(c.Name(), -1, "is column %d, the packets give it another place", i+1)
		}
		seen[c.Name()] = true
	}
	for _, w := range made.Columns() {
		if !seen[w.Name()] {
			r.add(w.Name(), -1, "is missing; the packets give it")
		}
	}
}

// column compares the rows of a column and computes its digest.
func (r *Result) column(have, want *table, c *parquet.Column) error {
	s, err := shapeOf(c)
	if err != nil {
		return fmt.Errorf("the column %w", err)
	}
	as := s
	var other *cursor
	if w := want.parts[0].file.Root().Column(c.Name()); w != nil {
		ws, err := shapeOf(w)
		if err != nil {
			return err
		}
		if ws.like(s) {
			as, other = ws, newCursor(want, ws, ws)
		}
	}
	mine := newCursor(have, s, as)
	sum := sha.New()
	var row, wanted []byte
	for n := int64(0); ; n++ {
		row, err = mine.next(row[:0])
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("row %d: %w", n, err)
		}
		sum.Write(row)
		if other == nil {
			continue
		}
		wanted, err = other.next(wanted[:0])
		if err == nil && bytes.Equal(row, wanted) {
			continue
		}
		if err == io.EOF {
			r.add(c.Name(), n, "is %s, the packets give no such row", render(as, row))
		} else if err != nil {
			return fmt.Errorf("row %d of what the packets give: %w", n, err)
		} else {
			r.add(c.Name(), n, "is %s, the packets give %s", render(as, row), render(as, wanted))
		}
		other = nil // the first difference is enough
	}
	r.Digests[c.Name()] = [sha256.Size]byte(sum.Sum(nil))
	for _, v := range mine.leaves {
		for _, odd := range v.odd[:min(len(v.odd), 3)] {
			r.add(c.Name(), -1, "%s", odd)
		}
	}
	return nil
}

// maxShown is how many bytes of a value are shown.
const maxShown = 64

// render renders a row of a column for readers.
func render(s *shape, row []byte) string {
	if len(row) == 0 || row[0] == 0 {
		return "null"
	}
	row = row[1:]
	n := uint32(1)
	if s.list {
		n = binary.LittleEndian.Uint32(row)
		row = row[4:]
	}
	var items []string
	for i := uint32(0); i < n && i < 4; i++ {
		var members []string
		for l := range s.leaves {
			var text string
			text, row = renderLeaf(&s.leaves[l], row)
			members = append(members, text)
		}
		items = append(items, strings.Join(members, " "))
	}
	if !s.list {
		return items[0]
	}
	if int(n) > len(items) {
		items = append(items, fmt.Sprintf("… %d items", n))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func renderLeaf(l *leaf, row []byte) (text string, rest []byte) {
	switch l.kind {
	case parquet.Boolean:
		return strconv.FormatBool(row[0] != 0), row[1:]
	case parquet.Int32:
		return strconv.Itoa(int(int32(binary.LittleEndian.Uint32(row)))), row[4:]
	case parquet.Int64:
		return strconv.FormatInt(int64(binary.LittleEndian.Uint64(row)), 10), row[8:]
	}
	n := l.width
	if l.kind == parquet.ByteArray {
		n = int(binary.LittleEndian.Uint32(row))
		row = row[4:]
	}
	n = min(n, len(row))
	value := row[:n]
	more := ""
	if len(value) > maxShown {
		value, more = value[:maxShown], "…"
	}
	if l.kind == parquet.FixedLenByteArray {
		return fmt.Sprintf("%x", value) + more, row[n:]
	}
	return strconv.QuoteToASCII(string(value)) + more, row[n:]
}
