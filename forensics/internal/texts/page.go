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
		return h, to, fmt.Errorf("the page at %d unpacks to %d bytes, expected %d", at, len(to), h.raw)
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
		return fmt.Errorf("the page at %d is of type %d and encoding %d, expected a plain dictionary", c.start, h.kind, h.encoding)
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
	if err := col.readPage(h, page); err != nil {
		return fmt.Errorf("the data page at %d: %w", col.data, err)
	}
	return nil
}

// readPage reads a decompressed data page.
func (col *column) readPage(h header, page []byte) (err error) {
	if h.kind != 0 || !h.rle || h.values != int64(col.values) {
		return fmt.Errorf("type %d with %d values, expected a data page with RLE levels and all %d", h.kind, h.values, col.values)
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

// fail adds the place to an error. An error of the file system is not damage.
func (r *reader) fail(what string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("reading %s: %w", r.p.name, err)
	}
	return r.p.damaged("column %s: %v", what, err)
}
