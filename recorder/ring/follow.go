package ring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// FollowOptions of Follow.
type FollowOptions struct {
	Series string        // "" if the ring has only one
	From   int64         // earlier packets are skipped; 0 starts with the segment that is being written
	Poll   time.Duration // interval between checks for more packets; 0 means 50 ms
	Settle time.Duration // time that bytes must have been in the file; side files are written a little later than packets
	Once   bool          // do not wait: end with io.EOF after what the ring has
}

// Follower reads a ring while it is written, across rotations and restarts of the recorder.
// It must be used by one goroutine only.
type Follower struct {
	ctx    context.Context
	dir    string
	opt    FollowOptions
	id     ID // being read; Sequence 0 before the first
	file   *os.File
	reader *pcapng.Reader
	missed uint64
	idle   atomic.Bool
}

// Follow starts to read a ring, which must exist but need not have a segment yet.
func Follow(ctx context.Context, dir string, opt FollowOptions) (*Follower, error) {
	if opt.Poll <= 0 {
		opt.Poll = 50 * time.Millisecond
	}
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	if opt.Series == "" {
		if opt.Series, err = OnlySeries(r.Segments); err != nil {
			return nil, fmt.Errorf("following ring %s: %w", dir, err)
		}
	}
	f := &Follower{ctx: ctx, dir: dir, opt: opt, id: ID{Series: opt.Series}}
	f.start(r)
	return f, nil
}

// start begins after the last segment that has nothing to read.
func (f *Follower) start(r *Ring) {
	for _, s := range r.Segments {
		if s.ID.Series != f.opt.Series {
			continue
		}
		if !s.Missing && (s.Seal == nil || s.Open || f.opt.From != 0 && s.Seal.Last >= Time(f.opt.From)) {
			return
		}
		f.id.Sequence = s.ID.Sequence
	}
}

// OnlySeries returns the series of the segments if there is only one. Series have different
// link types, so they cannot be mixed.
func OnlySeries(list []Segment) (string, error) {
	name := ""
	for _, s := range list {
		if name != "" && s.ID.Series != name {
			return "", fmt.Errorf("the ring has several series, including %s and %s: name one", name, s.ID.Series)
		}
		name = s.ID.Series
	}
	if name == "" {
		return "", errors.New("the ring has no segment yet: name a series")
	}
	return name, nil
}

// SeriesNames lists the series of a ring, sorted, including those without a sealed segment.
func SeriesNames(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("following ring: %w", err)
	}
	var names []string
	for _, e := range list {
		if id, kind, _, ok := ParseName(e.Name()); ok && kind == "pcapng" && !slices.Contains(names, id.Series) {
			names = append(names, id.Series)
		}
	}
	slices.Sort(names)
	return names, nil
}

// OpenSegment opens a segment of a ring by its name, even while it is being written.
func OpenSegment(dir, name string) (*os.File, error) {
	id, kind, _, ok := ParseName(name)
	if !ok || kind != "pcapng" {
		return nil, fmt.Errorf("opening segment %s: %w", name, fs.ErrNotExist)
	}
	f, err := os.Open(filepath.Join(dir, id.Segment()))
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = os.Open(filepath.Join(dir, id.hidden())); errors.Is(err, fs.ErrNotExist) {
			return os.Open(filepath.Join(dir, id.Segment())) // it was sealed meanwhile
		}
	}
	return f, err
}

// Dir is the ring's folder.
func (f *Follower) Dir() string { return f.dir }

// Segment returns the segment of the last batch.
func (f *Follower) Segment() ID { return f.id }

// Missed returns the number of segments that retention removed before they were read.
func (f *Follower) Missed() uint64 { return f.missed }

// Idle reports whether everything in the ring was read. It may be called from any goroutine.
func (f *Follower) Idle() bool { return f.idle.Load() }

// NextSegment waits for the next segment. The reader returns the bytes of the segment, whole blocks
// only, waits for more while it is written, and ends with it. Segment names it. Use either
// NextSegment or Next.
func (f *Follower) NextSegment() (io.Reader, error) {
	if f.file != nil {
		f.file.Close() // read only: nothing can be lost
		f.file = nil
	}
	for {
		opened, err := f.open()
		if err != nil {
			return nil, err
		}
		if opened {
			return f.tail(), nil
		}
		if err := f.wait(); err != nil {
			return nil, err
		}
	}
}

func (f *Follower) tail() *tail {
	return &tail{f: f.file, ended: f.ended, wait: f.wait, busy: func() { f.idle.Store(false) }, settle: f.opt.Settle}
}

// Next waits for packets and fills b in the same way as pcapng.Reader.Next. A batch has
// packets of one segment. If the context ends, Next returns its cause.
func (f *Follower) Next(b *pcapng.Batch) error {
	for {
		if f.reader == nil {
			if err := f.nextSegment(); err != nil {
				return err
			}
		}
		err := f.reader.Next(b)
		if err == nil {
			if f.keep(b) {
				return nil
			}
			continue
		}
		if e := f.Close(); err == io.EOF && e != nil {
			err = e
		}
		if err != io.EOF {
			return f.because(err)
		}
	}
}

// because returns the cause of the context if it has ended, otherwise err.
func (f *Follower) because(err error) error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	return err
}

