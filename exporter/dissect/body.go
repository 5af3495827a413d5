package dissect

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"hash"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one body.
const (
	MaxBody     = 16 << 20 // bytes kept of one body before content decoding
	maxDecoded  = 32 << 20 // bytes after content decoding
	maxEncoding = 4        // content codings one inside another
)

// Body gathers one message body after transfer decoding. A dissector gets one from
// Conn.NewBody, writes pieces as they come, and hangs it into its Exchange; Conn.Emit
// undoes the content coding, hashes it and puts it into the bundle.
type Body struct {
	ContentType string
	Encoding    string // value of Content-Encoding, as sent
	Complete    bool   // set by the dissector when the end was reached

	conn    *Conn
	buf     []byte
	size    int64 // bytes written
	missing int64 // bytes lost in gaps
	over    hash.Hash
	done    bool

	// Results of finish.
	Hash    table.Hash
	Decoded []byte // nil where the body went over the limit
	Undone  string // content codings that were undone, in the order of undoing
	Large   bool   // over the limit: Hash is of the bytes before content decoding
}

// NewBody returns an empty body.
func (c *Conn) NewBody(contentType, encoding string) *Body {
	return &Body{ContentType: contentType, Encoding: encoding, conn: c}
}

// Write adds bytes; it copies them. It never fails.
func (b *Body) Write(p []byte) (int, error) {
	b.size += int64(len(p))
	if b.over != nil {
		b.over.Write(p)
		return len(p), nil
	}
	if len(b.buf)+len(p) > MaxBody || !b.conn.grow(len(p)) {
		b.spill()
		b.over.Write(p)
		return len(p), nil
	}
	if len(b.buf)+len(p) > cap(b.buf) {
		b.move(len(b.buf) + len(p))
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// Expect says that the body will probably have n bytes, so that it need not be moved
// while it grows. A length field is believed up to 1 MiB only.
func (b *Body) Expect(n int64) {
	if n = min(n, 1<<20); b.over == nil && n > int64(cap(b.buf)) {
		b.move(int(n))
	}
}

// move gives the body a buffer of at least n bytes.
func (b *Body) move(n int) {
	bigger := buffers.get(max(n, 2*len(b.buf)))
	bigger = append(bigger, b.buf...)
	buffers.put(b.buf)
	b.buf = bigger
}

// Release gives the body's memory back; Decoded must not be used any more.
func (b *Body) Release() {
	buffers.put(b.buf)
	b.buf, b.Decoded = nil, nil
}

// spill gives the kept bytes up and goes on with their hash alone.
func (b *Body) spill() {
	b.over = sha256.New()
	b.over.Write(b.buf)
	b.conn.shrink(len(b.buf))
	buffers.put(b.buf)
	b.buf = nil
}

// Missing says that n bytes of the body were not captured.
func (b *Body) Missing(n int64) { b.missing += n }

// Size is the number of bytes written, before content decoding.
func (b *Body) Size() int64 { return b.size }

// Lost is the number of bytes known to be missing.
func (b *Body) Lost() int64 { return b.missing }

// Kept returns the bytes written so far, before content decoding; nil where the body
// went over the limit. Not to be changed.
func (b *Body) Kept() []byte { return b.buf }

// Finish undoes the content coding and hashes the body; Emit calls it. A dissector
// that needs the decoded bytes for its row may call it earlier, once the body is whole.
func (b *Body) Finish() {
	if b.done {
		return
	}
	b.done = true
	if b.over != nil {
		b.Large = true
		b.over.Sum(b.Hash[:0])
		return
	}
	b.conn.shrink(len(b.buf))
	b.Decoded = b.buf
	codings := contentCodings(b.Encoding)
	if len(b.Decoded) == 0 {
		codings = nil // a server that had nothing to send
	}
	if len(codings) > maxEncoding {
		b.conn.Anomaly("content_encoding", "codings one inside another: "+b.Encoding, 0)
		codings = nil
	}
	for i := len(codings) - 1; i >= 0; i-- {
		out, err := undo(codings[i], b.Decoded)
		if len(out) == 0 && err != nil {
			b.conn.Anomaly("content_encoding", "undoing "+codings[i]+": "+err.Error(), int64(len(b.Decoded)))
			break
		}
		b.Decoded = out
		b.Undone = strings.TrimPrefix(b.Undone+","+codings[i], ",")
		if err != nil {
			if b.Complete && b.missing == 0 {
				b.conn.Anomaly("content_encoding", "undoing "+codings[i]+": "+err.Error(), 0)
			}
			b.Complete = false
			break
		}
	}
	b.Hash = sha256.Sum256(b.Decoded)
}

func contentCodings(s string) []string {
	if s == "" {
		return nil
	}
	var out []string
	for _, c := range strings.Split(strings.ToLower(s), ",") {
		if c = strings.TrimSpace(c); c != "" && c != "identity" {
			out = append(out, c)
		}
	}
	return out
}

// undo decodes p; with an error it returns what came out before it.
func undo(coding string, p []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch coding {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(p))
	case "deflate": // RFC 9110 8.4.1.2 says zlib, many senders send raw deflate
		if r, err = zlib.NewReader(bytes.NewReader(p)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(p)), nil
		}
	case "br":
		r = brotli.NewReader(bytes.NewReader(p))
	case "zstd":
		var d *zstd.Decoder
		d, err = zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoded))
		if err == nil {
			defer d.Close()
			r = d
		}
	default:
		return nil, errUnknownCoding
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, maxDecoded+1))
	if n > maxDecoded {
		return out.Bytes()[:maxDecoded], errDecodedLimit
	}
	return out.Bytes(), err
}
