package ring

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// segment is a segment that is being written. The fields from file on belong to the
// goroutine that writes, then to the sealer.
type segment struct {
	series *Series
	id     ID
	gen    uint64
	begun  time.Time
	filled int64         // bytes of blocks from Append
	ids    []InterfaceID // by number in the segment
	sent   bool
	done   chan struct{} // closed when it is sealed or has failed
	err    error         // then

	file    *os.File
	hash    hash.Hash
	size    int64
	tally   tally
	broken  bool // accepts no more chunks
	holes   []Hole
	account *Account
	sealed  *Record // its record is written, but it is not renamed yet
	count   []seen  // by interface number; guarded by Series.mu
	resync  bool    // a sync failed: what is on disk must be read back
	move    int     // Writer.move when file was opened

	reserved int64 // bytes allocated for a single file
}

// seen counts the packets of an interface by their fate.
type seen struct {
	kept uint64
	lost uint64 // after Append accepted them
}

// runDisk writes the chunks that Append fills. Only this goroutine and the sealer wait for
// the disk.
func (s *Series) runDisk() {
	for o := range s.ops {
		if o.chunk != nil {
			s.write(o.chunk)
		} else {
			s.end(o.end)
		}
	}
}

// write appends a chunk to its segment. If the disk fails, the segment keeps the whole
// blocks that were written, and ends there.
func (s *Series) write(c *chunk) {
	seg, packets := c.seg, c.tally.packets
	defer s.settled.Add(packets)
	if seg.gen <= s.refused {
		seg.broken = true
	}
	if !seg.broken && seg.file == nil && !s.w.opt.single() {
		if err := s.open(seg); err != nil {
			s.fail(seg, err)
		}
	}
	if seg.broken {
		s.lose(seg, c.buf)
		s.recycle(c)
		return
	}
	var n int
	err := seg.keepRoom(len(c.buf))
	if err == nil {
		n, err = seg.put(c.buf)
	}
	tally := c.tally
	if err != nil {
		n, tally = wholeBlocks(c.buf[:n], seg.tally.interfaces)
	}
	if seg.hash != nil {
		seg.hash.Write(c.buf[:n])
	}
	seg.size += int64(n)
	seg.tally.add(&tally)
	if err != nil {
		seg.tally.interfaces = tally.interfaces
		if seg.file != nil { // if this fails, the sealer truncates it again
			err = errors.Join(err, seg.file.Truncate(seg.size))
		}
		s.fail(seg, fmt.Errorf("writing %s at %d: %w", seg.name(), seg.size, err))
		s.lose(seg, c.buf[n:])
	}
	s.recycle(c)
}

// wholeBlocks returns the size and the contents of the whole blocks at the start of b.
func wholeBlocks(b []byte, interfaces int) (int, tally) {
	t := tally{interfaces: interfaces}
	at := 0
	for {
		size := wholeBlock(b[at:])
		if size == 0 || t.lookAt(b[at:at+size]) != nil {
			return at, t
		}
		at += size
	}
}

func (s *Series) recycle(c *chunk) {
	c.seg, c.buf, c.tally = nil, c.buf[:0], tally{}
	select {
	case s.free <- c:
	default: // an extra chunk
		s.mu.Lock()
		s.chunks--
		s.mu.Unlock()
	}
}

// open creates the hidden file of a segment.
func (s *Series) open(seg *segment) error {
	w := s.w
	move, err := w.checkFolder()
	if err == nil {
		err = w.roomOnDisk()
	}
	if err != nil {
		return fmt.Errorf("creating segment %s: %w", seg.id, err)
	}
	s.mu.Lock()
	lost, isLost := s.lost.hole(s.opt.Name)
	before := s.lost
	s.lost = loss{}
	s.mu.Unlock()
	err = s.create(seg, lost, isLost)
	if err == nil {
		seg.move = move
		if isLost {
			s.mu.Lock()
			seg.holes = append([]Hole{lost}, seg.holes...)
			s.mu.Unlock()
		}
		return nil
	}
	s.mu.Lock()
	s.lost.merge(&before)
	s.mu.Unlock()
	return fmt.Errorf("creating segment %s: %w", seg.id, err)
}

func (s *Series) create(seg *segment, lost Hole, isLost bool) error {
	h := Header{Recorder: s.w.opt.Recorder, BootID: s.w.opt.BootID}
	if s.opt.Header != nil {
		s.opt.Header(&h)
	}
	h.Version, h.Ring, h.Node, h.Series, h.Sequence, h.Holes = Version, s.w.name, seg.id.Node, seg.id.Series, seg.id.Sequence, nil
	if s.w.opt.single() {
		h.Sequence = 0 // a file is not part of a ring
	}
	if isLost {
		h.Holes = []Hole{lost}
	}
	head, err := h.encode()
	if err != nil {
		return err
	}
	f, err := s.createFile(seg)
	if err != nil {
		return err
	}
	seg.file = f
	if err = seg.keepRoom(len(head)); err == nil {
		_, err = seg.put(head)
	}
	if err != nil {
		err = errors.Join(err, seg.remove())
		seg.file = nil
		return err
	}
	if !s.w.opt.single() { // a file is not sealed
		seg.hash = sha256.New()
		seg.hash.Write(head)
	}
	seg.size = int64(len(head))
	s.mu.Lock()
	s.refusing = false
	if f != nil {
		s.disk = seg
	}
	s.mu.Unlock()
	return nil
}

