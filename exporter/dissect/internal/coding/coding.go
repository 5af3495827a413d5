// Package coding removes the codings of content: those of HTTP, and those of messages in other protocols.
package coding

import (
	"bytes"
	"compress/zlib"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// MaxDecoded is the size of a body after all codings are removed, in bytes.
const MaxDecoded = 32 << 20

// ErrLimit is the error of content that is longer than what may be decoded.
var ErrLimit = errors.New("the decoded body exceeds a limit: 32 MiB, or 48 MiB for all bodies that end within 4096 packets")

var errUnknown = errors.New("unknown content coding")

// List are the codings of a body, the outermost last.
func List(s string) []string {
	if s == "" {
		return nil
	}
	var out []string
	signed := false
	for _, c := range strings.Split(strings.ToLower(s), ",") {
		switch c = strings.TrimSpace(c); c {
		case "", "identity", "none": // none is not registered, but servers of event streams send it
		case awsChunked: // clients send it first, although it is the last that they apply
			signed = true
		default:
			out = append(out, c)
		}
	}
	if signed {
		out = append(out, awsChunked)
	}
	return out
}

// Output receives decoded bytes. Above Keep bytes it only hashes.
type Output struct {
	Hash hash.Hash // of all of them; may be nil
	Skip int64     // bytes before those of Data
	Data []byte    // nil above Keep bytes
	Keep int64
	N    int64 // bytes received
}

// Write implements io.Writer.
func (u *Output) Write(p []byte) (int, error) {
	if u.Hash != nil {
		u.Hash.Write(p)
	}
	kept := p[min(max(u.Skip-u.N, 0), int64(len(p))):]
	if u.N += int64(len(p)); u.N-u.Skip <= u.Keep {
		u.Data = append(u.Data, kept...)
	} else {
		u.Data = nil
	}
	return len(p), nil
}

// DecodeContent decodes p into out, at most limit bytes. After an error, out has the bytes decoded
// before it.
func DecodeContent(out *Output, coding string, p []byte, limit int64) error {
	var r io.Reader
	var err error
	switch coding {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(p))
	case "deflate": // RFC 9110 section 8.4.1.2 requires zlib, but many senders send raw deflate
		if r, err = zlib.NewReader(bytes.NewReader(p)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(p)), nil
		}
	case "br":
		r = brotli.NewReader(bytes.NewReader(p))
	case "zstd":
		var d *zstd.Decoder
		d, err = zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(MaxDecoded))
		if err == nil {
			defer d.Close()
			r = d
		}
	case "lz4": // not registered: ClickHouse sends it
		r = lz4.NewReader(bytes.NewReader(p))
	case awsChunked:
		return unAWSChunked(out, p, limit)
	default:
		return errUnknown
	}
	if err != nil {
		return err
	}
	return Copy(out, r, limit)
}

// Copy copies at most limit bytes of r; more are an error.
func Copy(out *Output, r io.Reader, limit int64) error {
	if _, err := io.Copy(out, io.LimitReader(r, limit)); err != nil {
		return err
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return ErrLimit
	case err != io.EOF:
		return err
	}
	return nil
}
