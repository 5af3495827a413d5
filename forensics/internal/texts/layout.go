package texts

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
)

// DamagedError reports a part that is damaged or not supported.
type DamagedError struct {
	File string // inside the bundle
	What string
}

func (e *DamagedError) Error() string { return e.File + ": " + e.What }

// Limits of a part, far above those of our parts; see docs/format/parts.md.
const (
	maxFooter = 256 << 20 // bytes
	maxLeaves = 4096      // columns of the file
	maxRows   = 1 << 17   // of a row group
	maxValues = 1 << 22   // of a chunk, including nulls
	maxPage   = 64 << 20  // bytes, unpacked
)

// Physical types.
const (
	typeBool  = 0
	typeInt32 = 1
	typeInt64 = 2
	typeBytes = 6
	typeFixed = 7
)

// leaf is a column of a Parquet file that this package can read.
type leaf struct {
	typ    int8
	width  int32 // of a fixed value
	maxRep int8
	maxDef int8
}

// chunk is one leaf in one row group.
type chunk struct {
	leaf   int32
	codec  int8
	start  int64 // of its first page
	data   int64 // of its data page; a dictionary precedes it if start is less
	size   int32 // bytes in the file
	raw    int64 // bytes unpacked
	values int32 // entries, including nulls; -1: unreadable, see part.wrong
	nulls  int32 // -1: unknown
	low    int64 // bounds of numbers, if low <= high
	high   int64
}

// group is a row group. Chunks without a value are left out.
type group struct {
	rows   int32
	chunks []chunk
	from   int64 // of ts_ns; the whole range if unknown
	to     int64
}

// part is the metadata of one file.
type part struct {
	dir    string         // of the bundle
	name   string         // inside the bundle
	leaves []leaf         // supported leaves
	names  map[string]int // "headers.list.element.value" → index in leaves
	groups []group
	wrong  map[int64]string // why a chunk at an offset cannot be read
	size   int64
}

func (p *part) damaged(format string, args ...any) error {
	return &DamagedError{File: p.name, What: fmt.Sprintf(format, args...)}
}

// open opens the part's file through the bundle's directory handle, so a link that was created since
// is not followed.
func (p *part) open() (*os.File, error) {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return nil, fmt.Errorf("opening texts: %w", err)
	}
	defer root.Close()
	info, err := root.Lstat(p.name)
	if err != nil {
		return nil, fmt.Errorf("opening texts: %w", err)
	}
	if !info.Mode().IsRegular() || p.size != 0 && info.Size() != p.size {
		return nil, p.damaged("changed since the bundle was opened")
	}
	f, err := root.Open(p.name)
	if err != nil {
		return nil, fmt.Errorf("opening texts: %w", err)
	}
	return f, nil
}

// readPart reads the footer of a file.
func readPart(dir, name string) (*part, error) {
	p := &part{dir: dir, name: name, names: map[string]int{}}
	f, err := p.open()
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening texts: %w", err)
	}
	p.size = info.Size()
	var tail [8]byte
	if p.size < 12 {
		return nil, p.damaged("%d bytes, too few for a Parquet file", p.size)
	}
	if _, err := f.ReadAt(tail[:], p.size-8); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if string(tail[4:]) != "PAR1" || n > p.size-12 || n > maxFooter {
		return nil, p.damaged("does not end as a Parquet file does")
	}
	footer := make([]byte, n)
	if _, err := f.ReadAt(footer, p.size-8-n); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if err := p.parse(footer); err != nil {
		return nil, err
	}
	return p, nil
}