// keep removes packets before From. It reports whether packets are left.
func (f *Follower) keep(b *pcapng.Batch) bool {
	if f.opt.From != 0 {
		n := 0
		for _, p := range b.Packets {
			if p.Time >= f.opt.From {
				b.Packets[n] = p
				n++
			}
		}
		b.Packets = b.Packets[:n]
	}
	return len(b.Packets) > 0
}

// Close stops reading.
func (f *Follower) Close() error {
	if f.file == nil {
		return nil
	}
	f.reader = nil
	file := f.file
	f.file = nil
	return file.Close()
}

// nextSegment waits for the next segment and starts to read its packets.
func (f *Follower) nextSegment() error {
	for {
		src, err := f.NextSegment()
		if err != nil {
			return err
		}
		if f.reader, err = pcapng.NewReader(src, pcapng.Options{Live: true, Window: 256 << 10}); err == nil {
			return nil
		}
		f.reader = nil
		if f.ctx.Err() != nil || !errors.Is(err, pcapng.ErrTooShort) {
			return f.because(err)
		}
		// Its header was never written: it is empty.
	}
}

// open opens the next segment, if there is one.
func (f *Follower) open() (bool, error) {
	for {
		id, hidden, err := f.after(f.id.Sequence)
		if err != nil || id.Sequence == 0 {
			return false, err
		}
		name := id.Segment()
		if hidden {
			name = id.hidden()
		}
		file, err := os.Open(filepath.Join(f.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // renamed or removed meanwhile
		}
		if err != nil {
			return false, fmt.Errorf("following ring: %w", err)
		}
		if f.id.Sequence != 0 {
			f.missed += id.Sequence - f.id.Sequence - 1
		}
		f.id, f.file = id, file
		f.idle.Store(false)
		return true, nil
	}
}

// after returns the first segment with a number above n.
func (f *Follower) after(n uint64) (best ID, hidden bool, err error) {
	d, err := os.Open(f.dir)
	if err != nil {
		return ID{}, false, fmt.Errorf("following ring: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return ID{}, false, fmt.Errorf("following ring: %w", err)
	}
	least := uint64(math.MaxUint64)
	for _, name := range names {
		id, kind, isHidden, ok := ParseName(name)
		if !ok || kind != "pcapng" || id.Series != f.opt.Series || id.Sequence <= n || id.Sequence > least || id.Sequence == least && isHidden {
			continue
		}
		best, hidden, least = id, isHidden, id.Sequence
	}
	return best, hidden, nil
}

// ended reports whether the current segment is complete: it was renamed or removed, or a
// later one exists.
func (f *Follower) ended() (bool, error) {
	if _, err := os.Lstat(filepath.Join(f.dir, f.id.hidden())); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	later, _, err := f.after(f.id.Sequence)
	return later.Sequence != 0, err
}

func (f *Follower) wait() error {
	if f.opt.Once {
		return io.EOF
	}
	f.idle.Store(true)
	select {
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	case <-time.After(f.opt.Poll):
		return nil
	}
}

// tail reads a segment that may still grow. It returns only whole blocks, so that its reader
// never sees a partial one.
type tail struct {
	f     *os.File
	ended func() (bool, error) // nil: the segment does not grow
	wait  func() error
	at    int64
	buf   []byte
	ready []byte // whole blocks in buf

	busy   func() // called when there are bytes; may be nil
	settle time.Duration
	sizes  []sizeAt // of the file, oldest first
}

// sizeAt is the size that a file had at a time.
type sizeAt struct {
	size int64
	at   time.Time
}

// settled returns the size that the file had a while ago.
func (t *tail) settled() (size int64, err error) {
	info, err := t.f.Stat()
	if err != nil {
		return 0, err
	}
	now := time.Now()
	if n := len(t.sizes); n == 0 || t.sizes[n-1].size != info.Size() {
		t.sizes = append(t.sizes, sizeAt{info.Size(), now})
	}
	for len(t.sizes) > 1 && now.Sub(t.sizes[1].at) >= t.settle {
		t.sizes = t.sizes[1:]
	}
	if now.Sub(t.sizes[0].at) < t.settle {
		return 0, nil
	}
	return t.sizes[0].size, nil
}

// visible is the number of bytes from at on that may be returned.
func (t *tail) visible(last bool) (int, error) {
	if t.settle == 0 || last {
		return len(t.buf), nil
	}
	size, err := t.settled()
	return int(min(max(size-t.at, 0), int64(len(t.buf)))), err
}

// Read returns whole blocks, waits for more, and ends at the end of the segment.
func (t *tail) Read(p []byte) (int, error) {
	last := t.ended == nil
	for len(t.ready) == 0 {
		if t.buf == nil {
			t.buf = make([]byte, 2*maxBlock)
		}
		limit, err := t.visible(last)
		if err != nil {
			return 0, err
		}
		n, err := t.f.ReadAt(t.buf[:limit], t.at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		whole := 0
		for size := wholeBlock(t.buf[:n]); size > 0; size = wholeBlock(t.buf[whole:n]) {
			whole += size
		}
		t.ready = t.buf[:whole]
		t.at += int64(whole)
		if whole > 0 {
			if t.busy != nil {
				t.busy()
			}
			break
		}
		if last {
			return 0, io.EOF
		}
		// The next read includes everything that was written before the end was seen.
		if last, err = t.ended(); err != nil {
			return 0, err
		}
		if !last {
			if err := t.wait(); err != nil {
				return 0, err
			}
		}
	}
	n := copy(p, t.ready)
	t.ready = t.ready[n:]
	return n, nil
}
