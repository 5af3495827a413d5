package ring

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// SeriesOptions of a series. The functions are called from goroutines of the ring and from
// that of Append. Account is called while the series is locked. They must not call the ring,
// and should be fast.
type SeriesOptions struct {
	Name     string // sockets, interfaces, plaintext, …
	LinkType uint16
	SnapLen  uint32               // longer packets are cut; 0 and more than 261,000 mean 261,000
	Header   func(*Header)        // fills in the section header of each segment; may be nil
	Account  func(Totals) Account // counters when a segment ends; may be nil
	Sides    []string             // kinds of side files that its segments may have, see FinishSides
	Private  bool                 // only the ring's owner can read its segments, not the group
}

// Totals counts the packets passed to Append by their fate, up to the end of a segment.
type Totals struct {
	Kept    uint64 // in a segment, or waiting to be written to this one
	Dropped uint64 // by the ring
}

// Account is the caller's counters at the end of a segment.
type Account struct {
	Counters   *Counters // since the recorder started, read consistently; nil if there are none
	Clock      *Clock
	Interfaces []InterfaceAccount
	Holes      []Hole // during this segment: filter, policy, drop
}

// Series writes packets of one link type to segments.
type Series struct {
	w   *Writer
	opt SeriesOptions

	ops  chan op
	free chan *chunk

	over    atomic.Uint64 // what ended says, for who asks often
	settled atomic.Uint64

	mu       sync.Mutex
	next     uint64 // sequence number of the next segment
	gen      uint64 // counts segments started
	ifaces   []iface
	unused   []InterfaceID
	seg      *segment
	cur      *chunk
	spare    []*chunk // empty
	seenLen  int      // of cur at the last tick
	chunks   int      // created so far
	stalled  bool
	refusing bool // no segment could be started since the disk failed
	down     bool
	retryAt  time.Time
	lastFail error
	closed   bool
	final    uint64   // side files of segments up to this one are final
	lost     loss     // not yet stated in a segment
	stated   Counters // at the end of the last segment
	statedAt Time
	unstated []Hole   // what was counted after the last segment, once the series is closed
	disk     *segment // its file is open, for syncs

	packets, bytes, dropped uint64

	refused uint64 // for runDisk: segments up to this one are not continued
}

// iface is a declared interface.
type iface struct {
	desc    []byte // its block; nil if the number is unused
	gen     uint64 // of the segment that has it as number num
	num     uint32
	kept    uint64 // packets
	dropped uint64 // by the ring since the last packet that was kept
}

// chunk is a sequence of whole blocks to be written.
type chunk struct {
	seg   *segment
	buf   []byte
	tally tally
}

const (
	chunkSize   = maxBlock // every block fits into an empty chunk; small enough for the second-level cache
	extraChunks = 32       // in addition to the queue, for the statistics of a segment's interfaces
)

// op is a task of runDisk: a chunk, or the end of a segment.
type op struct {
	chunk *chunk
	end   *segment
}

func newSeries(w *Writer, opt SeriesOptions, next uint64) *Series {
	n := max(w.opt.QueueBytes/chunkSize, 2)
	s := &Series{w: w, opt: opt, next: next, statedAt: now(), free: make(chan *chunk, n),
		// Each end has a chunk of its segment before it, so a send never waits.
		ops: make(chan op, 2*(n+extraChunks)+2)}
	s.over.Store(s.ended())
	return s
}

// Append writes a packet. It returns
//   - nil: the packet is queued for the disk,
//   - ErrDisk: the disk has failed or is too slow; the packet is dropped and counted,
//   - ErrInterface, ErrClosed: a mistake of the caller; nothing is counted.
//
// It waits for a slow disk for at most Options.Patience, and then not again until there is
// room.
func (s *Series) Append(p *Packet) error {
	s.mu.Lock()
	err := s.append(p)
	if err == errFull {
		err = s.appendLate(p)
	}
	s.mu.Unlock()
	return err
}

// errFull means that there is no empty chunk now. A partial append is kept, and can be
// repeated.
var errFull = errors.New("no empty chunk")

// appendLate waits for an empty chunk, with the series unlocked so that runDisk can continue.
// The series is locked when it is called and when it returns.
func (s *Series) appendLate(p *Packet) error {
	t := time.NewTimer(s.w.opt.Patience)
	defer t.Stop()
	for !s.stalled {
		s.mu.Unlock()
		select {
		case c := <-s.free:
			s.mu.Lock()
			s.spare = append(s.spare, c)
		case <-t.C:
			s.mu.Lock()
			s.stalled = true
			s.lost.detail = "the disk is too slow"
		}
		if err := s.append(p); err != errFull {
			return err
		}
	}
	if !s.declared(p.Interface) {
		return ErrInterface
	}
	return s.drop(&s.ifaces[p.Interface], p)
}

// AppendAll appends packets in order and returns how many were not dropped. It stops at the
// first mistake of the caller.
func (s *Series) AppendAll(list []Packet) (kept int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		err := s.append(&list[i])
		if err == errFull {
			err = s.appendLate(&list[i])
		}
		switch err {
		case nil:
			kept++
		case ErrDisk:
		default:
			return kept, err
		}
	}
	return kept, nil
}

