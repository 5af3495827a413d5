package dissect

// Lane is one direction of a stream inside a connection, for a dissector that puts
// streams together itself, as QUIC's does: bytes in order, not yet taken, with the packets
// that carried them. What it holds is taken out of the engine's budget.
type Lane struct {
	c   *Conn
	dir Dir
	s   side
	in  Input
}

// NewLane starts a stream's direction of an inner connection.
func (c *Conn) NewLane(dir Dir) *Lane { return &Lane{c: c, dir: dir} }

// Add appends the next bytes of the stream; it copies them. False means that they are
// over a limit and were not kept: the stream has to be given up.
func (l *Lane) Add(data []byte, p Packet) bool {
	l.c.now = p
	if !l.c.room(&l.s, len(data)) {
		return false
	}
	if len(l.s.buf) == 0 {
		l.s.buf, l.s.segs = l.s.buf[:0], l.s.segs[:0]
	}
	l.s.segs = append(l.s.segs, seg{l.s.off + int64(len(l.s.buf)), p})
	l.c.keep(&l.s, data)
	return true
}

// Lend is Input where nothing is left over, with data as the next bytes, without copying
// them. What the reader took of them is told with Passed, what it left has to be added.
func (l *Lane) Lend(data []byte, p Packet) *Input {
	l.c.now = p
	l.s.segs = append(l.s.segs[:0], seg{l.s.off, p})
	l.in = Input{Dir: l.dir, Data: data, conn: l.c, base: l.s.off, segs: l.s.segs}
	return &l.in
}

// Passed says that n lent bytes were taken.
func (l *Lane) Passed(n int) {
	l.s.off += int64(n)
	l.in.Data = nil
}

// End says that no more will come; fin, that the sender said so.
func (l *Lane) End(fin bool, p Packet) {
	l.c.now = p
	l.s.ended, l.s.fin = true, fin
	if len(l.s.segs) == 0 {
		l.s.segs = append(l.s.segs, seg{l.s.off, p})
	}
}

// Input is what was not taken yet; valid until the next call of a method of l.
func (l *Lane) Input() *Input {
	l.in = Input{Dir: l.dir, Data: l.s.buf, End: l.s.ended, Fin: l.s.fin, conn: l.c, base: l.s.off, segs: l.s.segs}
	return &l.in
}

// Len is the number of bytes not taken yet.
func (l *Lane) Len() int { return len(l.s.buf) }

// Offset is the stream's offset of the first byte not taken yet.
func (l *Lane) Offset() int64 { return l.s.off }

// Take forgets n bytes at the front.
func (l *Lane) Take(n int) {
	if n <= 0 {
		return
	}
	l.c.drop(&l.s, n)
}

// Skip forgets everything that was not taken and n lost bytes after it.
func (l *Lane) Skip(n int64) {
	l.c.drop(&l.s, 0)
	l.s.off += n
}

// Need says that the reader wants n bytes in all before it is asked again, so that more
// than the usual limit may be kept.
func (l *Lane) Need(n int) { l.s.need = min(n, maxNeed) }

// Close gives the lane's memory back.
func (l *Lane) Close() { l.c.drop(&l.s, 0) }