// parse reads FileMetaData of parquet.thrift.
func (p *part) parse(footer []byte) error {
	t := &thrift{b: footer}
	var schema []node
	var all []int // for each leaf of the file its index in p.leaves, or -1
	var err error
	t.structure(func(id int16, kind byte) {
		switch {
		case err != nil:
			t.bad = true
		case id == 2 && schema == nil:
			t.each(kind, func() {
				schema = append(schema, readNode(t))
			})
			all, err = p.takeSchema(schema)
		case id == 4:
			t.each(kind, func() {
				if err == nil {
					err = p.readGroup(t, all)
				}
				t.bad = t.bad || err != nil
			})
		default:
			t.skip(kind)
		}
	})
	if err != nil {
		return err
	}
	if t.bad {
		return p.damaged("reading its footer: %v", errThrift)
	}
	return nil
}

// node is an element of a schema, which is a tree written depth first.
type node struct {
	name       string
	typ        int64 // -1 for a group
	width      int64
	repetition int64 // 0 required, 1 optional, 2 repeated
	children   int64
}

func readNode(t *thrift) node {
	n := node{typ: -1}
	t.structure(func(id int16, kind byte) {
		switch id {
		case 1:
			n.typ = t.int()
		case 2:
			n.width = t.int()
		case 3:
			n.repetition = t.int()
		case 4:
			n.name = string(t.bytes())
		case 5:
			n.children = t.int()
		default:
			t.skip(kind)
		}
	})
	return n
}

// takeSchema finds the leaves.
func (p *part) takeSchema(list []node) ([]int, error) {
	type level struct {
		name     string
		left     int64
		rep, def int8
	}
	var open []level
	var all []int
	for i, n := range list {
		at := level{left: n.children}
		if len(open) > 0 {
			up := &open[len(open)-1]
			up.left--
			at.rep, at.def, at.name = up.rep, up.def, n.name
			if up.name != "" {
				at.name = up.name + "." + n.name
			}
			switch n.repetition {
			case 1:
				at.def++
			case 2:
				at.rep, at.def = at.rep+1, at.def+1
			}
		} else if i > 0 {
			return nil, p.damaged("its schema has more than one root")
		}
		if n.children > 0 {
			if open = append(open, at); len(open) > 16 {
				return nil, p.damaged("its schema is too deep")
			}
			continue
		}
		if len(open) == 0 {
			return nil, p.damaged("its schema is no tree")
		}
		if len(all) >= maxLeaves {
			return nil, p.damaged("more than %d columns", maxLeaves)
		}
		kept := -1
		if at.rep <= 1 && (n.typ == typeBool || n.typ == typeInt32 || n.typ == typeInt64 || n.typ == typeBytes || n.typ == typeFixed && n.width > 0 && n.width <= 1024) {
			kept = len(p.leaves)
			p.names[at.name] = kept
			p.leaves = append(p.leaves, leaf{typ: int8(n.typ), width: int32(n.width), maxRep: at.rep, maxDef: at.def})
		}
		all = append(all, kept)
		for len(open) > 0 && open[len(open)-1].left == 0 {
			open = open[:len(open)-1]
		}
	}
	return all, nil
}

// readGroup reads a RowGroup and stores the chunks with values.
func (p *part) readGroup(t *thrift, all []int) error {
	g := group{from: math.MinInt64, to: math.MaxInt64}
	rows, nth := int64(0), 0
	t.structure(func(id int16, kind byte) {
		switch id {
		case 1:
			t.each(kind, func() {
				c, m := chunk{leaf: -1}, meta{nulls: -1}
				if nth < len(all) {
					c.leaf = int32(all[nth])
				}
				nth++
				m.read(t)
				if c.leaf >= 0 && !t.bad {
					p.keep(&g, c, &m)
				}
			})
		case 3:
			rows = t.int()
		default:
			t.skip(kind)
		}
	})
	switch {
	case t.bad:
		return nil
	case rows < 0 || rows > maxRows:
		return p.damaged("a row group of %d rows, the limit is %d", rows, maxRows)
	case nth != len(all):
		return p.damaged("a row group of %d columns instead of %d", nth, len(all))
	}
	g.rows = int32(rows)
	p.groups = append(p.groups, g)
	return nil
}

