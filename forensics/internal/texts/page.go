package texts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Compressions and encodings of parquet.thrift.
const (
	codecNone = 0
	codecZstd = 6

	encPlain       = 0
	encDict        = 2 // name used by old writers
	encDelta       = 5
	encDeltaLength = 6
	encRLEDict     = 8
)

// header is a PageHeader.
type header struct {
	kind     int64 // 0 data, 2 dictionary
	raw      int64
	packed   int64
	crc      int64
	checked  bool // crc is there
	values   int64
	encoding int64
	rle      bool // its levels are RLE
}

func readHeader(t *thrift) header {
	h := header{kind: -1, encoding: -1, rle: true}
	t.structure(func(id int16, kind byte) {
		switch {
		case id == 1:
			h.kind = t.int()
		case id == 2:
			h.raw = t.int()
		case id == 3:
			h.packed = t.int()
		case id == 4:
			h.crc, h.checked = t.int(), true
		case (id == 5 || id == 7) && kind == thriftStruct:
			t.structure(func(id int16, kind byte) {
				switch id {
				case 1:
					h.values = t.int()
				case 2:
					h.encoding = t.int()
				case 3, 4:
					h.rle = t.int() == 3 && h.rle
				default:
					t.skip(kind)
				}
			})
		default:
			t.skip(kind)
		}
	})
	return h
}

// reader reads chunks of one file. It must be used by one goroutine only.
type reader struct {
	zstd *zstd.Decoder
	p    *part
	f    io.ReaderAt
	in   []byte // compressed bytes
}

func newReader() (*reader, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage), zstd.IgnoreChecksum(true))
	if err != nil {
		return nil, fmt.Errorf("making a decompressor: %w", err)
	}
	return &reader{zstd: z}, nil
}

// page reads the page at an offset, of at most most bytes, into to. It also reads extra bytes after
// the page, which stay in r.in.
func (r *reader) page(to []byte, c *chunk, at, most, extra int64) (header, []byte, error) {
	if most <= 0 || most > 2*maxPage {
		return header{}, to, fmt.Errorf("the page at %d is outside its chunk", at)
	}
	r.in = slices.Grow(r.in[:0], int(most+extra))[:most+extra]
	if _, err := r.f.ReadAt(r.in, at); err != nil {
		return header{}, to, err
	}
	t := &thrift{b: r.in[:most]}
	h := readHeader(t)
	switch {
	case t.bad:
		return h, to, fmt.Errorf("the header of a page at %d is %w", at, errThrift)
	case h.packed < 0 || h.packed > int64(len(t.b)) || h.raw < 0 || h.raw > maxPage || h.values < 0 || h.values > maxValues:
		return h, to, fmt.Errorf("the page at %d has %d bytes, unpacked %d, and %d values: more than there can be", at, h.packed, h.raw, h.values)
	}
	body := t.b[:h.packed]
	if h.checked && crc32.ChecksumIEEE(body) != uint32(h.crc) {
		return h, to, fmt.Errorf("the page at %d does not have its checksum", at)
	}
	if c.codec == codecNone {
		to = append(to[:0], body...)
	} else {
		var err error
		if to, err = r.zstd.DecodeAll(body, slices.Grow(to[:0], int(h.raw))); err != nil {
			return h, to, fmt.Errorf("unpacking the page at %d: %w", at, err)
		}
	}
	if int64(len(to)) != h.raw {
		return h, to, fmt.Errorf("the page at %d unpacks to %d bytes, want %d", at, len(to), h.raw)
	}
	return h, to, nil
}

// column is one leaf of a row group during reading.
type column struct {
	leaf
	chunk

	dict  values // if the chunk has a dictionary
	coded bool   // values are indexes in dict
	plain values // otherwise
	idx   []uint32
	reps  []byte // levels of each entry, empty if all are 0
	defs  []byte // or all are maxDef
	count int    // values that are not null

	page  []byte
	nums  []int64
	ready bool // data was read
}

// values are texts in one block of memory.
type values struct {
	block []byte
	ends  []uint32 // two per text: begin and end
}

func (v *values) len() int { return len(v.ends) / 2 }

func (v *values) at(k int) []byte {
	from, to := v.ends[2*k], v.ends[2*k+1]
	return v.block[from:to:to]
}

