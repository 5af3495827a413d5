package columnar

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// workspace is the memory for writing row groups, kept from group to group.
type workspace struct {
	digester digester
	zstd     *zstd.Encoder
	dict     dictionary
	dict32   intDictionary[int32]
	dict64   intDictionary[int64]
	blooms   []bloomFilter

	reps, defs []byte // levels of the current column
	nulls      int    // of these, entries without a value
	entries    int    // levels, or rows if there are none

	body, encoded, packed []byte
	header                bytes.Buffer
}

// maxWindow is the window size of zstd. The compressor keeps two windows in memory.
const maxWindow = 1 << 20

func newWorkspace(level Level) (*workspace, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), zstd.WithWindowSize(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("making a compressor: %w", err)
	}
	w := &workspace{zstd: z}
	w.digester.buf = make([]byte, 0, digestBuffer)
	return w, nil
}

// levels computes the repetition and definition levels of a column. All leaves of a list share
// them, because its items are never null.
func (w *workspace) levels(c *column) {
	w.reps, w.defs = w.reps[:0], w.defs[:0]
	w.nulls, w.entries = c.rows-c.valid, c.rows
	if !c.isList() {
		return
	}
	w.nulls = 0
	for _, n := range c.counts {
		if n <= 0 {
			w.reps = append(w.reps, 0)
			w.defs = append(w.defs, byte(n+1))
			w.nulls++
			continue
		}
		w.reps = append(w.reps, 0)
		for range n - 1 {
			w.reps = append(w.reps, 1)
		}
		for range n {
			w.defs = append(w.defs, 2)
		}
	}
	w.entries = len(w.defs)
}

// writeChunk writes one leaf of the row group: a dictionary if it saves space, and one data
// page.
func (w *workspace) writeChunk(p *part, c *column, v *values, l leaf) (format.ColumnChunk, error) {
	chunk := format.ColumnChunk{MetaData: format.ColumnMetaData{
		Type:         l.typ,
		PathInSchema: l.path,
		Codec:        format.Zstd,
		NumValues:    int64(w.entries),
	}}
	m := &chunk.MetaData
	m.Statistics.NullCount = int64(w.nulls)
	start := p.offset
	enc, entries, dict := w.encode(v, l, c.Dict)
	if enc == format.RLEDictionary {
		m.DictionaryPageOffset = p.offset
		page := format.PageHeader{Type: format.DictionaryPage}
		page.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{
			NumValues: int32(entries), Encoding: format.Plain})
		if err := w.writePage(p, &page, m, dict); err != nil {
			return chunk, err
		}
		m.EncodingStats = append(m.EncodingStats, format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1})
		m.Encoding = append(m.Encoding, format.Plain)
	}
	if err := w.encodeLevels(c, l); err != nil {
		return chunk, err
	}
	w.body = append(w.body, w.encoded...)
	m.DataPageOffset = p.offset
	page := format.PageHeader{Type: format.DataPage}
	page.DataPageHeader = thrift.New(format.DataPageHeader{
		NumValues:               int32(w.entries),
		Encoding:                enc,
		DefinitionLevelEncoding: format.RLE,
		RepetitionLevelEncoding: format.RLE,
		Statistics:              format.Statistics{NullCount: int64(w.nulls)},
	})
	if err := w.writePage(p, &page, m, w.body); err != nil {
		return chunk, err
	}
	m.EncodingStats = append(m.EncodingStats, format.PageEncodingStats{PageType: format.DataPage, Encoding: enc, Count: 1})
	m.Encoding = append(m.Encoding, enc)
	if l.maxDef > 0 {
		m.Encoding = append(m.Encoding, format.RLE)
	}
	if !c.isList() {
		w.bounds(m, c, v, enc)
	}
	m.TotalCompressedSize = p.offset - start
	return chunk, nil
}

// writePage compresses and writes a page; page only lacks its sizes and checksum.
func (w *workspace) writePage(p *part, page *format.PageHeader, m *format.ColumnMetaData, body []byte) error {
	w.packed = w.zstd.EncodeAll(body, w.packed[:0])
	page.UncompressedPageSize = int32(len(body))
	page.CompressedPageSize = int32(len(w.packed))
	page.CRC = int32(crc32.ChecksumIEEE(w.packed))
	w.header.Reset()
	e := thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&w.header))
	if err := e.Encode(page); err != nil {
		return err
	}
	m.TotalUncompressedSize += int64(w.header.Len() + len(body))
	if _, err := p.Write(w.header.Bytes()); err != nil {
		return err
	}
	_, err := p.Write(w.packed)
	return err
}

// encodeLevels starts the body of a data page with its levels.
func (w *workspace) encodeLevels(c *column, l leaf) error {
	w.body = w.body[:0]
	switch {
	case c.isList():
		if err := w.appendLevels(w.reps, 1); err != nil {
			return err
		}
		return w.appendLevels(w.defs, 2)
	case l.maxDef == 0:
		return nil
	case c.valid == 0:
		w.appendRun(c.rows, 0)
	case c.valid == c.rows:
		w.appendRun(c.rows, 1)
	default:
		return w.appendLevels(c.levels, 1)
	}
	return nil
}

