package parts

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// values reads the entries of one leaf over all parts, row group by row group.
type values struct {
	t    *table
	leaf leaf

	part, group int // of the next chunk
	pages       parquet.Pages
	page        parquet.Page
	from        parquet.ValueReader
	buf         [128]parquet.Value
	at, n       int
	claim       *claim
	odd         []string // false claims of chunks about their values
}

// peek is the current entry, or io.EOF. It stays valid until the entry after the next.
func (v *values) peek() (*parquet.Value, error) {
	for v.at == v.n {
		if err := v.read(); err != nil {
			return nil, err
		}
	}
	return &v.buf[v.at], nil
}

// read fills the buffer.
func (v *values) read() error {
	v.at, v.n = 0, 0
	if v.from != nil {
		n, err := v.from.ReadValues(v.buf[:])
		v.n = n
		if err == io.EOF {
			v.from, err = nil, nil
		}
		if err != nil {
			return err
		}
		for i := range v.buf[:n] {
			v.claim.see(&v.buf[i])
		}
		return nil
	}
	if v.pages != nil {
		page, err := v.pages.ReadPage()
		if err == nil {
			v.page, v.from = page, page.Values()
			return nil
		}
		v.pages.Close() // read only
		v.pages = nil
		if err != io.EOF {
			return err
		}
		v.odd = append(v.odd, v.claim.end()...)
	}
	return v.open()
}

// open advances to the next column chunk.
func (v *values) open() error {
	for v.part < len(v.t.parts) && v.group >= len(v.t.parts[v.part].file.RowGroups()) {
		v.part, v.group = v.part+1, 0
	}
	if v.part == len(v.t.parts) {
		return io.EOF
	}
	p := v.t.parts[v.part]
	g := &p.file.Metadata().RowGroups[v.group]
	if v.leaf.index >= len(g.Columns) {
		return fmt.Errorf("row group %d has %d columns, expected more than %d", v.group, len(g.Columns), v.leaf.index)
	}
	chunk := p.file.RowGroups()[v.group].ColumnChunks()[v.leaf.index]
	m := &g.Columns[v.leaf.index]
	if err := checkChunk(p.f, p.size, &m.MetaData); err != nil {
		return err
	}
	v.pages = chunk.Pages()
	v.claim = newClaim(chunk, m, v.leaf.def, v.group, g.NumRows)
	v.group++
	return nil
}

// claim has a column chunk's statements about its values, by which readers skip rows.
type claim struct {
	group    int
	def      int
	typ      parquet.Type
	low      *parquet.Value
	high     *parquet.Value
	nulls    int64
	index    bool
	rows     int64
	gotRows  int64
	filter   parquet.BloomFilter
	gotNulls int64
	outside  bool
	hidden   bool
}

func newClaim(chunk parquet.ColumnChunk, m *format.ColumnChunk, def, group int, rows int64) *claim {
	c := &claim{group: group, rows: rows, def: def, typ: chunk.Type(), nulls: m.MetaData.Statistics.NullCount,
		index: m.ColumnIndexOffset != 0 || m.OffsetIndexOffset != 0}
	bound := func(b ...[]byte) *parquet.Value {
		for _, b := range b {
			if b != nil && (c.typ.Kind() == parquet.ByteArray || c.typ.Length() == 0 || len(b) == (c.typ.Length()+7)/8 || c.typ.Kind() == parquet.FixedLenByteArray) {
				v := c.typ.Kind().Value(b)
				return &v
			}
		}
		return nil
	}
	s := &m.MetaData.Statistics
	c.low, c.high = bound(s.MinValue, s.Min), bound(s.MaxValue, s.Max)
	if m.MetaData.BloomFilterOffset != 0 {
		c.filter = chunk.BloomFilter()
	}
	return c
}

func (c *claim) see(v *parquet.Value) {
	if v.RepetitionLevel() == 0 {
		c.gotRows++
	}
	if v.DefinitionLevel() < c.def {
		c.gotNulls++
		return
	}
	if c.low != nil && c.typ.Compare(*v, *c.low) < 0 || c.high != nil && c.typ.Compare(*v, *c.high) > 0 {
		c.outside = true
	}
	if c.filter != nil && !c.hidden {
		ok, err := c.filter.Check(*v)
		c.hidden = err != nil || !ok
	}
}

// end returns the false parts of the claim.
func (c *claim) end() (odd []string) {
	add := func(wrong bool, what string) {
		if wrong {
			odd = append(odd, fmt.Sprintf("row group %d: %s", c.group, what))
		}
	}
	add(c.outside, "its bounds leave out values that are there, so readers skip them")
	add(c.hidden, "its Bloom filter leaves out values that are there, so readers skip them")
	add(c.nulls != c.gotNulls, fmt.Sprintf("says %d nulls, has %d", c.nulls, c.gotNulls))
	add(c.rows != c.gotRows, fmt.Sprintf("says %d rows, has %d", c.rows, c.gotRows))
	add(c.index, "has a page index, which no release writes")
	return odd
}
