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
	decodeSpan  = 4096     // packets within which an engine's work on content codings is bounded
	maxUndone   = 48 << 20 // bytes that may come out of content codings within them
	maxKept     = 1 << 20  // of these, bytes that wait for the tables; the rest is undone again there
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
	Decoded []byte // see Bytes
	Undone  string // content codings that were undone, in the order of undoing
	Large   bool   // over the limit: Hash is of the bytes before content decoding
	decoded int64  // bytes after content decoding
	again   bool   // Decoded was not kept: buf holds what it comes from
	charged int    // bytes of the engine's budget that buf takes
}

// Bytes returns the body after content decoding, nil where it is Large. A body that came
// out large is not kept from Emit to the tables but undone again.
func (b *Body) Bytes() []byte {
	if !b.again {
		return b.Decoded
	}
	out := b.buf
	undone := strings.Split(b.Undone, ",")
	for i, coding := range undone {
		limit := int64(maxDecoded)
		if i == len(undone)-1 {
			limit = b.decoded
		}
		out, _ = undo(coding, out, limit)
	}
	return out
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
	if n := len(b.buf) + len(p); n > MaxBody || n > cap(b.buf) && !b.move(max(n, min(2*len(b.buf), MaxBody))) {
		b.spill()
		b.over.Write(p)
		return len(p), nil
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// Expect says that the body will probably have n bytes, so that it need not be moved
// while it grows. A length field is believed up to 4 KiB only: many connections may lie.
func (b *Body) Expect(n int64) {
	if n = min(n, 4<<10); b.over == nil && n > int64(cap(b.buf)) {
		b.move(int(n))
	}
}

// move gives the body a buffer of at least n bytes, if the budget allows.
func (b *Body) move(n int) bool {
	n = bufferSize(n)
	if !b.conn.grow(n - b.charged) {
		return false
	}
	b.charged = n
	bigger := append(buffers.get(n), b.buf...)
	buffers.put(b.buf)
	b.buf = bigger
	return true
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
	b.conn.shrink(b.charged)
	b.charged = 0
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
	b.conn.shrink(b.charged)
	b.charged = 0
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
		left := b.conn.engine.undoing(b.conn.root().now.No)
		out, err := undo(codings[i], b.Decoded, min(maxDecoded, left))
		b.conn.engine.undone += int64(len(out))
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
	b.decoded = int64(len(b.Decoded))
	if e := b.conn.engine; b.Undone != "" && len(b.buf) < len(b.Decoded) {
		if e.kept += b.decoded; e.kept > maxKept {
			e.kept -= b.decoded
			b.again, b.Decoded = true, nil
		}
	}
}

// undoing returns how many bytes may still come out of content codings around packet no.
// Bombs of many connections so take time and memory in proportion to the packets.
func (e *Engine) undoing(no int64) int64 {
	if span := no / decodeSpan; span != e.undoSpan {
		e.undoSpan, e.undone, e.kept = span, 0, 0
	}
	return max(maxUndone-e.undone, 0)
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

// undo decodes p; with an error it returns what came out before it, at most limit bytes.
func undo(coding string, p []byte, limit int64) ([]byte, error) {
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
	n, err := io.Copy(&out, io.LimitReader(r, limit+1))
	if n > limit {
		return out.Bytes()[:limit], errDecodedLimit
	}
	return out.Bytes(), err
}
