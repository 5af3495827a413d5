package cassandra

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Kinds of results.
const (
	resultRows     = 2
	resultKeyspace = 3
	resultPrepared = 4
	resultChange   = 5
)

// response reads the body of a response.
func (f *facts) response(h head) {
	r, row := f.r, f.row
	if h.flags&flagTracing != 0 {
		if id := r.Bytes(16); id != nil {
			row.Tracing = table.Some(clip.UUID(id))
		}
	}
	if h.flags&flagWarning != 0 {
		for n := int(r.Uint16()); n > 0 && !r.Short(); n-- {
			if w := r.text(); len(row.Warnings) < maxWarnings {
				row.Warnings = append(row.Warnings, w)
			}
		}
	}
	if h.flags&flagPayload != 0 {
		f.payload()
	}
	row.Success = h.opcode != opError
	switch h.opcode {
	case opError:
		code := r.Uint32()
		if r.Short() {
			break
		}
		row.ErrCode = table.Some(int32(code))
		row.ErrName = table.Some(tables()["error"].Name(int64(code), "error_"))
		row.ErrMessage = table.NonEmpty(clip.Text(sqltext.Text(r.string()), maxError))
	case opResult:
		f.result()
	case opEvent:
		row.Change = table.NonEmpty(f.change())
	case opReady, opAuthenticate:
		f.k.modern = f.k.modern || f.c.opcode == opStartup && f.version >= 5
	}
	if r.Short() && !f.partial {
		f.c.bad = true
		f.k.Conn.Anomaly("malformed", "reading "+tables()["opcode"][int64(h.opcode)]+": its body is too short", 0)
	}
}

// change reads an event, or a change of the schema, as words.
func (f *facts) change() string {
	s := f.r.text()
	if s == "STATUS_CHANGE" || s == "TOPOLOGY_CHANGE" {
		s += " " + f.r.text()
		a := f.r.Bytes(int(f.r.Uint8()))
		return s + " " + show(kindInet, a)
	}
	for f.r.Left() >= 2 && !f.r.Short() && len(s) < maxText {
		s += " " + f.r.text()
	}
	return s
}

// result reads RESULT.
func (f *facts) result() {
	row := f.row
	k := f.r.int()
	if f.r.Short() {
		return
	}
	row.Result = table.Some(tables()["result"].Name(int64(k), "result_"))
	switch k {
	case resultRows:
		f.rows()
	case resultKeyspace:
		f.k.keyspace = f.r.text()
		row.Keyspace = table.NonEmpty(f.k.keyspace)
	case resultPrepared:
		id := f.r.shortBytes()
		if f.version >= 5 {
			f.r.shortBytes()
		}
		s := &statement{query: f.c.prepare}
		_, s.params = f.metadata(f.version >= 4)
		s.columns, s.kinds = f.metadata(false)
		row.Prepared = table.NonEmpty(show(kindUnknown, id)[2:])
		if f.c.prepare != "" && !f.r.Short() {
			f.k.remember(string(id), s)
		}
	case resultChange:
		row.Change = table.NonEmpty(f.change())
	}
}

// Flags of metadata.
const (
	globalSpec  = 0x01
	morePages   = 0x02
	noMetadata  = 0x04
	newMetadata = 0x08
)

// metadata reads the names and types of columns; keyed if positions of the partition key come first.
func (f *facts) metadata(keyed bool) (columns []string, kinds []kind) {
	r := f.r
	flags, n := r.int(), r.int()
	if keyed {
		r.Skip(2 * r.int())
	}
	if flags&morePages != 0 {
		f.row.More = true
		r.bytes()
	}
	if flags&newMetadata != 0 {
		r.shortBytes()
	}
	if flags&noMetadata != 0 || n > maxColumns {
		if n <= maxColumns && n > 0 {
			kinds = make([]kind, n)
			for i := range kinds {
				kinds[i] = kindUnknown
			}
		}
		return nil, kinds
	}
	if flags&globalSpec != 0 {
		r.string()
		r.string()
	}
	for range n {
		if flags&globalSpec == 0 {
			r.string()
			r.string()
		}
		name, k := r.text(), r.option(0)
		if r.Short() {
			return columns, kinds
		}
		columns, kinds = append(columns, name), append(kinds, k)
	}
	return columns, kinds
}

// rows reads a result set.
func (f *facts) rows() {
	row, r := f.row, f.r
	columns, kinds := f.metadata(false)
	if columns == nil && f.c.stmt != nil && len(f.c.stmt.kinds) == len(kinds) {
		columns, kinds = f.c.stmt.columns, f.c.stmt.kinds
	}
	row.Columns = columns
	n := r.int()
	if r.Short() || n < 0 {
		return
	}
	row.Rows = table.Some(int64(n))
	var b []byte
	for i := range n {
		if len(b) >= maxPreview || len(kinds) == 0 {
			break
		}
		if i > 0 {
			b = append(b, '\n')
		}
		for j, k := range kinds {
			v, set := r.bytes()
			if r.Short() {
				f.partial = true
				break
			}
			if j > 0 {
				b = append(b, '\t')
			}
			if set {
				b = sqltext.AppendField(b, []byte(show(k, v)))
			} else {
				b = append(b, `\N`...)
			}
		}
		if r.Short() {
			break
		}
	}
	if len(b) > maxPreview {
		b = append(bytes.ToValidUTF8(b[:maxPreview], nil), "…"...)
	}
	row.Preview = table.NonEmpty(string(b))
}
