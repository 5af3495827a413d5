package columnar

import (
	"hash"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// column holds the staged values of one column, in the form in which Parquet stores them:
// present values only, side by side.
type column struct {
	*table.Column
	offset  uintptr // of the value in a row, or in the struct that the row points to
	present uintptr // of Opt's flag, likewise
	opt     bool    // the field is an Opt
	sum     hash.Hash

	rows    int
	counted bool    // fit has seen a value of the group, so each row of it has a level
	valid   int     // rows that are not null
	levels  []byte  // 1 for a row that is not null; empty while all are null, or if the column is required
	counts  []int32 // lists: items of each row, -1 for null
	leaves  []values
}

// values are the present values of one leaf of a column.
type values struct {
	i32  []int32
	i64  []int64
	data []byte   // booleans as bytes, fixed values, text
	ends []uint32 // text: ends of the values in data, after a leading 0
	same bool     // the last text was not escaped: an equal one needs no check
}

func newColumn(c *table.Column) *column {
	n := 1
	switch c.Kind {
	case table.Ranges, table.Pairs:
		n = 2
	case table.Headers:
		n = 3
	}
	return &column{Column: c, sum: sha.New(), leaves: make([]values, n)}
}

// fixedSize is the raw size of the column in each row, or 0 if it differs.
func (c *column) fixedSize() int {
	if c.Optional {
		return 0
	}
	return c.valueSize()
}

// valueSize is the raw size of a value, or 0 if values differ.
func (c *column) valueSize() int {
	switch c.Kind {
	case table.Bool:
		return 1
	case table.Int32:
		return 4
	case table.Int64, table.Timestamp:
		return 8
	case table.Fixed16:
		return 16
	case table.Fixed32:
		return 32
	}
	return 0
}

// sizeIn is the raw size in the row at p of a column without a fixed size, unless its flag says that it is null: what is
// staged of it, without levels.
func (c *column) sizeIn(p unsafe.Pointer) int {
	p = unsafe.Add(p, c.offset)
	switch c.Kind {
	case table.Text:
		return 4 + len(*(*string)(p))
	case table.Bytes:
		if b := *(*[]byte)(p); b != nil || !c.Optional {
			return 4 + len(b)
		}
		return 0
	case table.IntList:
		return 4 + 8*len(*(*[]int64)(p))
	case table.Ranges:
		return 4 + 16*len(*(*[]table.Range)(p))
	case table.TextList:
		n := 4
		for _, s := range *(*[]string)(p) {
			n += 4 + len(s)
		}
		return n
	case table.Headers:
		n := 4
		for i := range *(*[]table.Header)(p) {
			h := &(*(*[]table.Header)(p))[i]
			n += 12 + len(h.Name) + len(h.Value) + len(h.Kind)
		}
		return n
	case table.Pairs:
		n := 4
		for i := range *(*[]table.Pair)(p) {
			h := &(*(*[]table.Pair)(p))[i]
			n += 8 + len(h.Name) + len(h.Value)
		}
		return n
	}
	return c.valueSize()
}

// gather appends the column's values of rows.
func (c *column) gather(rows []unsafe.Pointer) {
	v := &c.leaves[0]
	switch c.Kind {
	case table.TextList, table.IntList, table.Ranges, table.Headers, table.Pairs:
		c.gatherLists(rows)
		return
	}
	levels, n := c.mark(rows)
	if n == 0 {
		return
	}
	if n == len(rows) {
		levels = nil
	}
	switch c.Kind {
	case table.Bool:
		v.data = gather(v.data, n, rows, levels, c.offset)
	case table.Int32:
		v.i32 = gather(v.i32, n, rows, levels, c.offset)
	case table.Int64, table.Timestamp:
		v.i64 = gather(v.i64, n, rows, levels, c.offset)
	case table.Fixed16:
		gatherFixed[table.ID](v, n, rows, levels, c.offset)
	case table.Fixed32:
		gatherFixed[table.Hash](v, n, rows, levels, c.offset)
	case table.Text:
		for i, p := range rows {
			if levels == nil || levels[i] != 0 {
				v.text(*(*string)(unsafe.Add(p, c.offset)))
			}
		}
	case table.Bytes:
		for i, p := range rows {
			if levels == nil || levels[i] != 0 {
				v.bytes(*(*[]byte)(unsafe.Add(p, c.offset)))
			}
		}
	}
}

// mark records which rows have a value, and returns that with their number.
func (c *column) mark(rows []unsafe.Pointer) (levels []byte, n int) {
	if !c.Optional {
		c.rows += len(rows)
		c.valid += len(rows)
		return nil, len(rows)
	}
	n = c.count(rows)
	// While all are null, nothing is stored: most columns of most protocols stay that way.
	if n == 0 && c.valid == 0 {
		c.rows += len(rows)
		return nil, 0
	}
	if c.valid == 0 {
		c.levels = append(c.levels[:0], make([]byte, c.rows)...)
	}
	at := len(c.levels)
	c.levels = slices.Grow(c.levels, len(rows))[:at+len(rows)]
	levels = c.levels[at:]
	c.rows += len(rows)
	c.valid += n
	switch {
	case c.opt:
		for i, p := range rows {
			levels[i] = *(*byte)(unsafe.Add(p, c.present))
		}
	case c.Kind == table.Bytes:
		for i, p := range rows {
			levels[i] = 0
			if *(*[]byte)(unsafe.Add(p, c.offset)) != nil {
				levels[i] = 1
			}
		}
	default:
		for i := range levels {
			levels[i] = 1
		}
	}
	return levels, n
}

// count is the number of rows that have a value.
func (c *column) count(rows []unsafe.Pointer) (n int) {
	switch {
	case c.opt:
		for _, p := range rows {
			n += int(*(*byte)(unsafe.Add(p, c.present)))
		}
	case c.Kind == table.Bytes:
		for _, p := range rows {
			if *(*[]byte)(unsafe.Add(p, c.offset)) != nil {
				n++
			}
		}
	default:
		n = len(rows)
	}
	return n
}

func gather[T any](dst []T, n int, rows []unsafe.Pointer, levels []byte, offset uintptr) []T {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	out := dst[at:]
	if levels == nil {
		for i, p := range rows[:n] {
			out[i] = *(*T)(unsafe.Add(p, offset))
		}
		return dst
	}
	k := 0
	for i, p := range rows {
		if levels[i] != 0 {
			out[k] = *(*T)(unsafe.Add(p, offset))
			k++
		}
	}
	return dst
}

func gatherFixed[T table.ID | table.Hash](v *values, n int, rows []unsafe.Pointer, levels []byte, offset uintptr) {
	var zero T
	v.data = slices.Grow(v.data, n*len(zero))
	for i, p := range rows {
		if levels == nil || levels[i] != 0 {
			v.data = append(v.data, unsafe.Slice((*byte)(unsafe.Add(p, offset)), len(zero))...)
		}
	}
}

func (c *column) gatherLists(rows []unsafe.Pointer) {
	c.rows += len(rows)
	for _, p := range rows {
		p = unsafe.Add(p, c.offset)
		// All slices begin with a pointer, which is nil for null, and a length.
		head := *(*[]struct{})(p)
		if head == nil {
			c.counts = append(c.counts, -1)
			continue
		}
		c.valid++
		c.counts = append(c.counts, int32(len(head)))
		switch c.Kind {
		case table.TextList:
			for _, s := range *(*[]string)(p) {
				c.leaves[0].text(s)
			}
		case table.IntList:
			c.leaves[0].i64 = append(c.leaves[0].i64, *(*[]int64)(p)...)
		case table.Ranges:
			for _, r := range *(*[]table.Range)(p) {
				c.leaves[0].i64 = append(c.leaves[0].i64, r.First)
				c.leaves[1].i64 = append(c.leaves[1].i64, r.Last)
			}
		case table.Headers:
			for i := range *(*[]table.Header)(p) {
				h := &(*(*[]table.Header)(p))[i]
				c.leaves[0].text(h.Name)
				c.leaves[1].text(h.Value)
				c.leaves[2].text(h.Kind)
			}
		case table.Pairs:
			for i := range *(*[]table.Pair)(p) {
				h := &(*(*[]table.Pair)(p))[i]
				c.leaves[0].text(h.Name)
				c.leaves[1].text(h.Value)
			}
		}
	}
}

func (v *values) text(s string) {
	if len(v.ends) == 0 {
		v.ends = append(v.ends, 0)
	}
	n := len(v.ends)
	if v.same = n > 1 && v.same && string(v.at(n-2)) == s || plainText(s); v.same {
		v.data = append(v.data, s...)
	} else {
		v.data = appendText(v.data, s)
	}
	v.ends = append(v.ends, uint32(len(v.data)))
}

func (v *values) bytes(b []byte) {
	if len(v.ends) == 0 {
		v.ends = append(v.ends, 0)
	}
	v.data = append(v.data, b...)
	v.ends = append(v.ends, uint32(len(v.data)))
}

// reset removes the values and keeps the memory.
func (c *column) reset() {
	c.rows, c.valid, c.counted = 0, 0, false
	c.levels, c.counts = c.levels[:0], c.counts[:0]
	for i := range c.leaves {
		v := &c.leaves[i]
		v.i32, v.i64, v.data, v.ends = v.i32[:0], v.i64[:0], v.data[:0], v.ends[:0]
	}
}

// free gives up the memory of a column without values.
func (c *column) free() {
	c.levels, c.counts = nil, nil
	clear(c.leaves)
}

// at is text k.
func (v *values) at(k int) []byte { return v.data[v.ends[k]:v.ends[k+1]] }

func (c *column) isList() bool {
	switch c.Kind {
	case table.TextList, table.IntList, table.Ranges, table.Headers, table.Pairs:
		return true
	}
	return false
}
