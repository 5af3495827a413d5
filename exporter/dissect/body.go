package dissect

import (
	"cmp"
	"crypto/sha256"
	"hash"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/coding"
	"github.com/pcapsule/pcapsule/exporter/dissect/object"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one body.
const (
	MaxBody        = 16 << 20 // bytes kept of one body before content decoding
	decodeSpan     = 4096     // packets that share one decoding limit in an engine
	maxSpanDecoded = 48 << 20 // bytes that content decoding may produce within these packets
	maxKept        = 1 << 20  // decoded bytes kept for the tables within these packets; the rest is decoded again there
	maxEncoding    = 4        // nested content codings
)

// Body collects one message body after transfer decoding. A dissector gets one from
// Conn.NewBody, writes the pieces as they arrive, and sets it in its Exchange. Conn.Emit decodes
// its content, hashes it and puts it into the bundle.
type Body struct {
	ContentType string
	Encoding    string // value of Content-Encoding, as sent
	Complete    bool   // set by the dissector at the end of the body
	File        *File  // set by the dissector if the body is a file, or contains files
	Wire        int64  // set by the dissector if what it writes was decompressed: the bytes before that

	conn    *Conn
	buf     []byte
	size    int64 // bytes written
	missing int64 // bytes lost in gaps
	gapAt   int64 // bytes written before the first of them
	over    hash.Hash
	scan    *object.Scanner // of a body that is not kept
	kind    string          // type by content, of such a body
	done    bool

	places            []Place // see Places
	traced, lostTrace bool

	// Results of finish.
	Hash    table.Hash
	Decoded []byte // see Bytes
	Codings string // content codings that were decoded, in the order of decoding
	Large   bool   // over the limit: Hash covers the bytes before content decoding
	decoded int64  // bytes after content decoding
	notKept bool   // Decoded was not kept: buf holds the encoded bytes
	charged int    // bytes of the engine's budget that buf uses
}

// Bytes returns the body after content decoding, or nil if the body is Large. A body with a
// large decoded size is not kept between Emit and the tables; Bytes decodes it again.
func (b *Body) Bytes() []byte {
	if !b.notKept {
		return b.Decoded
	}
	data := b.buf
	codings := strings.Split(b.Codings, ",")
	for i, name := range codings {
		out := coding.Output{Keep: coding.MaxDecoded}
		limit := int64(coding.MaxDecoded)
		if i == len(codings)-1 {
			limit = b.decoded
			out.Data = make([]byte, 0, limit)
		}
		_ = coding.DecodeContent(&out, name, data, limit) // the same input gave the same output before
		data = out.Data
	}
	return data
}

// NewBody returns an empty body.
func (c *Conn) NewBody(contentType, encoding string) *Body {
	return &Body{ContentType: contentType, Encoding: encoding, conn: c}
}

// Write adds a copy of p. It never fails.
func (b *Body) Write(p []byte) (int, error) {
	b.size += int64(len(p))
	if b.conn.engine.trace {
		b.traceBytes(p)
	}
	if b.over != nil {
		b.hashOnly(p)
		return len(p), nil
	}
	if n := len(b.buf) + len(p); n > MaxBody || n > cap(b.buf) && !b.move(max(n, min(2*len(b.buf), MaxBody)), n) {
		b.spill()
		b.hashOnly(p)
		return len(p), nil
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// Expect announces a body of probably n bytes, which saves moving it while it grows. A length field
// is trusted only up to 4 KiB, because those of many connections may be false.
func (b *Body) Expect(n int64) {
	if n = min(n, 4<<10); b.over == nil && n > int64(cap(b.buf)) {
		b.move(int(n), int(n))
	}
}

// move moves the body to a buffer of n bytes, or of slightly more than need if the budget does
// not allow n.
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

// Release frees the body's memory. Decoded must not be used afterwards.
func (b *Body) Release() {
	buffers.put(b.buf)
	b.buf, b.Decoded = nil, nil
}

// Spill frees the kept bytes of an unfinished body, which continues as Large. It reports whether
// it freed memory.
func (b *Body) Spill() bool {
	if b == nil || b.done || b.over != nil || b.charged == 0 {
		return false
	}
	b.spill()
	return true
}

// spill frees the kept bytes and continues with their hash only.
func (b *Body) spill() {
	b.over = sha256.New()
	if coding.List(b.Encoding) == nil {
		b.scan, b.kind = object.NewScanner(b.ContentType), object.KindOf(b.buf)
	}
	b.hashOnly(b.buf)
	b.conn.shrink(b.charged)
	b.charged = 0
	buffers.put(b.buf)
	b.buf = nil
}

// hashOnly reads bytes that are not kept.
func (b *Body) hashOnly(p []byte) {
	b.over.Write(p)
	if b.scan != nil {
		b.scan.Write(p)
	}
}

// Missing records that n bytes of the body were not captured.
func (b *Body) Missing(n int64) {
	if b.missing == 0 {
		b.gapAt = b.size
	}
	b.missing += n
}

// Memory is the size of the body in memory, in bytes.
func (b *Body) Memory() int {
	if cap(b.Decoded) == cap(b.buf) { // the same memory, or none
		return cap(b.buf)
	}
	return cap(b.buf) + cap(b.Decoded)
}

// Size is the number of bytes written, before content decoding.
func (b *Body) Size() int64 { return b.size }

// WireSize is the number of bytes before any decoding of the content.
func (b *Body) WireSize() int64 { return cmp.Or(b.Wire, b.size) }

// Lost is the number of bytes known to be missing.
func (b *Body) Lost() int64 { return b.missing }

// Over reports whether the body exceeded a limit, so that its bytes are not kept.
func (b *Body) Over() bool { return b.over != nil }

// Kept returns the bytes written so far, before content decoding, or nil if the body exceeded
// the limit. The caller must not change them.
func (b *Body) Kept() []byte { return b.buf }

// Finish decodes the content and hashes the body; Emit calls it. A dissector that needs the
// decoded bytes for its row may call it earlier, once the body is complete.
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
	codings := coding.List(b.Encoding)
	if len(b.Decoded) == 0 {
		codings = nil // the server had nothing to send
	}
	if len(codings) > maxEncoding {
		b.conn.Anomaly("content_encoding", "too many nested codings: "+b.Encoding, 0)
		codings = nil
	}
	b.Hash, b.decoded = sha256.Sum256(b.Decoded), int64(len(b.Decoded))
	e := b.conn.engine
	for i := len(codings) - 1; i >= 0; i-- {
		left := e.decodeAllowance(b.conn.root().now.No)
		keep := int64(coding.MaxDecoded)
		if i == 0 {
			keep = max(maxKept-e.kept, int64(len(b.buf)))
		}
		out := coding.Output{Hash: sha256.New(), Keep: keep}
		err := coding.DecodeContent(&out, codings[i], b.Decoded, min(coding.MaxDecoded, left))
		e.spanDecoded += out.N
		if out.N == 0 && err != nil {
			b.conn.Anomaly("content_encoding", "decoding "+codings[i]+": "+err.Error(), b.decoded)
			break
		}
		b.Decoded, b.decoded, b.notKept = out.Data, out.N, out.N > out.Keep
		if i == 0 {
			e.kept += int64(len(out.Data))
		}
		out.Hash.Sum(b.Hash[:0])
		b.Codings = strings.TrimPrefix(b.Codings+","+codings[i], ",")
		if err != nil {
			if b.Complete && b.missing == 0 {
				b.conn.Anomaly("content_encoding", "decoding "+codings[i]+": "+err.Error(), 0)
			}
			b.Complete = false
			break
		}
	}
}

// decodeAllowance returns how many bytes content decoding may still produce near packet no. It
// keeps the time and memory for decompression bombs proportional to the number of packets, even
// if many connections carry them.
func (e *Engine) decodeAllowance(no int64) int64 {
	if span := no / decodeSpan; span != e.spanNo {
		e.spanNo, e.spanDecoded, e.kept = span, 0, 0
	}
	return max(maxSpanDecoded-e.spanDecoded, 0)
}