// peeked is the number of bytes of a data page that are read with the dictionary, for its header.
const peeked = 128

// begin reads the dictionary of a chunk, or the data page if there is no dictionary or it is not
// used.
func (r *reader) begin(col *column, c *chunk) error {
	if c.values < 0 {
		return errors.New(r.p.wrong[c.start])
	}
	col.leaf, col.chunk = r.p.leaves[c.leaf], *c
	col.coded, col.ready = false, false
	col.idx, col.reps, col.defs = col.idx[:0], col.reps[:0], col.defs[:0]
	col.dict.ends, col.plain.ends = col.dict.ends[:0], col.plain.ends[:0]
	if c.start == c.data {
		return r.data(col)
	}
	most := c.data - c.start
	h, block, err := r.page(col.dict.block, c, c.start, most, min(peeked, int64(c.size)-most))
	col.dict.block = block
	switch {
	case err != nil:
		return err
	case h.kind != 2 || h.encoding != encPlain && h.encoding != encDict:
		return fmt.Errorf("the page at %d is of type %d and encoding %d, want a plain dictionary", c.start, h.kind, h.encoding)
	}
	if err := col.dict.plain(col.leaf, int(h.values)); err != nil {
		return fmt.Errorf("the dictionary at %d: %w", c.start, err)
	}
	// A page that does not use the dictionary may have other values.
	next := readHeader(&thrift{b: r.in[most:]})
	if col.coded = next.encoding == encRLEDict || next.encoding == encDict; !col.coded {
		return r.data(col)
	}
	return nil
}

// plain finds the n values of a PLAIN block.
func (v *values) plain(l leaf, n int) error {
	v.ends = slices.Grow(v.ends[:0], 2*n)
	if l.typ != typeBytes {
		width := int(l.width)
		switch l.typ {
		case typeInt64:
			width = 8
		case typeInt32:
			width = 4
		case typeBool:
			return errEncoding
		}
		if len(v.block) < n*width {
			return errShort
		}
		for k := range n {
			v.ends = append(v.ends, uint32(k*width), uint32(k*width+width))
		}
		return nil
	}
	at := 0
	for range n {
		if len(v.block)-at < 4 {
			return errShort
		}
		size := int(binary.LittleEndian.Uint32(v.block[at:]))
		at += 4
		if size > len(v.block)-at {
			return errShort
		}
		v.ends = append(v.ends, uint32(at), uint32(at+size))
		at += size
	}
	return nil
}

// data reads the data page: its levels and its values or indexes.
func (r *reader) data(col *column) error {
	if col.ready {
		return nil
	}
	col.ready = true
	h, page, err := r.page(col.page, &col.chunk, col.data, col.start+int64(col.size)-col.data, 0)
	col.page = page
	if err != nil {
		return err
	}
	if err := col.take(h, page); err != nil {
		return fmt.Errorf("the data page at %d: %w", col.data, err)
	}
	return nil
}

// take reads a decompressed data page.
func (col *column) take(h header, page []byte) (err error) {
	if h.kind != 0 || !h.rle || h.values != int64(col.values) {
		return fmt.Errorf("type %d with %d values, want a data page with RLE levels and all %d", h.kind, h.values, col.values)
	}
	n := int(h.values)
	if col.maxRep > 0 {
		if page, col.reps, err = levels(page, col.reps, 1, n); err != nil {
			return fmt.Errorf("its levels: %w", err)
		}
	}
	col.count = n
	if col.maxDef > 0 {
		if page, col.defs, err = levels(page, col.defs, widthOf(int(col.maxDef)), n); err != nil {
			return fmt.Errorf("its levels: %w", err)
		}
		col.count = 0
		for _, d := range col.defs {
			if int8(d) == col.maxDef {
				col.count++
			}
		}
	}
	if err := col.decode(h.encoding, page); err != nil {
		return fmt.Errorf("its values, encoding %d: %w", h.encoding, err)
	}
	return nil
}

// levels reads the levels at the head of a page.
func levels(page, to []byte, width, n int) (rest, out []byte, err error) {
	if len(page) < 4 {
		return nil, to, errShort
	}
	size := binary.LittleEndian.Uint32(page)
	if uint64(size) > uint64(len(page)-4) {
		return nil, to, errShort
	}
	out, err = hybrid(to[:0], page[4:4+size], width, n)
	return page[4+size:], out, err
}

