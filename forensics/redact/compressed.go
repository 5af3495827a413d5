package redact

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Limits of a compressed text in base64. What is longer is searched up to there.
const (
	mostInflated  = 64 << 10 // bytes
	timesInflated = 40       // of its length, so that a text of many bombs takes little time
)

// inflated decompresses bytes that begin as gzip, zlib or zstd do. whole says that this is all of it.
// LIMIT: deflate without a header, as in SAML's redirects, is not recognized.
func inflated(b []byte) (text []byte, whole, ok bool) {
	in := bytes.NewReader(b)
	var r io.Reader
	switch {
	case bytes.HasPrefix(b, []byte("\x1f\x8b\x08")):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, false, false
		}
		r = z
	case len(b) > 2 && b[0] == 0x78 && (int(b[0])<<8+int(b[1]))%31 == 0:
		z, err := zlib.NewReader(in)
		if err != nil {
			return nil, false, false
		}
		r = z
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20))
		if err != nil {
			return nil, false, false
		}
		defer z.Close()
		r = z
	default:
		return nil, false, false
	}
	most := min(mostInflated, 1024+timesInflated*len(b))
	text, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if whole = err == nil && len(text) <= most; !whole && len(text) > most {
		text = text[:most]
	}
	return text, whole, len(text) > 0 // a damaged end does not hide the beginning
}
