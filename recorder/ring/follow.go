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
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// FollowOptions of Follow.
type FollowOptions struct {
	Series string        // "" if the ring has only one
	From   int64         // earlier packets are skipped; 0 starts with the segment that is being written
	Poll   time.Duration // interval between checks for more packets; 0 means 50 ms
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
}

// Follow starts to read. The ring must exist; it need not have a segment yet.
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
	for _, s := range r.Segments {
		if s.ID.Series != opt.Series {
			continue
		}
		// Start after the last segment that has nothing to read.
		if s.Missing || s.Seal != nil && !s.Open && (opt.From == 0 || s.Seal.Last < Time(opt.From)) {
			f.id.Sequence = s.ID.Sequence
		} else {
			break
		}
	}
	return f, nil
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

// Segment returns the segment of the last batch.
func (f *Follower) Segment() ID { return f.id }

// Missed returns the number of segments that retention removed before they were read.
func (f *Follower) Missed() uint64 { return f.missed }

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
		f.reader = nil
		if e := f.file.Close(); err == io.EOF && e != nil {
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
	if f.reader == nil {
		return nil
	}
	f.reader = nil
	return f.file.Close()
}

// nextSegment waits for the next segment and opens it.
func (f *Follower) nextSegment() error {
	for {
		id, hidden, err := f.after(f.id.Sequence)
		if err != nil {
			return err
		}
		if id.Sequence != 0 {
			name := id.Segment()
			if hidden {
				name = id.hidden()
			}
			file, err := os.Open(filepath.Join(f.dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // renamed or removed meanwhile
			}
			if err != nil {
				return fmt.Errorf("following ring: %w", err)
			}
			if f.id.Sequence != 0 {
				f.missed += id.Sequence - f.id.Sequence - 1
			}
			f.id, f.file = id, file
			r, err := pcapng.NewReader(&tail{f: file, ended: f.ended, wait: f.wait}, pcapng.Options{Live: true, Window: 256 << 10})
			if err == nil {
				f.reader = r
				return nil
			}
			file.Close()
			if f.ctx.Err() != nil || !errors.Is(err, pcapng.ErrTooShort) {
				return f.because(err)
			}
			// Its header was never written: it is empty.
		}
		if err := f.wait(); err != nil {
			return err
		}
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
}

// Read returns whole blocks, waits for more, and ends at the end of the segment.
func (t *tail) Read(p []byte) (int, error) {
	last := t.ended == nil
	for len(t.ready) == 0 {
		if t.buf == nil {
			t.buf = make([]byte, 2*maxBlock)
		}
		n, err := t.f.ReadAt(t.buf, t.at)
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
