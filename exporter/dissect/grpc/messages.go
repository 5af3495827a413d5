package grpc

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/internal/protoview"
)

// maxMessage is the largest size of one decompressed message.
const maxMessage = 4 << 20

const (
	prefixSize   = 5    // flags and length
	flagCompress = 0x01 // message is compressed
	flagTrailer  = 0x80 // gRPC-Web: not a message but trailers
)

// Message is one message of a stream.
type Message struct {
	Wire       []byte // as sent, without its prefix
	Data       []byte // decompressed
	Compressed bool
	Trailer    bool  // gRPC-Web's trailers instead of a message
	Cut        bool  // the body ended before the message did
	Err        error // why Data is incomplete
}

// Messages walks the length-prefixed messages of a body as sent; encoding is the value of
// grpc-encoding. For gRPC-Web in base64, pass the result of Payload. An incomplete last message
// has Cut set.
func Messages(body []byte, encoding string) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for len(body) > 0 {
			if len(body) < prefixSize {
				yield(Message{Wire: body, Cut: true, Err: io.ErrUnexpectedEOF})
				return
			}
			flags, size := body[0], int64(binary.BigEndian.Uint32(body[1:]))
			body = body[prefixSize:]
			m := Message{Compressed: flags&flagCompress != 0, Trailer: flags&flagTrailer != 0}
			if size > int64(len(body)) {
				m.Cut, m.Err, size = true, io.ErrUnexpectedEOF, int64(len(body))
			}
			m.Wire, body = body[:size:size], body[size:]
			m.Data = m.Wire
			if m.Compressed {
				var err error
				if m.Data, err = decompress(encoding, m.Wire); err != nil {
					m.Err = err
				}
			}
			if !yield(m) {
				return
			}
		}
	}
}

// Shaped reports whether a body consists of at least one message and only of whole messages.
// Other bodies hardly ever do, because each length must lead exactly to the next prefix.
func Shaped(body []byte) bool {
	if len(body) == 0 {
		return false
	}
	for len(body) > 0 {
		if len(body) < prefixSize || body[0] > flagCompress {
			return false
		}
		size := int64(binary.BigEndian.Uint32(body[1:]))
		if size > int64(len(body)-prefixSize) {
			return false
		}
		body = body[prefixSize+size:]
	}
	return true
}

// decompress decompresses one message. With an error it returns the bytes decompressed before it.
func decompress(encoding string, p []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch strings.ToLower(encoding) {
	case "", "identity":
		return p, fmt.Errorf("the message is marked as compressed, but grpc-encoding is %q", encoding)
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(p))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(p))
	case "snappy":
		r = s2.NewReader(bytes.NewReader(p), s2.ReaderMaxBlockSize(64<<10))
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxMessage)); err == nil {
			defer d.Close()
			r = d
		}
	default:
		return nil, fmt.Errorf("unknown grpc-encoding %q", encoding)
	}
	if err != nil {
		return nil, fmt.Errorf("decompressing %s: %w", encoding, err)
	}
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, maxMessage+1))
	if n > maxMessage {
		return out.Bytes()[:maxMessage], fmt.Errorf("decompressing %s: the message exceeds the limit of %d bytes", encoding, maxMessage)
	}
	if err != nil {
		return out.Bytes(), fmt.Errorf("decompressing %s: %w", encoding, err)
	}
	return out.Bytes(), nil
}

// appendText renders one message in about limit bytes.
func (m *Message) appendText(dst []byte, contentType string, limit int) []byte {
	if limit <= 0 {
		return dst
	}
	switch {
	case m.Err != nil && !m.Cut:
		return append(append(append(dst, '('), strings.ToValidUTF8(m.Err.Error(), "?")...), ')')
	case isJSON(contentType) && utf8.Valid(m.Data):
		return append(dst, m.Data[:min(len(m.Data), limit)]...)
	case m.Cut:
		return append(protoview.Append(dst, m.Data, limit), " (cut)"...)
	}
	return protoview.Append(dst, m.Data, limit)
}

// valid makes text of at most maxText bytes, without a character that the limit splits.
func valid(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "")
}

// Counter counts messages in a body that arrives in pieces. The zero value is ready to use.
type Counter struct {
	left  int64 // bytes of the current message
	head  [prefixSize]byte
	n     uint8 // bytes in head
	count int32
	lost  bool
}

// Write reads the next piece of the body. It never fails.
func (c *Counter) Write(p []byte) (int, error) {
	size := len(p)
	for len(p) > 0 && !c.lost {
		if c.left > 0 {
			k := min(c.left, int64(len(p)))
			c.left -= k
			p = p[k:]
			continue
		}
		k := copy(c.head[c.n:], p)
		c.n += uint8(k)
		p = p[k:]
		if c.n < prefixSize {
			break
		}
		c.n = 0
		c.left = int64(binary.BigEndian.Uint32(c.head[1:]))
		if c.head[0]&flagTrailer == 0 {
			c.count++
		}
	}
	return size, nil
}

// Missing reports that n bytes of the body were not captured; a negative n is an unknown number.
func (c *Counter) Missing(n int64) {
	if n >= 0 && n <= c.left {
		c.left -= n
		return
	}
	c.lost = true
}

// Whole reports whether the body so far ends with the end of a message.
func (c *Counter) Whole() bool { return c.lost || c.left == 0 && c.n == 0 }
