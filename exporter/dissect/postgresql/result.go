package postgresql

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
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
		d.names, d.oids, d.codes = append(d.names, sqltext.Text(name)), append(d.oids, oid), append(d.codes, code)
	}
	k.cols = d
	return d
}

// row counts a result row, and shows the first ones; in.Data[from:to] carries it.
func (c *call) row(body []byte, in *dissect.Input, from, to int, cut bool) {
	c.rows++
	switch shown := c.show(body, cut); {
	case shown || from == to || !in.Tracing():
	case cut:
		c.x.HideRest(in, from+headSize, to)
	default:
		c.hideRow(body, in, from+headSize)
	}
}

// show adds a row to the preview, if it is not full.
func (c *call) show(body []byte, cut bool) bool {
	if c.full {
		return false
	}
	if cut || len(body) < 2 {
		c.full = true
		return false
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
			return false
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
			if c.portal == nil { // else Bind set it
				code = cols.codes[i]
			}
		}
		c.preview = appendCopy(c.preview, oid, format(c.result, i, code), v)
	}
	c.preview = append(c.preview, '\n')
	return true
}

// hideRow records the values of a row that is not shown; body is in.Data[at:] of it.
func (c *call) hideRow(body []byte, in *dissect.Input, at int) {
	r := cursor.New(body)
	for range r.Uint16() {
		size := int32(r.Uint32())
		from := at + len(body) - r.Left()
		if size < 0 || r.Short() {
			continue
		}
		r.Skip(int(size))
		c.x.HideRest(in, from, at+len(body)-r.Left())
	}
}

// format is format code i of those in Bind: none, one for all, or one each.
func format(codes []int16, i int, other int16) int16 {
	switch {
	case len(codes) == 1:
		return codes[0]
	case i < len(codes):
		return codes[i]
	}
	return other
}

// complete reads CommandComplete, EmptyQueryResponse and PortalSuspended.
func (c *call) complete(kind byte, body []byte) {
	c.answered = true
	switch kind {
	case 's':
		c.suspended = true
	case 'I':
		c.empty = true
	case 'C':
		c.tagged(bytes.TrimSuffix(body, []byte{0}))
	}
	if b := c.x.RespBody; b != nil {
		b.Complete = b.Lost() == 0
	}
}

// tagged reads a command tag: words, then for some commands counts, of which the last is the
// number of rows.
func (c *call) tagged(tag []byte) {
	end := len(tag)
	for {
		i := bytes.LastIndexByte(tag[:end], ' ')
		if i < 0 {
			break
		}
		n, err := strconv.ParseInt(string(tag[i+1:end]), 10, 64)
		if err != nil {
			break
		}
		if end == len(tag) {
			c.tagRows = table.Some(n + c.tagRows.V)
		}
		end = i
	}
	c.tag = sqltext.Word(tag[:end])
}

// ignoreSyncs removes each Sync that the client sent with the statement that now copies its data in: the server ignores
// it, PostgreSQL documentation section "COPY Operations".
func (k *conn) ignoreSyncs() {
	o := k.front()
	if o == nil || o.kind != 'E' || o.call == nil || o.call.dataSent {
		return
	}
	for next := k.head + 1; next < len(k.ops) && k.ops[next].kind == 'S'; {
		if c := k.ops[next].call; c != nil {
			c.left--
		}
		k.kinds['S']--
		k.ops = slices.Delete(k.ops, next, next+1)
	}
}

// copyOut reads the messages of COPY and of replication.
func (k *conn) copyOut(c *call, kind byte, body []byte) {
	switch kind {
	case 'G':
		c.copied, c.copyIn = true, true
		k.ignoreSyncs()
		if c.x.ReqBody == nil {
			c.x.ReqBody = k.c.NewBody("", "")
		}
	case 'H':
		c.copied = true
		if c.x.RespBody == nil {
			c.x.RespBody = k.c.NewBody("", "")
		}
	case 'W':
		k.begin(c)
	case 'd':
		c.copyBytes += int64(len(body))
		if b := c.x.RespBody; b != nil {
			b.Write(body)
		}
	}
}
