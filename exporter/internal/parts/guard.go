package parts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Limits of a part that another program may have written. Ours are far below.
const (
	maxFooter     = 32 << 20  // bytes
	maxPageHeader = 64 << 10  // bytes
	maxPage       = 256 << 20 // bytes, unpacked
	maxPageValues = 16 << 20  // entries of a page
	maxRow        = 512 << 20 // bytes of one value of a row
	maxNesting    = 32        // values in values of the metadata
	minStruct     = 4         // bytes of metadata for each struct in it, on average
)

var errThrift = errors.New("its metadata is not what Thrift's compact protocol writes")

// walker skips values of Thrift's compact protocol without storing them. The library that
// decodes them allocates as many items as a length field promises, so lengths are checked
// against the available bytes first.
type walker struct {
	b       []byte
	bad     bool
	structs int
}

// structEnd is the length of the struct at the start of b.
func structEnd(b []byte) (int, error) {
	w := walker{b: b}
	w.skip(12, 0)
	n := len(b) - len(w.b)
	if w.bad || w.structs > 64+n/minStruct {
		return 0, errThrift
	}
	return n, nil
}

func (w *walker) take(n uint64) {
	if w.bad || n > uint64(len(w.b)) {
		w.bad = true
		return
	}
	w.b = w.b[n:]
}

func (w *walker) byte() byte {
	if w.bad || len(w.b) == 0 {
		w.bad = true
		return 0
	}
	c := w.b[0]
	w.b = w.b[1:]
	return c
}

func (w *walker) uvarint() uint64 {
	v, n := binary.Uvarint(w.b)
	if w.bad || n <= 0 {
		w.bad = true
		return 0
	}
	w.b = w.b[n:]
	return v
}

func (w *walker) skip(kind byte, depth int) {
	if depth > maxNesting {
		w.bad = true
	}
	if w.bad {
		return
	}
	switch kind {
	case 1, 2: // boolean, in the field's head
	case 3:
		w.byte()
	case 4, 5, 6:
		w.uvarint()
	case 7:
		w.take(8)
	case 8:
		w.take(w.uvarint())
	case 9, 10:
		w.list(depth)
	case 12:
		w.structs++
		for !w.bad {
			c := w.byte()
			if c == 0 {
				return
			}
			if c>>4 == 0 {
				w.uvarint()
			}
			w.skip(c&15, depth+1)
		}
	default: // Parquet has no maps
		w.bad = true
	}
}

func (w *walker) list(depth int) {
	c := w.byte()
	n := uint64(c >> 4)
	if n == 15 {
		n = w.uvarint()
	}
	if n > uint64(len(w.b)) { // each item takes a byte
		w.bad = true
	}
	for ; n > 0 && !w.bad; n-- {
		if k := c & 15; k == 1 || k == 2 {
			w.byte()
		} else {
			w.skip(k, depth+1)
		}
	}
}

// checkFooter checks whether it is safe to decode the footer.
func checkFooter(f io.ReaderAt, size int64) error {
	var tail [8]byte
	if size < 12 {
		return fmt.Errorf("%d bytes, too few for a Parquet file", size)
	}
	if _, err := f.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if string(tail[4:]) != "PAR1" || n > size-12 {
		return errors.New("it does not end as a Parquet file does")
	}
	if n > maxFooter {
		return fmt.Errorf("its footer has %d bytes, at most %d are read", n, maxFooter)
	}
	footer := make([]byte, n)
	if _, err := f.ReadAt(footer, size-8-n); err != nil {
		return err
	}
	_, err := structEnd(footer)
	return err
}

// checkChunk checks whether it is safe to decompress the pages of a column chunk.
func checkChunk(f *os.File, size int64, m *format.ColumnMetaData) error {
	at := m.DataPageOffset
	if m.DictionaryPageOffset != 0 {
		at = m.DictionaryPageOffset
	}
	end := at + m.TotalCompressedSize
	if at < 4 || end < at || end > size {
		return fmt.Errorf("its pages lie at %d to %d of %d bytes", at, end, size)
	}
	for at < end {
		head := make([]byte, min(maxPageHeader, end-at))
		if _, err := f.ReadAt(head, at); err != nil {
			return err
		}
		n, err := structEnd(head)
		if err != nil {
			return fmt.Errorf("the page at %d: %w", at, err)
		}
		var h format.PageHeader
		if err := thrift.Unmarshal(new(thrift.CompactProtocol), head[:n], &h); err != nil {
			return fmt.Errorf("the page at %d: %w", at, err)
		}
		at += int64(n)
		if err := checkPage(f, at, end, m.Codec, &h); err != nil {
			return fmt.Errorf("the page at %d: %w", at, err)
		}
		at += int64(h.CompressedPageSize)
	}
	return nil
}

func checkPage(f *os.File, at, end int64, codec format.CompressionCodec, h *format.PageHeader) error {
	packed, raw := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	values, encoding := h.DataPageHeader.V.NumValues, h.DataPageHeader.V.Encoding
	switch h.Type {
	case format.DataPage:
	case format.DictionaryPage:
		values, encoding = h.DictionaryPageHeader.V.NumValues, h.DictionaryPageHeader.V.Encoding
	default:
		return fmt.Errorf("is of type %s; parts have data pages of version 1 only", h.Type)
	}
	switch encoding {
	//lint:ignore SA1019 other programs still write PlainDictionary
	case format.Plain, format.RLE, format.PlainDictionary, format.RLEDictionary, format.DeltaBinaryPacked, format.DeltaLengthByteArray:
	default: // others decompress to far more than is there
		return fmt.Errorf("has encoding %s, which no table has", encoding)
	}
	switch {
	case packed < 0 || raw < 0 || packed > end-at:
		return fmt.Errorf("says %d bytes, %d are left", packed, end-at)
	case raw > maxPage:
		return fmt.Errorf("unpacks to %d bytes, at most %d are read", raw, maxPage)
	case values < 0 || values > maxPageValues:
		return fmt.Errorf("says %d values, at most %d are read", values, maxPageValues)
	}
	n, err := unpackedSize(io.NewSectionReader(f, at, packed), codec, raw)
	if err == nil && n != raw {
		err = fmt.Errorf("does not unpack to the %d bytes that it says", raw)
	}
	return err
}

// unpackedSize decompresses a page and counts the bytes, up to one more than limit.
func unpackedSize(r *io.SectionReader, codec format.CompressionCodec, limit int64) (int64, error) {
	var out io.Reader
	switch codec {
	case format.Uncompressed:
		return r.Size(), nil
	case format.Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxPage))
		if err != nil {
			return 0, err
		}
		defer z.Close()
		out = z
	case format.Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return 0, err
		}
		out = z
	case format.Snappy:
		head := make([]byte, min(16, r.Size()))
		if _, err := r.ReadAt(head, 0); err != nil {
			return 0, err
		}
		n, err := snappy.DecodedLen(head)
		return int64(n), err
	default:
		return 0, fmt.Errorf("is packed with %s, which is not read", codec)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(out, limit+1))
	return n, err
}