// appendRun adds n equal levels as one run.
func (w *workspace) appendRun(n int, level byte) {
	at := len(w.body)
	w.body = append(w.body, 0, 0, 0, 0)
	w.body = binary.AppendUvarint(w.body, uint64(n)<<1)
	w.body = append(w.body, level)
	binary.LittleEndian.PutUint32(w.body[at:], uint32(len(w.body)-at-4))
}

func (w *workspace) appendLevels(levels []byte, width int) error {
	var err error
	w.packed, err = (&rle.Encoding{BitWidth: width}).EncodeLevels(w.packed[:0], levels)
	if err != nil {
		return err
	}
	w.body = binary.LittleEndian.AppendUint32(w.body, uint32(len(w.packed)))
	w.body = append(w.body, w.packed...)
	return nil
}

// encode writes the values of a leaf to w.encoded and returns the encoding, and the entries of
// the dictionary if it uses one. The encoders only return errors for kinds of values that they
// do not support.
func (w *workspace) encode(v *values, l leaf, few bool) (enc format.Encoding, entries int, dict []byte) {
	out := w.encoded[:0]
	enc = format.Plain
	index := []int32(nil)
	switch {
	case l.typ == format.Boolean:
		out = appendBits(out, v.data)
	case l.typ == format.Int32 && len(v.i32) > 0:
		enc = format.DeltaBinaryPacked
		out, _ = new(delta.BinaryPackedEncoding).EncodeInt32(out, v.i32)
		if d := &w.dict32; d.build(v.i32, len(out)) {
			entries, dict, index = len(d.entries), d.out, d.index
		}
	case l.typ == format.Int64 && len(v.i64) > 0:
		enc = format.DeltaBinaryPacked
		out, _ = new(delta.BinaryPackedEncoding).EncodeInt64(out, v.i64)
		if d := &w.dict64; d.build(v.i64, len(out)) {
			entries, dict, index = len(d.entries), d.out, d.index
		}
	case l.width > 0 || len(v.ends) == 0:
		out = append(out, v.data...)
	case l.text && w.dict.build(v, few):
		entries, dict, index = w.dict.len(), w.dict.plain(), w.dict.index
	default:
		enc = format.DeltaLengthByteArray
		out, _ = new(delta.LengthByteArrayEncoding).EncodeByteArray(out, v.data, v.ends)
	}
	if index != nil {
		enc = format.RLEDictionary
		out = appendIndexes(out[:0], index, width(entries))
	}
	w.encoded = out
	return enc, entries, dict
}

// appendBits packs booleans, the first in the lowest bit.
func appendBits(out, booleans []byte) []byte {
	for i := 0; i < len(booleans); i += 8 {
		var b byte
		for j, x := range booleans[i:min(i+8, len(booleans))] {
			b |= x << j
		}
		out = append(out, b)
	}
	return out
}

// maxBound is the longest text used as a bound: readers keep bounds in memory.
const maxBound = 64

// bounds records the smallest and largest value if they help a reader to skip a group.
func (w *workspace) bounds(m *format.ColumnMetaData, c *column, v *values, enc format.Encoding) {
	if c.valid == 0 {
		return
	}
	s := &m.Statistics
	switch c.Kind {
	case table.Bool:
		low, high := byte(1), byte(0)
		for _, b := range v.data {
			low, high = min(low, b), max(high, b)
		}
		s.MinValue, s.MaxValue = []byte{low}, []byte{high}
	case table.Int32:
		all := v.i32
		if enc == format.RLEDictionary {
			all = w.dict32.entries
		}
		low, high := extremes(all)
		s.MinValue = binary.LittleEndian.AppendUint32(nil, uint32(low))
		s.MaxValue = binary.LittleEndian.AppendUint32(nil, uint32(high))
	case table.Int64, table.Timestamp:
		all := v.i64
		if enc == format.RLEDictionary {
			all = w.dict64.entries
		}
		low, high := extremes(all)
		s.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(low))
		s.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(high))
	case table.Text:
		if enc != format.RLEDictionary {
			return
		}
		low, high := w.dict.extremes()
		if len(low) <= maxBound && len(high) <= maxBound {
			// An empty bound is not an absent one: append to a slice that is not nil.
			s.MinValue, s.MaxValue = append([]byte{}, low...), append([]byte{}, high...)
		}
	}
}

func extremes[T int32 | int64](all []T) (low, high T) {
	low, high = all[0], all[0]
	for _, x := range all[1:] {
		low, high = min(low, x), max(high, x)
	}
	return low, high
}

// width is the number of bits of an index into n entries.
func width(n int) int { return bits.Len(uint(max(n-1, 0))) }