func (s *Series) append(p *Packet) error {
	if !s.declared(p.Interface) {
		return ErrInterface
	}
	if s.closed {
		return ErrClosed
	}
	it := &s.ifaces[p.Interface]
	if s.down {
		return s.drop(it, p)
	}
	if s.seg == nil {
		s.beginSegment()
	}
	if it.gen != s.seg.gen {
		if s.w.opt.single() && s.full() {
			return s.drop(it, p)
		}
		if !s.describe(it, p.Interface) {
			return errFull
		}
	}
	keep := max(min(len(p.Data), int(s.opt.SnapLen)-len(p.Prefix)), 0)
	drops := p.Drops + it.dropped
	size := p.blockSize(keep, drops)
	if size > maxBlock {
		if p.Comment != "" && len(p.Prefix) <= maxCaptured {
			short := *p
			short.Comment = "" // there is no room for both, and the packet matters more
			return s.append(&short)
		}
		return s.drop(it, p)
	}
	b := s.room(size, false)
	if b == nil {
		return errFull
	}
	p.appendBlock(b[:0], size, it.num, keep, drops)
	it.dropped = 0
	it.kept++
	s.seg.count[it.num].kept++
	captured := len(p.Prefix) + keep
	s.packets++
	s.bytes += uint64(captured)
	t := &s.cur.tally
	t.packet(captured, Time(p.Time))
	t.id = max(t.id, p.ID&packetIDMask)
	if s.seg.filled >= s.w.opt.SegmentBytes {
		s.rotate()
	}
	return nil
}

func (s *Series) drop(it *iface, p *Packet) error {
	it.dropped += 1 + p.Drops
	s.dropped++
	s.lost.add(Time(p.Time), len(p.Prefix)+len(p.Data))
	return ErrDisk
}

// room returns size bytes of the current chunk, or nil if there are none. If must is set, it
// may allocate extra chunks.
func (s *Series) room(size int, must bool) []byte {
	if s.cur != nil && len(s.cur.buf)+size > chunkSize {
		s.send()
	}
	if s.cur == nil {
		if s.cur = s.emptyChunk(must); s.cur == nil {
			return nil
		}
		s.cur.seg = s.seg
	}
	at := len(s.cur.buf)
	s.cur.buf = s.cur.buf[:at+size]
	s.seg.filled += int64(size)
	return s.cur.buf[at : at+size]
}

// emptyChunk returns an empty chunk without waiting.
func (s *Series) emptyChunk(must bool) *chunk {
	if n := len(s.spare); n > 0 {
		c := s.spare[n-1]
		s.spare = s.spare[:n-1]
		s.stalled = false
		return c
	}
	select {
	case c := <-s.free:
		s.stalled = false
		return c
	default:
	}
	if s.chunks < cap(s.free) || must && s.chunks < cap(s.free)+extraChunks {
		s.chunks++
		return &chunk{buf: make([]byte, 0, chunkSize)}
	}
	return nil
}

// send passes the current chunk to runDisk.
func (s *Series) send() {
	if s.cur == nil || len(s.cur.buf) == 0 {
		return
	}
	s.seg.sent = true
	s.ops <- op{chunk: s.cur}
	s.cur, s.seenLen = nil, 0
}

// Flush passes the packets collected by Append to runDisk.
func (s *Series) Flush() {
	s.mu.Lock()
	s.send()
	s.mu.Unlock()
}

// Seal ends the current segment; Writer.Seal also waits until it is sealed.
func (s *Series) Seal() { s.endSegment() }

func (s *Series) endSegment() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w.opt.single() {
		return nil
	}
	seg := s.seg
	s.rotate()
	return seg
}

func (s *Series) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.w.opt.single() {
		s.send()
		close(s.ops)
		return
	}
	if s.seg == nil && s.opt.Account != nil {
		a := s.opt.Account(Totals{s.packets, s.dropped})
		s.unstated = s.since(&a)
	}
	s.rotate()
	close(s.ops)
}

// tick is called several times in each FlushEvery.
func (s *Series) tick(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case s.down:
		if at.After(s.retryAt) && !s.w.opt.single() {
			s.down = false // the next packet tries again
		}
	case s.seg == nil:
	case at.Sub(s.seg.begun) >= s.w.opt.SegmentTime:
		s.rotate()
	case s.cur != nil && len(s.cur.buf) > 0:
		if s.seenLen > 0 {
			s.send() // it was there at the last tick
		} else {
			s.seenLen = len(s.cur.buf)
		}
	}
}

// Current returns the segment for the next packet, in most cases; zero if none has been
// started. Side files of packets just appended belong to it.
func (s *Series) Current() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seg == nil {
		return ID{}
	}
	return s.seg.id
}

// Refusing reports whether the series cannot write segments because the disk failed or only
// reserved space is left. The caller should not write other files there meanwhile.
func (s *Series) Refusing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusing
}

// Totals counts all packets passed to Append so far by their fate.
func (s *Series) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Totals{s.packets, s.dropped}
}

// Settled counts the packets that Append accepted and that are no longer only in this process's
// memory: they are in the file, or the disk refused them.
func (s *Series) Settled() uint64 { return s.settled.Load() }

func (s *Series) status() SeriesStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SeriesStatus{Name: s.opt.Name, Packets: s.packets, Bytes: s.bytes, Dropped: s.dropped, Down: s.down || s.stalled, LastFail: s.lastFail}
	if s.seg != nil {
		st.Current = s.seg.id
	}
	return st
}
