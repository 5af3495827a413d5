package clickhouse

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// incoming is a partly received block: its own position, and the rest of a compressed frame.
type incoming struct {
	call  *call // nil if it was given up
	shown bool  // its columns and rows are those of the result, or of the insert
	begun bool
	packd bool
	plain []byte // decompressed and unread
	d     decoder
}

func (b *incoming) kept() int { return cap(b.plain) + b.d.kept() }

// Heads of frames: a checksum of 16 bytes, the method, the length with these 9 bytes, and the length of
// the content (src/Compression/CompressedReadBufferBase.cpp).
const (
	frameSum   = 16
	frameHead  = 9
	methodNone = 0x02
	methodLZ4  = 0x82
	methodZstd = 0x90
)

var methods = map[byte]string{methodNone: "none", methodLZ4: "lz4", methodZstd: "zstd"}

// errUnread is the error of a block that this package cannot follow.
var errUnread = errors.New("a type that is not read")

// begin starts to read a block, after the head of its packet.
func (k *conn) begin(in *input, at, n int, c *call, shown bool) {
	if c != nil {
		in.add(&c.x, at, at+n)
	}
	k.sides[in.Dir].block = &incoming{call: c, shown: shown, d: decoder{rev: k.revs.most, kinds: k.types, show: shown && in.Dir == dissect.ToClient}}
}

// readBlock reads bytes of a block.
func (k *conn) readBlock(in *input, at int) (int, error) {
	s := &k.sides[in.Dir]
	x := s.block
	b := in.data[at:]
	if !x.begun {
		if len(b) < 3 {
			return 0, nil
		}
		x.begun, x.packd = true, !(b[0] == 1 && b[1] <= 1 && b[2] == 2)
		if x.call != nil && !x.packd && x.shown && !x.call.row.Compression.OK {
			x.call.row.Compression = table.Some("none")
		}
	}
	var n int
	var err error
	if x.packd {
		n, err = k.readFrame(in, at, x)
	} else {
		n, err = x.d.read(b)
	}
	if x.call != nil && n > 0 {
		in.add(&x.call.x, at, at+n)
	}
	switch {
	case errors.Is(err, errUnread):
		return k.unread(in.Dir, x, n)
	case err != nil:
		return 0, err
	case x.d.done:
		if len(x.plain) > 0 {
			return 0, fmt.Errorf("reading a block: its last frame has %d bytes too many", len(x.plain))
		}
		s.block = nil
		k.finish(in.Dir, x)
	}
	return n, nil
}

// unread ends the reading of a block with an unknown type, of which n bytes were read.
func (k *conn) unread(dir dissect.Dir, x *incoming, n int) (int, error) {
	if x.call != nil {
		x.call.row.Partial = table.Some(true)
	}
	if dir == dissect.ToServer { // the next statement is found by its form
		k.sides[dir].block = nil
		if n == 0 {
			return 0, errUnread
		}
		return n, nil
	}
	k.lose("unread")
	return n, nil
}

// frame is a compressed frame.
type frame struct {
	method  byte
	content []byte
	plain   int // bytes of its content after decompression
}

// parseFrame reads the frame at the beginning of b. size is that of the frame, 0 if it is not known yet; content is nil
// if the frame is not complete.
func parseFrame(b []byte) (f frame, size int, err error) {
	if len(b) < frameSum+frameHead {
		return f, 0, nil
	}
	h := b[frameSum:]
	size = int(binary.LittleEndian.Uint32(h[1:]))
	f = frame{method: h[0], plain: int(binary.LittleEndian.Uint32(h[5:]))}
	if methods[f.method] == "" || size < frameHead || size > maxFrame || f.plain > maxFrame {
		return f, 0, fmt.Errorf("reading a compressed frame: method 0x%02x, %d bytes with %d of content", f.method, size, f.plain)
	}
	if len(h) >= size {
		f.content = h[frameHead:size]
	}
	return f, frameSum + size, nil
}

// open returns the content.
func (f *frame) open(decompress dissect.Decompressor) ([]byte, error) {
	if f.method == methodNone {
		return f.content, nil
	}
	coding := map[byte]string{methodLZ4: "lz4-block", methodZstd: "zstd"}[f.method]
	out, err := decompress(coding, f.content, f.plain)
	if err != nil || len(out) != f.plain {
		return nil, errUnread
	}
	return out, nil
}

// readFrame reads one compressed frame.
func (k *conn) readFrame(in *input, at int, x *incoming) (int, error) {
	b := in.data[at:]
	f, whole, err := parseFrame(b)
	if err != nil || whole == 0 {
		return 0, err
	}
	if f.content == nil {
		if at == 0 {
			in.need(k.Conn, whole)
		}
		return 0, nil
	}
	if c := x.call; c != nil && (!c.row.Compression.OK || x.shown) {
		c.row.Compression = table.Some(methods[f.method])
	}
	content, err := f.open(k.Conn.Decompress)
	if err != nil {
		return 0, err
	}
	if len(x.plain) > 0 {
		content = append(x.plain, content...)
	}
	for len(content) > 0 && !x.d.done {
		n, err := x.d.read(content)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		content = content[n:]
	}
	if len(content) > maxFrame {
		return 0, errUnread
	}
	x.plain = append([]byte(nil), content...)
	return whole, nil
}

// finish adds the values of a whole block.
func (k *conn) finish(dir dissect.Dir, x *incoming) {
	c, d := x.call, &x.d
	if c == nil || !x.shown {
		return
	}
	row := c.row
	if dir == dissect.ToServer {
		if d.rows > 0 {
			row.Inserted = table.Some(row.Inserted.V + int64(d.rows))
		}
		return
	}
	if d.columns == 0 {
		return
	}
	if row.Columns == nil {
		row.Columns, row.Types = d.names, d.typeNames
		c.texts += d.texts
		k.Grow(c, d.texts)
	}
	row.Rows = table.Some(row.Rows.V + int64(d.rows))
	if more := d.preview(maxPreview - len(row.Preview.V)); more != "" {
		row.Preview = table.Some(row.Preview.V + more)
		c.texts += len(more)
		k.Grow(c, len(more))
	}
}
