package wire

import (
	"encoding/binary"
	"errors"
	"math"
)

// A batch begins with twice the number of its rows, plus one if no rows follow. Then come its columns,
// each in a suitable form:
//
//	form 1 byte · nulls 0 or 1 · if 1: a bit per row, set where there is a value · data
//
// Integers and floating-point numbers are 8 bytes a row, booleans 1; texts, bytes and all
// other values are end offsets of 4 bytes per row, followed by the data.

// Form is the encoding of a column in a batch.
type Form byte

// Forms.
const (
	Ints   Form = 'i'
	Floats Form = 'f'
	Bools  Form = 'b'
	Texts  Form = 's'
	Blobs  Form = 'x'
	Values Form = 'v'
)

// ErrTooBig reports rows that exceed the memory limit of a batch.
var ErrTooBig = errors.New("the rows are too large")

// Writer writes a batch. Column begins a column; one call then adds each of its rows.
type Writer struct {
	Buf   []byte
	Limit int // bytes of memory; above it, Full returns true

	rows, row int
	form      Form
	valid     int // offset of the bitmap; 0: none
	ends      int // offset of the end positions
	data      int // offset of the data
	extra     int // memory that is not in Buf
	start     int
}

// Begin begins a batch after the contents of Buf.
func (w *Writer) Begin(rows int) {
	w.start = len(w.Buf)
	w.rows, w.extra = rows, 0
	w.Buf = binary.AppendUvarint(w.Buf, uint64(rows)<<1)
}

// Last marks the batch as the last one.
func (w *Writer) Last() { w.Buf[w.start] |= 1 }

// Full reports whether the batch exceeds its limit.
func (w *Writer) Full() bool { return len(w.Buf)-w.start+w.extra > w.Limit }

// Hold counts the memory of n values in a list, struct or map.
func (w *Writer) Hold(n int) { w.extra += n * perValue }

// Column begins a column.
func (w *Writer) Column(form Form, nulls bool) {
	w.form, w.row, w.valid = form, 0, 0
	w.Buf = append(w.Buf, byte(form), 0)
	if nulls {
		w.Buf[len(w.Buf)-1] = 1
		w.valid = len(w.Buf)
		w.Buf = append(w.Buf, make([]byte, (w.rows+7)/8)...)
	}
	switch form {
	case Texts, Blobs, Values:
		w.ends = len(w.Buf)
		w.Buf = append(w.Buf, make([]byte, 4*w.rows)...)
	}
	w.data = len(w.Buf)
}

// Null adds a row without a value, in a column that has nulls.
func (w *Writer) Null() {
	switch w.form {
	case Ints, Floats:
		w.Buf = append(w.Buf, 0, 0, 0, 0, 0, 0, 0, 0)
	case Bools:
		w.Buf = append(w.Buf, 0)
	}
	w.end()
}

// Int adds a row of Ints.
func (w *Writer) Int(n int64) { w.fixed(uint64(n)) }

// Float adds a row of Floats.
func (w *Writer) Float(f float64) { w.fixed(math.Float64bits(f)) }

func (w *Writer) fixed(n uint64) {
	w.set()
	w.Buf = binary.LittleEndian.AppendUint64(w.Buf, n)
	w.row++
}

// Bool adds a row of Bools.
func (w *Writer) Bool(c byte) {
	w.set()
	w.Buf = append(w.Buf, c)
	w.row++
}

// Bytes adds a row of Texts or Blobs.
func (w *Writer) Bytes(s []byte) {
	w.set()
	w.Buf = append(w.Buf, s...)
	w.end()
}

// Value ends a row of Values, whose value was appended to Buf.
func (w *Writer) Value() {
	w.set()
	w.end()
}

func (w *Writer) set() {
	if w.valid > 0 {
		w.Buf[w.valid+w.row/8] |= 1 << (w.row % 8)
	}
}

