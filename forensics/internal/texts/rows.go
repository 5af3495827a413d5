package texts

import (
	"context"
	"fmt"
	"os"
)

// Rows reads rows of a table, for questions that read the same few row groups repeatedly. It caches
// columns. It must be used by one goroutine only.
type Rows struct {
	t     *Table
	read  *reader
	files []*os.File // files of the parts, open during Each
	kept  map[keptKey]*Column
	bytes int
	most  int
}

type keptKey struct{ part, group, leaf int }

// Rows makes a Rows with a cache of about the given number of bytes.
func (t *Table) Rows(bytes int) (*Rows, error) {
	r, err := newReader()
	if err != nil {
		return nil, err
	}
	return &Rows{t: t, read: r, files: make([]*os.File, len(t.parts)), kept: map[keptKey]*Column{}, most: bytes}, nil
}

func (r *Rows) close() {
	for i, f := range r.files {
		if f != nil {
			f.Close() // read only: nothing can be lost
			r.files[i] = nil
		}
	}
}

// RowGroup is one row group of a table.
type RowGroup struct {
	Rows     int
	From, To int64 // of ts_ns; the whole range if unknown

	r           *Rows
	part, group int
}

// Each calls do for every row group, in the order of the table. Columns can be read until do returns.
// An error of do ends the walk.
func (r *Rows) Each(ctx context.Context, do func(g *RowGroup) error) error {
	defer r.close()
	for i, p := range r.t.parts {
		for j := range p.groups {
			g := &p.groups[j]
			if g.rows == 0 {
				continue
			}
			if err := do(&RowGroup{Rows: int(g.rows), From: g.from, To: g.to, r: r, part: i, group: j}); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// chunk returns the chunk of a column, or nil if it has no values.
func (g *RowGroup) chunk(column string) *chunk {
	p := g.r.t.parts[g.part]
	at, ok := p.names[column]
	if !ok {
		return nil
	}
	return p.groups[g.group].find(at)
}

// Bounds returns the smallest and the largest number of a column, and whether it has nulls. ok is
// false if the bounds are unknown. If all values are null, low is above high.
func (g *RowGroup) Bounds(column string) (low, high int64, nulls, ok bool) {
	c := g.chunk(column)
	if c == nil {
		return 1, 0, true, true
	}
	return c.low, c.high, c.nulls != 0, c.low <= c.high && c.values >= 0
}

// Column is one column of a row group: texts, numbers or booleans, at most one per row.
type Column struct {
	place []int32 // index of each row's value, -1 for null; nil: no nulls, or all null
	none  bool
	nums  []int64
	texts values
	idx   []uint32
}

// Number returns the number of a row, or 1 for true; ok is false for null.
func (c *Column) Number(row int) (n int64, ok bool) {
	if k := c.at(row); k >= 0 && k < len(c.nums) {
		return c.nums[k], true
	}
	return 0, false
}

// Text returns the text of a row, or nil for null. It must not be changed.
func (c *Column) Text(row int) []byte {
	k := c.at(row)
	if k < 0 || c.nums != nil {
		return nil
	}
	if c.idx != nil {
		k = int(c.idx[k])
	}
	return c.texts.at(k)
}

func (c *Column) at(row int) int {
	switch {
	case c.none:
		return -1
	case c.place == nil:
		return row
	}
	return int(c.place[row])
}

// Column reads a column. A missing column is null in every row.
func (g *RowGroup) Column(name string) (*Column, error) {
	c := g.chunk(name)
	if c == nil {
		return &Column{none: true}, nil
	}
	r := g.r
	key := keptKey{g.part, g.group, int(c.leaf)}
	if kept := r.kept[key]; kept != nil {
		return kept, nil
	}
	p := r.t.parts[g.part]
	if r.files[g.part] == nil {
		f, err := p.open()
		if err != nil {
			return nil, err
		}
		r.files[g.part] = f
	}
	r.read.p, r.read.f = p, r.files[g.part]
	out, size, err := r.read.whole(c, g.Rows)
	if err != nil {
		return nil, r.read.fail(name, err)
	}
	if r.bytes += size; r.bytes > r.most {
		clear(r.kept)
		r.bytes = size
	}
	r.kept[key] = out
	return out, nil
}

// whole reads a chunk, and returns its approximate size in memory.
func (r *reader) whole(c *chunk, rows int) (*Column, int, error) {
	var col column
	if err := r.begin(&col, c); err != nil {
		return nil, 0, err
	}
	if err := r.data(&col); err != nil {
		return nil, 0, err
	}
	if col.maxRep > 0 || int(col.values) != rows {
		return nil, 0, fmt.Errorf("%d entries in %d rows", col.values, rows)
	}
	out := &Column{}
	if col.count < rows {
		out.place = make([]int32, rows)
		next := int32(0)
		for row, d := range col.defs {
			if out.place[row] = -1; int8(d) == col.maxDef {
				out.place[row] = next
				next++
			}
		}
	}
	switch {
	case col.typ == typeInt64 || col.typ == typeInt32 || col.typ == typeBool:
		out.nums = make([]int64, col.count)
		for k := range out.nums {
			out.nums[k] = col.number(k)
		}
	case col.coded:
		out.texts, out.idx = col.dict, col.idx
	default:
		out.texts = col.plain
	}
	return out, 4*len(out.place) + 8*len(out.nums) + cap(out.texts.block) + 4*cap(out.texts.ends) + 4*cap(out.idx) + 200, nil
}