// createFile creates the file of a segment; a stream has none.
func (s *Series) createFile(seg *segment) (*os.File, error) {
	mode := os.FileMode(0o640)
	if s.opt.Private {
		mode = 0o600
	}
	o := &s.w.opt
	switch {
	case o.Stream != nil:
		return nil, nil
	case o.File != "":
		return os.OpenFile(o.File, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	}
	f, err := os.OpenFile(filepath.Join(o.Dir, seg.id.hidden()), os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		// If there is not enough space, the write that needs it returns an error.
		_ = durable.Reserve(f, 0, o.SegmentBytes)
	}
	return f, err
}

// fail ends a segment because of a disk error, and stops Append for a while. The chunk that
// Append has filled meanwhile is lost too: its packets were written without the drop counts
// that they would need now.
func (s *Series) fail(seg *segment, err error) {
	seg.broken = true
	if !s.w.opt.single() {
		s.w.report(err) // for a file or stream, the error ends the recording
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.refusing, s.lastFail = true, true, err
	s.retryAt = time.Now().Add(s.w.opt.RetryEvery)
	s.lost.detail = reason(err)
	s.refused = s.gen
	if s.seg == nil {
		return
	}
	if s.cur != nil {
		s.loseLocked(s.seg, s.cur.buf)
		s.settled.Add(s.cur.tally.packets)
		s.cur.buf, s.cur.tally, s.seenLen = s.cur.buf[:0], tally{}, 0
	}
	if !s.w.opt.single() {
		s.finishSegment()
	}
}

// reason describes a disk error in a few words, without paths.
func reason(err error) string {
	var no syscall.Errno
	switch {
	case errors.Is(err, ErrReserve):
		return ErrReserve.Error()
	case errors.Is(err, ErrElsewhere):
		return ErrElsewhere.Error()
	case errors.As(err, &no):
		return no.Error()
	}
	return "the disk failed"
}

// lose counts the packets in blocks that never reached the disk. The next packet of each
// interface that does states how many were lost before it.
func (s *Series) lose(seg *segment, blocks []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseLocked(seg, blocks)
}

func (s *Series) loseLocked(seg *segment, blocks []byte) {
	for size := wholeBlock(blocks); size > 0; size = wholeBlock(blocks) {
		blk := blocks[:size]
		blocks = blocks[size:]
		if pcapng.BlockType(le.Uint32(blk)) != pcapng.BlockEnhanced {
			continue
		}
		captured := int(le.Uint32(blk[20:]))
		s.lost.add(packetTime(blk), captured)
		s.dropped++
		s.packets--
		s.bytes -= uint64(captured)
		n := le.Uint32(blk[8:])
		if uint64(n) >= uint64(len(seg.ids)) {
			continue
		}
		seg.count[n].kept--
		seg.count[n].lost++
		if s.declared(seg.ids[n]) {
			s.ifaces[seg.ids[n]].dropped += 1 + option(blk, pcapng.EPBDropCount)
		}
	}
}

// end passes a segment to the sealer, or removes it if it is empty.
func (s *Series) end(seg *segment) {
	s.mu.Lock()
	if s.disk == seg {
		s.disk = nil
	}
	s.mu.Unlock()
	if seg.file != nil && seg.tally.packets > 0 {
		s.w.seals <- seg
		return
	}
	if seg.file != nil {
		name := seg.file.Name()
		if err := errors.Join(seg.file.Close(), os.Remove(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.w.report(fmt.Errorf("removing empty segment %s: %w", seg.id, err))
		}
	}
	s.mu.Lock()
	if s.seg == nil && s.next == seg.id.Sequence+1 {
		s.freeNumber() // so that a long failure does not use up numbers
	} else {
		s.lost.skip(seg.id.Sequence)
	}
	for _, h := range seg.holes {
		s.lost.merge(&loss{packets: uint64(max(h.Packets, 0)), bytes: uint64(h.Bytes), first: h.From, last: h.To, detail: h.Detail, sequences: h.Sequences})
	}
	s.mu.Unlock()
	seg.err = ErrDisk
	close(seg.done)
}

// rehash reads the first bytes of a file again.
func rehash(f *os.File, size int64) (hash.Hash, error) {
	durable.Forget(f)
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return nil, err
	}
	return h, nil
}