// meta has the contents of a ColumnMetaData.
type meta struct {
	codec, values, raw, size, data, dict int64
	nulls                                int64 // -1: unknown
	low, high                            []byte
}

// read reads a ColumnChunk.
func (m *meta) read(t *thrift) {
	t.structure(func(id int16, kind byte) {
		if id != 3 || kind != thriftStruct {
			t.skip(kind)
			return
		}
		t.structure(func(id int16, kind byte) {
			switch {
			case id == 4:
				m.codec = t.int()
			case id == 5:
				m.values = t.int()
			case id == 6:
				m.raw = t.int()
			case id == 7:
				m.size = t.int()
			case id == 9:
				m.data = t.int()
			case id == 11:
				m.dict = t.int()
			case id == 12 && kind == thriftStruct:
				t.structure(func(id int16, kind byte) {
					switch id {
					case 3:
						m.nulls = t.int()
					case 5:
						m.high = t.bytes()
					case 6:
						m.low = t.bytes()
					default:
						t.skip(kind)
					}
				})
			default:
				t.skip(kind)
			}
		})
	})
}

// keep stores a chunk unless all its values are null. An unreadable chunk is an error only when it is
// read: a call with very many packets has very long citations.
func (p *part) keep(g *group, c chunk, m *meta) {
	if m.values == m.nulls || m.values == 0 {
		return
	}
	c.start, c.data = m.data, m.data
	if m.dict > 0 && m.dict < m.data {
		c.start = m.dict
	}
	wrong := ""
	switch {
	case m.values < 0 || m.values > maxValues || m.nulls > m.values:
		wrong = fmt.Sprintf("%d values and %d nulls, the limit is %d", m.values, m.nulls, maxValues)
	case c.start < 4 || m.size <= 0 || m.size > 2*maxPage || c.start > p.size || m.size > p.size-c.start || c.data-c.start >= m.size:
		wrong = fmt.Sprintf("it is at %d and %d, %d bytes: outside the file of %d bytes or too large", c.start, c.data, m.size, p.size)
	case m.codec != codecNone && m.codec != codecZstd:
		wrong = fmt.Sprintf("compression %d, must be %d (Zstandard) or none", m.codec, codecZstd)
	}
	if wrong != "" {
		if p.wrong == nil {
			p.wrong = map[int64]string{}
		}
		p.wrong[c.start] = wrong
		c.raw, c.values = 1, -1
		g.chunks = append(g.chunks, c)
		return
	}
	c.codec, c.size, c.raw, c.values = int8(m.codec), int32(m.size), max(1, m.raw), int32(m.values)
	c.nulls, c.low, c.high = int32(m.nulls), 1, 0
	switch t := p.leaves[c.leaf].typ; {
	case t == typeInt64 && len(m.low) == 8 && len(m.high) == 8:
		c.low, c.high = int64(binary.LittleEndian.Uint64(m.low)), int64(binary.LittleEndian.Uint64(m.high))
	case t == typeInt32 && len(m.low) == 4 && len(m.high) == 4:
		c.low, c.high = int64(int32(binary.LittleEndian.Uint32(m.low))), int64(int32(binary.LittleEndian.Uint32(m.high)))
	}
	if at, ok := p.names["ts_ns"]; ok && int(c.leaf) == at && c.low <= c.high {
		g.from, g.to = c.low, c.high
	}
	g.chunks = append(g.chunks, c)
}

// find returns the chunk of a leaf in a row group, or nil if it has no values or does not exist.
func (g *group) find(leaf int) *chunk {
	for i := range g.chunks {
		if int(g.chunks[i].leaf) == leaf {
			return &g.chunks[i]
		}
	}
	return nil
}

// within reports whether a row of the group may be in a time range.
func (g *group) within(from, to int64) bool {
	return g.rows > 0 && g.from <= to && g.to >= from
}
