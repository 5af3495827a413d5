// Package parts reads the Parquet parts of a table and compares them with those made from the
// packets.
//
// It names the first row that differs, computes row digests of the files (docs/format/parts.md),
// and checks whether bounds and filters in a file agree with its values, because readers skip rows
// by them. The files are not trusted: every length and count is checked against limits, and
// anything unreadable is an error, never a panic.
package parts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// part is one open file of a table.
type part struct {
	name string
	f    *os.File
	size int64
	file *parquet.File
}

// table are the parts of one table, in order.
type table struct {
	parts []*part
	rows  int64
}

func openTable(paths []string) (*table, error) {
	t := &table{}
	for _, p := range paths {
		x, err := openPart(p)
		if err != nil {
			t.close()
			return nil, err
		}
		t.parts = append(t.parts, x)
		t.rows += x.file.NumRows()
	}
	return t, nil
}

func openPart(path string) (x *part, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkFooter(f, info.Size()); err != nil {
		return nil, err
	}
	err = Guard(func() (err error) {
		x = &part{name: path, f: f, size: info.Size()}
		x.file, err = parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		return err
	})
	return x, err
}

func (t *table) close() {
	for _, p := range t.parts {
		p.f.Close() // read only
	}
}

// Guard runs do and converts a panic to an error. The library panics on some files that
// violate the format, and such a file must not end the program that checks it. The panic's text
// is about code and may reach a client of a server, so it is left out.
func Guard(do func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it is damaged: the Parquet library stops at it")
		}
	}()
	return do()
}

// shape describes how a column is stored.
type shape struct {
	list   bool
	null   int // definition level below which the row is null
	leaves []leaf
}

// leaf is one Parquet column of a column.
type leaf struct {
	name  string // of a struct's member
	index int
	kind  parquet.Kind
	width int // of a fixed value
	def   int // definition level of a value
}

// shapeOf determines how a file stores a column; an error says why no table can have that form.
func shapeOf(c *parquet.Column) (*shape, error) {
	s := &shape{}
	if c.Optional() {
		s.null = 1
	}
	if c.Leaf() {
		if c.Repeated() {
			return nil, errors.New("is repeated")
		}
		return s, s.add("", c)
	}
	if len(c.Columns()) != 1 || !c.Columns()[0].Repeated() || c.Columns()[0].Leaf() || len(c.Columns()[0].Columns()) != 1 {
		return nil, errors.New("is neither a value nor a list")
	}
	s.list = true
	item := c.Columns()[0].Columns()[0]
	if item.Leaf() {
		return s, s.add("", item)
	}
	for _, m := range item.Columns() {
		if !m.Leaf() {
			return nil, errors.New("is a list of lists")
		}
		if err := s.add(m.Name(), m); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *shape) add(name string, c *parquet.Column) error {
	l := leaf{name: name, index: c.Index(), kind: c.Type().Kind(), def: c.MaxDefinitionLevel()}
	switch l.kind {
	case parquet.Boolean, parquet.Int32, parquet.Int64, parquet.ByteArray:
	case parquet.FixedLenByteArray:
		l.width = c.Type().Length()
	default:
		return fmt.Errorf("has the physical type %s, which no table has", l.kind)
	}
	s.leaves = append(s.leaves, l)
	return nil
}

// like reports whether rows of both shapes can be compared. Bytes of fixed and of variable
// length can.
func (s *shape) like(o *shape) bool {
	return s.list == o.list && slices.EqualFunc(s.leaves, o.leaves, func(a, b leaf) bool {
		return a.name == b.name && (a.kind == b.kind || a.isBytes() && b.isBytes())
	})
}

func (l *leaf) isBytes() bool {
	return l.kind == parquet.ByteArray || l.kind == parquet.FixedLenByteArray
}

// typeText is a column's type in the schema, for readers.
func typeText(c *parquet.Column) string {
	text := c.String()
	if _, after, ok := strings.Cut(text, ": "); ok {
		text = after
	}
	return strings.Join(strings.Fields(text), " ")
}

// cursor yields the rows of one column over all parts, in the form of docs/format/parts.md.
type cursor struct {
	as     *shape // the shape whose widths the rows have
	shape  *shape
	leaves []*values
}

func newCursor(t *table, s, as *shape) *cursor {
	c := &cursor{as: as, shape: s}
	for _, l := range s.leaves {
		c.leaves = append(c.leaves, &values{t: t, leaf: l})
	}
	return c
}

var errUneven = errors.New("its members have different numbers of items")

// next appends the next row, or returns io.EOF.
func (c *cursor) next(row []byte) ([]byte, error) {
	first, err := c.leaves[0].peek()
	if err != nil {
		return row, err
	}
	switch d := first.DefinitionLevel(); {
	case d < c.shape.null:
		return append(row, 0), c.pass()
	case !c.shape.list:
		row = c.value(append(row, 1), 0, first)
		return row, c.pass()
	case d == c.shape.null: // an empty list
		return append(row, 1, 0, 0, 0, 0), c.pass()
	}
	at := len(row) + 1
	row = append(row, 1, 0, 0, 0, 0)
	for n := uint32(1); ; n++ {
		for i := range c.leaves {
			v, err := c.leaves[i].peek()
			if err == io.EOF {
				return row, errUneven
			}
			if err != nil {
				return row, err
			}
			if v.DefinitionLevel() < c.shape.leaves[i].def {
				return row, errors.New("it has an item that is null")
			}
			if len(row) > maxRow {
				return row, fmt.Errorf("it has a row of more than %d bytes", maxRow)
			}
			row = c.value(row, i, v)
		}
		if err := c.pass(); err != nil {
			return row, err
		}
		binary.LittleEndian.PutUint32(row[at:], n)
		if v, err := c.leaves[0].peek(); err == io.EOF || err == nil && v.RepetitionLevel() == 0 {
			return row, nil
		} else if err != nil {
			return row, err
		}
	}
}

// pass advances to the next entry in all leaves.
func (c *cursor) pass() error {
	for i, v := range c.leaves {
		if i > 0 {
			if _, err := v.peek(); err == io.EOF {
				return errUneven
			} else if err != nil {
				return err
			}
		}
		v.at++
	}
	return nil
}

// value appends a value of leaf i.
func (c *cursor) value(row []byte, i int, v *parquet.Value) []byte {
	switch c.shape.leaves[i].kind {
	case parquet.Boolean:
		if v.Boolean() {
			return append(row, 1)
		}
		return append(row, 0)
	case parquet.Int32:
		return binary.LittleEndian.AppendUint32(row, uint32(v.Int32()))
	case parquet.Int64:
		return binary.LittleEndian.AppendUint64(row, uint64(v.Int64()))
	}
	b := v.ByteArray()
	if as := &c.as.leaves[i]; as.kind != parquet.FixedLenByteArray || as.width != len(b) {
		row = binary.LittleEndian.AppendUint32(row, uint32(len(b)))
	}
	return append(row, b...)
}
