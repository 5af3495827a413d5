package dissect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"
)

// maxInflated is the most that one call of Decompress produces, in bytes.
const maxInflated = 4 << 20

// DecompressLimit is the error of Decompress and Inflate for content that is longer than what they may produce, in
// bytes. The content is not known to be damaged.
type DecompressLimit int

func (n DecompressLimit) Error() string { return fmt.Sprintf("more than %d bytes", int(n)) }

// Decompress decodes p, which must be a part of a message, for its row: gzip, deflate (zlib), br,
// zstd, snappy (blocks, also with the frames of Kafka's clients), lz4 (frames) or lz4-block (a block, at most limit bytes). It produces at
// most limit bytes; if there are more, it returns those with an error. All bodies and messages near
// one packet share an allowance, so that decompression bombs cost time and memory in proportion to
// packets.
func (c *Conn) Decompress(coding string, p []byte, limit int) ([]byte, error) {
	e := c.engine
	limit = min(limit, maxInflated, int(e.decodeAllowance(c.root().now.No)))
	out := decodedOutput{keep: int64(limit)}
	err := decompress(&out, coding, p, int64(limit))
	e.spanDecoded += out.n
	if errors.Is(err, errDecodedLimit) {
		err = DecompressLimit(limit)
	}
	if err != nil {
		return out.data, fmt.Errorf("decompressing %s: %w", coding, err)
	}
	return out.data, nil
}

// Decompressor is Conn.Decompress or Decompress.
type Decompressor func(coding string, p []byte, limit int) ([]byte, error)

// Decompress is Conn.Decompress for Protocol.Detect, which has no connection. p must be the whole of a short message:
// nothing limits how often it is called.
func Decompress(coding string, p []byte, limit int) ([]byte, error) {
	out := decodedOutput{keep: int64(limit)}
	err := decompress(&out, coding, p, int64(limit))
	return out.data, err
}

// Inflate is Decompress for raw deflate without a last block, as in RFC 7692: dict is the content
// decompressed before.
func (c *Conn) Inflate(p, dict []byte) ([]byte, error) {
	e := c.engine
	limit := min(maxInflated, e.decodeAllowance(c.root().now.No))
	out := decodedOutput{keep: limit}
	r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(p), strings.NewReader(deflateEnd)), dict)
	err := copyLimited(&out, r, limit)
	e.spanDecoded += out.n
	if errors.Is(err, errDecodedLimit) {
		err = DecompressLimit(limit)
	}
	if err != nil {
		return out.data, fmt.Errorf("decompressing deflate: %w", err)
	}
	return out.data, nil
}

// deflateEnd is the end of the block that a sender leaves out (RFC 7692 section 7.2.1), and an empty
// last block.
const deflateEnd = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

func decompress(out *decodedOutput, coding string, p []byte, limit int64) error {
	switch coding {
	case "snappy":
		return unsnappy(out, p, limit)
	case "lz4-block":
		return unlz4Block(out, p, limit)
	}
	return decodeContent(out, coding, p, limit)
}

// unlz4Block decodes a block without frame, whose size is the limit.
func unlz4Block(out *decodedOutput, p []byte, limit int64) error {
	b := make([]byte, limit)
	n, err := lz4.UncompressBlock(p, b)
	if err != nil {
		return err
	}
	_, err = out.Write(b[:n])
	return err
}

// xerial begins the frames of snappy-java: the magic, and two versions of 4 bytes.
const xerial = "\x82SNAPPY\x00"

var errSnappy = errors.New("invalid snappy data")

// unsnappy decodes a block, or blocks with their sizes after the header of snappy-java.
func unsnappy(out *decodedOutput, p []byte, limit int64) error {
	if !bytes.HasPrefix(p, []byte(xerial)) {
		return unsnappyBlock(out, p, limit)
	}
	for p = p[min(len(p), len(xerial)+8):]; len(p) > 0; {
		if len(p) < 4 {
			return errSnappy
		}
		n := int64(binary.BigEndian.Uint32(p))
		if n > int64(len(p)-4) {
			return errSnappy
		}
		if err := unsnappyBlock(out, p[4:4+n], limit-out.n); err != nil {
			return err
		}
		p = p[4+n:]
	}
	return nil
}

func unsnappyBlock(out *decodedOutput, p []byte, limit int64) error {
	n, err := snappy.DecodedLen(p)
	if err != nil {
		return errSnappy
	}
	if int64(n) > limit { // a block is decoded as a whole
		return errDecodedLimit
	}
	b, err := snappy.Decode(nil, p)
	if err != nil {
		return errSnappy
	}
	_, err = out.Write(b)
	return err
}