func (w *Writer) end() {
	switch w.form {
	case Texts, Blobs, Values:
		binary.LittleEndian.PutUint32(w.Buf[w.ends+4*w.row:], uint32(len(w.Buf)-w.data))
	}
	w.row++
}

// Rows is a decoded batch. Its values are copies.
type Rows struct {
	N       int
	Last    bool // no rows follow
	columns []column
	shapes  []Shape
}

type column struct {
	form  Form
	valid []byte // bits of the rows with a value; nil: all have one
	ends  []byte
	data  []byte
}

// Read reads a batch. body must not change while the rows are read.
func (b *Rows) Read(body []byte, columns int, shapes []Shape) error {
	r := Reader{data: body}
	n := r.uvarint()
	last := n&1 == 1
	if n >>= 1; n > MaxFrame || columns > len(body) {
		r.fail("%d rows", n)
		return r.err
	}
	b.N, b.Last, b.shapes = int(n), last, shapes
	if cap(b.columns) < columns {
		b.columns = make([]column, columns)
	}
	b.columns = b.columns[:columns]
	for i := range b.columns {
		b.columns[i].read(&r, b.N)
	}
	if n > 0 && columns == 0 || n == 0 && !last {
		r.fail("%d rows of %d columns", n, columns)
	}
	return r.end()
}

func (c *column) read(r *Reader, rows int) {
	*c = column{form: Form(r.byte())}
	part := func(n int) []byte {
		if n > len(r.data) {
			r.fail("cut short")
			return nil
		}
		p := r.data[:n]
		r.data = r.data[n:]
		return p
	}
	if r.byte() != 0 {
		c.valid = part((rows + 7) / 8)
	}
	switch c.form {
	case Ints, Floats:
		c.data = part(8 * rows)
	case Bools:
		c.data = part(rows)
	case Texts, Blobs, Values:
		c.ends = part(4 * rows)
		last := uint32(0)
		for i := 0; i < len(c.ends); i += 4 {
			end := binary.LittleEndian.Uint32(c.ends[i:])
			if end < last {
				r.fail("a value ends before it begins")
				return
			}
			last = end
		}
		c.data = part(int(last))
	default:
		r.fail("column of form %d", c.form)
	}
}

func (c *column) null(row int) bool { return c.valid != nil && c.valid[row/8]>>(row%8)&1 == 0 }

func (c *column) bytes(row int) []byte {
	from := uint32(0)
	if row > 0 {
		from = binary.LittleEndian.Uint32(c.ends[4*row-4:])
	}
	return c.data[from:binary.LittleEndian.Uint32(c.ends[4*row:])]
}

// Int returns an integer, or 0 if the value is not one.
func (b *Rows) Int(col, row int) int64 {
	c := &b.columns[col]
	if c.form == Ints {
		if c.null(row) {
			return 0
		}
		return int64(binary.LittleEndian.Uint64(c.data[8*row:]))
	}
	v, _ := b.Value(col, row)
	n, _ := v.(int64)
	return n
}

// Text returns a text, or "" if the value is not one.
func (b *Rows) Text(col, row int) string {
	v, _ := b.Value(col, row)
	s, _ := v.(string)
	return s
}

// Value returns a value of a row.
func (b *Rows) Value(col, row int) (any, error) {
	c := &b.columns[col]
	if c.null(row) {
		return nil, nil
	}
	switch c.form {
	case Ints:
		return int64(binary.LittleEndian.Uint64(c.data[8*row:])), nil
	case Floats:
		return math.Float64frombits(binary.LittleEndian.Uint64(c.data[8*row:])), nil
	case Bools:
		return c.data[row] != 0, nil
	case Texts:
		return string(c.bytes(row)), nil
	case Blobs:
		return append([]byte{}, c.bytes(row)...), nil
	}
	r := Reader{data: c.bytes(row), shapes: b.shapes, budget: MaxRow}
	v := r.value(0)
	return v, r.end()
}
