package coding

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"
)

// Decode is DecodeContent with the codings snappy and lz4-block (a block, at most limit bytes), which HTTP does not have.
func Decode(out *Output, coding string, p []byte, limit int64) error {
	switch coding {
	case "snappy":
		return unsnappy(out, p, limit)
	case "lz4-block":
		return lz4Block(out, p, limit)
	}
	return DecodeContent(out, coding, p, limit)
}

// lz4Block decodes a block without frame, whose size is the limit.
func lz4Block(out *Output, p []byte, limit int64) error {
	b := make([]byte, limit)
	n, err := lz4.UncompressBlock(p, b)
	if err != nil {
		return writeBegin(out, lz4Begin, p, limit, err)
	}
	_, err = out.Write(b[:n])
	return err
}

// xerial begins the frames of snappy-java: the magic, and two versions of 4 bytes.
const xerial = "\x82SNAPPY\x00"

var errSnappy = errors.New("invalid snappy data")

// unsnappy decodes a block, or blocks with their sizes after the header of snappy-java.
func unsnappy(out *Output, p []byte, limit int64) error {
	if !bytes.HasPrefix(p, []byte(xerial)) {
		return unsnappyBlock(out, p, limit)
	}
	for p = p[min(len(p), len(xerial)+8):]; len(p) > 0; {
		if len(p) < 4 {
			return errSnappy
		}
		n := min(int64(binary.BigEndian.Uint32(p)), int64(len(p)-4))
		if err := unsnappyBlock(out, p[4:4+n], limit-out.N); err != nil {
			return err
		}
		p = p[4+n:]
	}
	return nil
}

func unsnappyBlock(out *Output, p []byte, limit int64) error {
	n, err := snappy.DecodedLen(p)
	if err != nil {
		return errSnappy
	}
	if int64(n) <= limit {
		if b, err := snappy.Decode(nil, p); err == nil {
			_, err = out.Write(b)
			return err
		}
	}
	return writeBegin(out, snappyBegin, p, limit, errSnappy)
}
