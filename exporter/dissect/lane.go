package dissect

// StreamBuffer holds the unread bytes of one direction of a stream inside a connection, in order
// and with their packets. It serves dissectors that assemble streams themselves, such as QUIC's.
// Its memory counts toward the engine's budget.
type StreamBuffer struct {
	c   *Conn
	dir Dir
	s   side
	in  Input
}

// NewStreamBuffer starts one direction of a stream of an inner connection.
func (c *Conn) NewStreamBuffer(dir Dir) *StreamBuffer { return &StreamBuffer{c: c, dir: dir} }

// Add appends a copy of the stream's next bytes. If it returns false, they exceed a limit and were
// not kept: the caller must stop reading the stream.
func (b *StreamBuffer) Add(data []byte, p Packet) bool {
	b.c.now = p
	if !b.c.room(&b.s, len(data)) {
		return false
	}
	if len(b.s.buf) == 0 {
		b.s.buf, b.s.segs = b.s.buf[:0], b.s.segs[:0]
	}
	b.s.segs = append(b.s.segs, seg{off: b.s.off + int64(len(b.s.buf)), Packet: p})
	b.c.keep(&b.s, data)
	return true
}

// Borrow is Input for a buffer without unread bytes: it returns data as the next bytes without
// copying them. The caller reports with Consumed how much the reader consumed, and adds the
// rest.
func (b *StreamBuffer) Borrow(data []byte, p Packet) *Input {
	b.c.now = p
	b.s.segs = append(b.s.segs[:0], seg{off: b.s.off, Packet: p})
	b.in = Input{Dir: b.dir, Data: data, conn: b.c, base: b.s.off, segs: b.s.segs, side: &b.s}
	return &b.in
}

// Consumed reports that the reader consumed n borrowed bytes.
func (b *StreamBuffer) Consumed(n int) {
	b.s.off += int64(n)
	b.in.Data = nil
}

// End reports that no more bytes will come. fin means that the sender ended the stream.
func (b *StreamBuffer) End(fin bool, p Packet) {
	b.c.now = p
	b.s.ended, b.s.fin = true, fin
	if len(b.s.segs) == 0 {
		b.s.segs = append(b.s.segs, seg{off: b.s.off, Packet: p})
	}
}

// Input returns the unread bytes; valid until the next call of a method of b.
func (b *StreamBuffer) Input() *Input {
	b.in = Input{Dir: b.dir, Data: b.s.buf, End: b.s.ended, Fin: b.s.fin, conn: b.c, base: b.s.off, segs: b.s.segs, side: &b.s}
	return &b.in
}

// Len is the number of unread bytes.
func (b *StreamBuffer) Len() int { return len(b.s.buf) }

// Discard removes n bytes at the front.
func (b *StreamBuffer) Discard(n int) {
	if n <= 0 {
		return
	}
	b.c.drop(&b.s, n)
}

// Skip removes all unread bytes and skips n lost bytes after them. inside says that the reader knows them to be inside a
// message.
func (b *StreamBuffer) Skip(n int64, inside bool) {
	l := loss{side: &b.s, from: b.s.off, at: b.s.off + int64(len(b.s.buf)), n: n}
	b.c.engine.counts(&l, inside)
	b.c.drop(&b.s, 0)
	b.s.off += n
}

// Close frees the buffer's memory.
func (b *StreamBuffer) Close() { b.c.drop(&b.s, 0) }