var errEncoding = errors.New("not supported")

// decode reads the values of a data page.
func (col *column) decode(encoding int64, b []byte) (err error) {
	coded := encoding == encRLEDict || encoding == encDict
	if coded != col.coded {
		return errors.New("the dictionary is missing, or another page uses it")
	}
	switch {
	case coded:
		if col.count == 0 {
			return nil
		}
		if len(b) == 0 {
			return errShort
		}
		if col.idx, err = hybrid(col.idx[:0], b[1:], int(b[0]), col.count); err != nil {
			return err
		}
		for _, k := range col.idx {
			if int(k) >= col.dict.len() {
				return fmt.Errorf("place %d in a dictionary of %d", k, col.dict.len())
			}
		}
		return nil
	case encoding == encPlain && col.typ == typeBool:
		if len(b) < (col.count+7)/8 {
			return errShort
		}
		col.nums = slices.Grow(col.nums[:0], col.count)
		for k := range col.count {
			col.nums = append(col.nums, int64(b[k>>3]>>(k&7)&1))
		}
		return nil
	case encoding == encPlain:
		col.plain.block = b
		return col.plain.plain(col.leaf, col.count)
	case encoding == encDelta && (col.typ == typeInt64 || col.typ == typeInt32):
		if col.count > 0 {
			col.nums, _, err = delta(col.nums[:0], b, col.count, col.count)
		}
		return err
	case encoding == encDeltaLength && col.typ == typeBytes:
		if col.count == 0 {
			return nil
		}
		var sizes []int64
		if sizes, b, err = delta(col.nums[:0], b, col.count, col.count); err != nil {
			return err
		}
		col.nums = sizes
		return col.plain.lengths(b, sizes)
	}
	return errEncoding
}

// lengths sets values that follow each other in a block.
func (v *values) lengths(block []byte, sizes []int64) error {
	v.block = block
	v.ends = slices.Grow(v.ends[:0], 2*len(sizes))
	at := int64(0)
	for _, n := range sizes {
		if n < 0 || n > int64(len(block))-at {
			return errShort
		}
		v.ends = append(v.ends, uint32(at), uint32(at+n))
		at += n
	}
	return nil
}

// text is the k-th value.
func (col *column) text(k int) []byte {
	if col.coded {
		return col.dict.at(int(col.idx[k]))
	}
	return col.plain.at(k)
}

// numbers reads a chunk of INT64 without nulls.
func (r *reader) numbers(to []int64, c *chunk, rows int) ([]int64, error) {
	var col column
	if err := r.begin(&col, c); err != nil {
		return to, err
	}
	if err := r.data(&col); err != nil {
		return to, err
	}
	if col.typ != typeInt64 || col.maxRep > 0 || col.count != rows || int(col.values) != rows {
		return to, fmt.Errorf("%d numbers, want %d", col.count, rows)
	}
	for k := range rows {
		to = append(to, col.number(k))
	}
	return to, nil
}

// number is the k-th value of a column of numbers or booleans.
func (col *column) number(k int) int64 {
	if !col.coded && len(col.plain.ends) == 0 {
		if col.typ == typeInt32 { // differences of 32 bits wrap around
			return int64(int32(col.nums[k]))
		}
		return col.nums[k]
	}
	if b := col.text(k); col.typ == typeInt32 {
		return int64(int32(binary.LittleEndian.Uint32(b)))
	} else {
		return int64(binary.LittleEndian.Uint64(b))
	}
}

// fixed reads a chunk of fixed-length values without nulls.
func (r *reader) fixed(to []byte, c *chunk, rows int) ([]byte, error) {
	var col column
	if err := r.begin(&col, c); err != nil {
		return to, err
	}
	if err := r.data(&col); err != nil {
		return to, err
	}
	if col.typ != typeFixed || col.maxRep > 0 || col.count != rows || int(col.values) != rows {
		return to, fmt.Errorf("%d values of one length, want %d", col.count, rows)
	}
	for k := range rows {
		to = append(to, col.text(k)...)
	}
	return to, nil
}

// fail adds the place to an error. An error of the file system is not damage.
func (r *reader) fail(what string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("reading %s: %w", r.p.name, err)
	}
	return r.p.damaged("column %s: %v", what, err)
}
