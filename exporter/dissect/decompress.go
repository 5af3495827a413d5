package dissect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/coding"
)

const (
	maxDecompressed = 16 << 20 // bytes that one call of Decompress produces
	maxInflated     = 4 << 20  // bytes that one call of Inflate produces
)

// DecompressLimit is the error of Decompress and Inflate for content that is longer than what they may produce, in
// bytes. The content is not known to be damaged.
type DecompressLimit int

func (n DecompressLimit) Error() string { return fmt.Sprintf("more than %d bytes", int(n)) }

// Decompress decodes p, which must be a part of a message, for its row: gzip, deflate (zlib), br,
// zstd, snappy (blocks, also with the frames of Kafka's clients), lz4 (frames) or lz4-block (a block, at most limit bytes). It produces at
// most limit bytes; if there are more, it returns those with an error. All bodies and messages near
// one packet share an allowance, so that decompression bombs cost time and memory in proportion to
// packets.
func (c *Conn) Decompress(name string, p []byte, limit int) ([]byte, error) {
	return c.DecompressAfter(name, p, 0, limit)
}

// DecompressAfter is Decompress without the first skip bytes of the content, which are not kept.
func (c *Conn) DecompressAfter(name string, p []byte, skip, limit int) ([]byte, error) {
	e := c.engine
	limit = max(min(limit, maxDecompressed, int(e.decodeAllowance(c.root().now.No))-skip), 0)
	out := coding.Output{Skip: int64(skip), Keep: int64(limit)}
	err := coding.Decode(&out, name, p, int64(skip+limit))
	e.spanDecoded += out.N
	if errors.Is(err, coding.ErrLimit) {
		err = DecompressLimit(limit)
	}
	if err != nil {
		return out.Data, fmt.Errorf("decompressing %s: %w", name, err)
	}
	return out.Data, nil
}

// Decompressor is Conn.Decompress or Decompress.
type Decompressor func(name string, p []byte, limit int) ([]byte, error)

// Decompress is Conn.Decompress for Protocol.Detect, which has no connection. p must be the whole of a short message:
// nothing limits how often it is called.
func Decompress(name string, p []byte, limit int) ([]byte, error) {
	out := coding.Output{Keep: int64(limit)}
	err := coding.Decode(&out, name, p, int64(limit))
	return out.Data, err
}

// Inflate is Decompress for raw deflate without a last block, as in RFC 7692: dict is the content
// decompressed before.
func (c *Conn) Inflate(p, dict []byte) ([]byte, error) {
	e := c.engine
	limit := min(maxInflated, e.decodeAllowance(c.root().now.No))
	out := coding.Output{Keep: limit}
	r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(p), strings.NewReader(deflateEnd)), dict)
	err := coding.Copy(&out, r, limit)
	e.spanDecoded += out.N
	if errors.Is(err, coding.ErrLimit) {
		err = DecompressLimit(limit)
	}
	if err != nil {
		return out.Data, fmt.Errorf("decompressing deflate: %w", err)
	}
	return out.Data, nil
}

// deflateEnd is the end of the block that a sender leaves out (RFC 7692 section 7.2.1), and an empty
// last block.
const deflateEnd = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
