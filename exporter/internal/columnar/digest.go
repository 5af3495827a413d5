package columnar

import (
	"encoding/binary"
	"hash"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// digester collects the bytes that docs/format/digests.md has for a column, so that the
// hash is fed large pieces.
type digester struct {
	buf []byte
	sum hash.Hash
}

const digestBuffer = 32 << 10

// room makes place for n bytes, n at most digestBuffer.
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
func (w *workspace) digest(c *column) {
	d := &w.digester
	d.sum = c.sum
	switch {
	case c.isList():
		d.lists(c)
	case c.valid == 0:
		for range c.rows {
			d.room(1)
			d.buf = append(d.buf, 0)
		}
	default:
		d.scalars(c)
	}
	d.flush()
	d.sum = nil
}

func (d *digester) scalars(c *column) {
	v := &c.leaves[0]
	k := 0 // next present value
	all := c.valid == c.rows
	for i := range c.rows {
		d.room(33)
		if !all && c.levels[i] == 0 {
			d.buf = append(d.buf, 0)
			continue
		}
		d.buf = append(d.buf, 1)
		switch c.Kind {
		case table.Bool:
			d.buf = append(d.buf, v.data[k])
		case table.Int32:
			d.buf = binary.LittleEndian.AppendUint32(d.buf, uint32(v.i32[k]))
		case table.Int64, table.Timestamp:
			d.buf = binary.LittleEndian.AppendUint64(d.buf, uint64(v.i64[k]))
		case table.Fixed16:
			d.buf = append(d.buf, v.data[16*k:16*k+16]...)
		case table.Fixed32:
			d.buf = append(d.buf, v.data[32*k:32*k+32]...)
		case table.Text, table.Bytes:
			d.bytes(v.at(k))
		}
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
				if v := &c.leaves[l]; c.Kind == table.Ranges {
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
