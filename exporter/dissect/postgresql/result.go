package postgresql

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/cursor"
)

// columns reads RowDescription. Results of one shape share their columns.
func (k *conn) columns(body []byte) *columns {
	if k.cols != nil && bytes.Equal(k.cols.raw, body) {
		return k.cols
	}
	r := cursor.New(body)
	n := min(int(r.Uint16()), maxColumns)
	d := &columns{raw: bytes.Clone(body)}
	for range n {
		name := r.CString()
		r.Skip(6)
		oid := r.Uint32()
		r.Skip(6)
		code := int16(r.Uint16())
		if r.Short() {
			break
		}
		d.names, d.oids, d.codes = append(d.names, text(name)), append(d.oids, oid), append(d.codes, code)
	}
	k.cols = d
	return d
}

// row counts a result row and shows the first ones.
func (c *call) row(body []byte, cut bool) {
	c.rows++
	if c.full {
		return
	}
	if cut || len(body) < 2 {
		c.full = true
		return
	}
	was := len(c.preview)
	r := cursor.New(body)
	n := int(r.Uint16())
	cols := c.cols
	if cols == nil && c.stmt != nil {
		cols = c.stmt.cols
	}
	for i := range n {
		size := int32(r.Uint32())
		v := []byte(nil)
		if size >= 0 {
			v = r.Bytes(int(size))
		}
		if r.Short() || len(c.preview)+len(v) > maxPreview {
			c.full = true
			if was > 0 {
				c.preview = c.preview[:was]
			} else {
				c.preview = append(c.preview, "…"...)
			}
			return
		}
		if i > 0 {
			c.preview = append(c.preview, '\t')
		}
		if size < 0 {
			c.preview = append(c.preview, `\N`...)
			continue
		}
		var oid uint32
		code := int16(0)
		if cols != nil && i < len(cols.oids) {
			oid = cols.oids[i]
			if c.portal == nil { // else Bind said it
				code = cols.codes[i]
			}
		}
		c.preview = appendCopy(c.preview, oid, format(c.result, i, code), v)
	}
	c.preview = append(c.preview, '\n')
}

// format is the i-th of the format codes that Bind gave: none, one for all, or one each.
func format(codes []int16, i int, other int16) int16 {
	switch {
	case len(codes) == 1:
		return codes[0]
	case i < len(codes):
		return codes[i]
	}
	return other
}
