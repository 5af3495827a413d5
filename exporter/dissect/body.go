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
	data := b.buf
	undone := strings.Split(b.Undone, ",")
	for i, coding := range undone {
		out := unpacked{keep: maxDecoded}
		limit := int64(maxDecoded)
		if i == len(undone)-1 {
			limit = b.decoded
			out.data = make([]byte, 0, limit)
		}
		_ = undo(&out, coding, data, limit) // it gives what it gave before
		data = out.data
	}
	return data
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
	if n := len(b.buf) + len(p); n > MaxBody || n > cap(b.buf) && !b.move(max(n, min(2*len(b.buf), MaxBody)), n) {
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
		b.move(int(n), int(n))
	}
}

// move gives the body a buffer of n bytes, or if the budget does not allow that, of little
// more than need.
func (b *Body) move(n, need int) bool {
	n = bufferSize(n)
	var bigger []byte
	switch least := need + need/8; {
	case b.conn.grow(n - b.charged):
		bigger = buffers.get(n)
	case least < n && b.conn.grow(least-b.charged):
		n, bigger = least, make([]byte, 0, least)
	default:
		return false
	}
	b.charged = n
	bigger = append(bigger, b.buf...)
	buffers.put(b.buf)
	b.buf = bigger
	return true
}

// Release gives the body's memory back; Decoded must not be used any more.
func (b *Body) Release() {
	buffers.put(b.buf)
	b.buf, b.Decoded = nil, nil
}

// Spill gives up what is kept of a body under way, which goes on as Large. It reports
// whether that gave memory back.
func (b *Body) Spill() bool {
	if b == nil || b.done || b.over != nil || b.charged == 0 {
		return false
	}
	b.spill()
	return true
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
	b.Hash, b.decoded = sha256.Sum256(b.Decoded), int64(len(b.Decoded))
	e := b.conn.engine
	for i := len(codings) - 1; i >= 0; i-- {
		left := e.undoing(b.conn.root().now.No)
		keep := int64(maxDecoded)
		if i == 0 {
			keep = max(maxKept-e.kept, int64(len(b.buf)))
		}
		out := unpacked{hash: sha256.New(), keep: keep}
		err := undo(&out, codings[i], b.Decoded, min(maxDecoded, left))
		e.undone += out.n
		if out.n == 0 && err != nil {
			b.conn.Anomaly("content_encoding", "undoing "+codings[i]+": "+err.Error(), b.decoded)
			break
		}
		b.Decoded, b.decoded, b.again = out.data, out.n, out.n > out.keep
		if i == 0 {
			e.kept += int64(len(out.data))
		}
		out.hash.Sum(b.Hash[:0])
		b.Undone = strings.TrimPrefix(b.Undone+","+codings[i], ",")
		if err != nil {
			if b.Complete && b.missing == 0 {
				b.conn.Anomaly("content_encoding", "undoing "+codings[i]+": "+err.Error(), 0)
			}
			b.Complete = false
			break
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

// unpacked takes what comes out of a content coding. Above keep bytes it only hashes.
type unpacked struct {
	hash hash.Hash // may be nil
	data []byte
	keep int64
	n    int64
}

// Write implements io.Writer.
func (u *unpacked) Write(p []byte) (int, error) {
	if u.hash != nil {
		u.hash.Write(p)
	}
	if u.n += int64(len(p)); u.n <= u.keep {
		u.data = append(u.data, p...)
	} else {
		u.data = nil
	}
	return len(p), nil
}

// undo decodes p into out, at most limit bytes; with an error out has what came before it.
func undo(out *unpacked, coding string, p []byte, limit int64) error {
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
		d, err = zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxDecoded))
		if err == nil {
			defer d.Close()
			r = d
		}
	default:
		return errUnknownCoding
	}
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, io.LimitReader(r, limit)); err != nil {
		return err
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return errDecodedLimit
	case err != io.EOF:
		return err
	}
	return nil
}
