package mysql

import (
	"bytes"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
)

// columns describe a result. Results of one shape share them.
type columns struct {
	n     int // number of columns, also of those beyond the limit
	names []string
	types []columnType
	raw   []byte // the definitions, to recognize them when they are repeated
	ends  []int  // of each definition in raw
}

// columnType describes how the values of a column are encoded.
type columnType struct {
	typ      byte
	unsigned bool
}

const flagUnsigned = 0x20 // of a column

func (d *columns) cost() int {
	n := int(unsafe.Sizeof(columns{})) + cap(d.raw) + 16*cap(d.names) + 2*cap(d.types) + 8*cap(d.ends)
	return n + len(d.raw) // for the names
}

// similar returns the newest columns if their number is the same, else new ones.
func (k *conn) similar(n int) *columns {
	if d := k.newest; d != nil && d.n == n && len(d.ends) == n {
		return d
	}
	return &columns{n: n}
}

// define reads the next definition of a column.
func (k *conn) define(c *call, b []byte, cut bool) {
	d := c.cols
	if d == nil {
		d = &columns{}
	}
	if d == k.newest {
		i := d.n - c.left
		from := 0
		if i > 0 {
			from = d.ends[i-1]
		}
		if bytes.Equal(d.raw[from:d.ends[i]], b) {
			return
		}
		d = &columns{n: d.n, names: d.names[:i:i], types: d.types[:i:i], raw: d.raw[:from:from], ends: d.ends[:i:i]}
	}
	c.cols = d
	if cut || len(d.raw)+len(b) > maxNames {
		return
	}
	name, typ := definition(b)
	d.names, d.types = append(d.names, name), append(d.types, typ)
	d.raw = append(d.raw, b...)
	d.ends = append(d.ends, len(d.raw))
}

// definition reads Protocol::ColumnDefinition41.
func definition(b []byte) (name string, typ columnType) {
	r := newReader(b)
	for range 4 { // catalog, schema, table, original table
		r.text()
	}
	name = sqltext.Text(r.text())
	r.text() // original name
	if r.Left() > 13 {
		r.text() // MariaDB's extended type
	}
	r.Skip(1 + 2 + 4) // length of the rest, character set, width
	typ.typ = r.Uint8()
	typ.unsigned = r.number(2)&flagUnsigned != 0
	return name, typ
}

// row counts a result row and shows the first ones.
func (k *conn) row(c *call, b []byte, cut bool) {
	c.rows.V, c.rows.OK = c.rows.V+1, true
	if c.full {
		return
	}
	was := len(c.preview)
	ok := !cut
	if binary := c.command == comExecute || c.command == comFetch || c.command == comBulkExecute; ok && binary {
		ok = c.binaryRow(b)
	} else if ok {
		ok = c.textRow(b)
	}
	if !ok || len(c.preview) > maxPreview {
		c.full = true
		if c.preview = c.preview[:was]; was == 0 {
			c.preview = append(c.preview, "…"...)
		}
		return
	}
	c.preview = append(c.preview, '\n')
}

// textRow shows a row of the text protocol.
func (c *call) textRow(b []byte) bool {
	if len(b) > maxPreview {
		return false
	}
	for r := newReader(b); r.Left() > 0; {
		if r.Used() > 0 {
			c.preview = append(c.preview, '\t')
		}
		n, null := r.lenenc()
		if null {
			c.preview = append(c.preview, `\N`...)
			continue
		}
		if n > uint64(r.Left()) {
			return false
		}
		c.preview = appendText(c.preview, r.Bytes(int(n)))
	}
	return true
}

// binaryRow shows a row of the binary protocol.
func (c *call) binaryRow(b []byte) bool {
	d := c.cols
	if d == nil || len(d.types) != d.n || len(b) == 0 || b[0] != packetOK {
		return false
	}
	r := newReader(b[1:])
	nulls := r.Bytes((d.n + 2 + 7) / 8)
	if r.Short() {
		return false
	}
	for i, t := range d.types {
		if i > 0 {
			c.preview = append(c.preview, '\t')
		}
		if bit := i + 2; nulls[bit/8]&(1<<(bit%8)) != 0 {
			c.preview = append(c.preview, `\N`...)
			continue
		}
		c.preview = appendValue(c.preview, t, &r)
		if r.Short() || len(c.preview) > maxPreview {
			return false
		}
	}
	return true
}
