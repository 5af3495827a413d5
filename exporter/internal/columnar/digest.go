package columnar

import (
	"encoding/binary"
	"hash"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// digester collects the bytes that docs/format/parts.md has for a column, so that the
// hash is fed large pieces.
type digester struct {
	buf []byte
	sum hash.Hash
}

const digestBuffer = 32 << 10

// room makes space for n bytes, n at most digestBuffer.
func (d *digester) room(n int) {
	if len(d.buf)+n > cap(d.buf) {
		d.flush()
	}
}

func (d *digester) flush() {
	d.sum.Write(d.buf)
	d.buf = d.buf[:0]
}

// bytes adds a length and the bytes.
func (d *digester) bytes(b []byte) {
	d.room(4)
	d.buf = binary.LittleEndian.AppendUint32(d.buf, uint32(len(b)))
	if len(b) > 1024 {
		d.flush()
		d.sum.Write(b)
		return
	}
	d.room(len(b))
	d.buf = append(d.buf, b...)
}

// digest adds the column's staged rows to its digest.
func (d *digester) digest(c *column) {
	d.sum = c.sum
	switch {
	case c.isList():
		d.lists(c)
	case c.valid == 0:
		d.nulls(c.rows)
	default:
		d.scalars(c)
	}
	d.flush()
	d.sum = nil
}

func (d *digester) nulls(n int) {
	clear(d.buf[:cap(d.buf)])
	for ; n > 0; n -= cap(d.buf) {
		d.sum.Write(d.buf[:min(n, cap(d.buf))])
	}
}

// digestRows is the number of rows of fixed-size values that are processed together: the buffer
// has space for that many of the largest.
const digestRows = digestBuffer / 33

func (d *digester) scalars(c *column) {
	v := &c.leaves[0]
	if c.Kind == table.Text || c.Kind == table.Bytes {
		d.texts(c, v)
		return
	}
	k := 0 // next present value
	for from := 0; from < c.rows; from += digestRows {
		n := min(digestRows, c.rows-from)
		var levels []byte // nil while all are present
		if c.valid < c.rows {
			levels = c.levels[from : from+n]
		}
		at, present := d.lay(c.Kind, v, k, n, levels)
		k += present
		d.sum.Write(d.buf[:cap(d.buf)][:at])
	}
}

// lay writes n rows of fixed-size values, the first present one being value k, to the buffer. It
// returns the position of the bytes and the number of present values.
func (d *digester) lay(kind table.Kind, v *values, k, n int, levels []byte) (at, present int) {
	out := d.buf[:cap(d.buf)]
	switch {
	case levels == nil && (kind == table.Int64 || kind == table.Timestamp):
		for i, x := range v.i64[k : k+n] {
			b := out[9*i : 9*i+9]
			b[0] = 1
			binary.LittleEndian.PutUint64(b[1:], uint64(x))
		}
		return 9 * n, n
	case levels == nil && kind == table.Int32:
		for i, x := range v.i32[k : k+n] {
			b := out[5*i : 5*i+5]
			b[0] = 1
			binary.LittleEndian.PutUint32(b[1:], uint32(x))
		}
		return 5 * n, n
	}
	first := k
	for i := range n {
		if levels != nil && levels[i] == 0 {
			out[at] = 0
			at++
			continue
		}
		out[at] = 1
		switch at++; kind {
		case table.Int64, table.Timestamp:
			binary.LittleEndian.PutUint64(out[at:], uint64(v.i64[k]))
			at += 8
		case table.Int32:
			binary.LittleEndian.PutUint32(out[at:], uint32(v.i32[k]))
			at += 4
		case table.Bool:
			out[at] = v.data[k]
			at++
		case table.Fixed16:
			at += copy(out[at:at+16], v.data[16*k:])
		case table.Fixed32:
			at += copy(out[at:at+32], v.data[32*k:])
		}
		k++
	}
	return at, k - first
}

func (d *digester) texts(c *column, v *values) {
	k := 0
	for i := range c.rows {
		d.room(1)
		if c.valid < c.rows && c.levels[i] == 0 {
			d.buf = append(d.buf, 0)
			continue
		}
		d.buf = append(d.buf, 1)
		d.bytes(v.at(k))
		k++
	}
}

func (d *digester) lists(c *column) {
	k := 0
	for _, n := range c.counts {
		d.room(5)
		if n < 0 {
			d.buf = append(d.buf, 0)
			continue
		}
		d.buf = append(d.buf, 1)
		d.buf = binary.LittleEndian.AppendUint32(d.buf, uint32(n))
		for range n {
			for l := range c.leaves {
				if v := &c.leaves[l]; c.Kind == table.Ranges || c.Kind == table.IntList {
					d.room(8)
					d.buf = binary.LittleEndian.AppendUint64(d.buf, uint64(v.i64[k]))
				} else {
					d.bytes(v.at(k))
				}
			}
			k++
		}
	}
}
