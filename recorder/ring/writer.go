package ring

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// maxUnsealed is how many finished segments may wait for the disk to have them whole.
// They are files already and cost an open file each; the kernel slows down writing by
// itself where too much of them is in its memory only.
const maxUnsealed = 256

// Options of a Writer. What is 0 has a default; limits of retention that are 0 do not hold.
type Options struct {
	Dir      string    // made where it is not there
	File     string    // instead of Dir: one capture file, which must not be there yet
	Stream   io.Writer // instead of Dir: a live stream
	Node     string    // name of the node, part of every file's name
	Recorder string    // name and version of the program, for seals and section headers
	BootID   string

	Key ed25519.PrivateKey // signs the records; nil leaves them unsigned

	SegmentBytes int64         // a segment ends when it has this size; 64 MiB
	SegmentTime  time.Duration // or this age; 60 s

	MaxBytes int64         // sealed segments and their side files together
	MaxAge   time.Duration // since the last packet of a segment
	Reserve  int64         // free bytes left for others; ring deletes its own segments for it, then stops

	QueueBytes int           // memory between Append and the disk, for each series; 8 MiB
	Patience   time.Duration // how long Append waits for a slow disk before it drops; 500 ms
	FlushEvery time.Duration // packets reach the file after this time at the latest; 200 ms
	SyncEvery  time.Duration // and the disk after this; 1 s; below 0 only when sealed
	RetryEvery time.Duration // between attempts while the disk refuses; 1 s

	// Resume is asked, before the start record is written, what the kernel did for the recorder
	// before after that had ended; nil, or its answer nil: nothing is known of it.
	Resume func(Left) *Resumed

	OnError func(error)  // is told of troubles; must not call the ring
	OnSeal  func(Record) // is told of each segment that got its name; must not call the ring
}

// Left is what a ring has of the recorder before.
type Left struct {
	Ring     string
	Start    uint64              // number of its start record
	Next     uint64              // number of the one that is about to be written
	LastIDs  map[string]uint64   // by series: largest packet id, its lower 40 bits
	Counters map[string]Counters // by series: of its last seal
}

func (o *Options) setDefaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 8 << 20
	}
	set(&o.SegmentTime, time.Minute)
	set(&o.Patience, 500*time.Millisecond)
	set(&o.FlushEvery, 200*time.Millisecond)
	set(&o.SyncEvery, time.Second)
	set(&o.RetryEvery, time.Second)
	o.Node = nodeName(o.Node)
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.OnSeal == nil {
		o.OnSeal = func(Record) {}
	}
}

// Writer writes into a ring. All its methods, and those of its series, may be called
// from any goroutine.
type Writer struct {
	opt   Options
	name  string // id of the ring, or of the recording
	chain *chain // nil for one file or stream
	start Start  // as written
	found []Record

	firstID  uint64
	seals    chan *segment
	finished chan struct{} // side files may be sealed
	discard  bool          // a file without packets is removed
	stop     chan struct{}
	ticker   sync.WaitGroup // tick and janitor
	disks    sync.WaitGroup // one a series
	sealer   sync.WaitGroup

	sideSeal sync.Mutex    // held while side files are sealed or opened again
	sideWait time.Duration // a request for a seal waits for side files

	home sync.Mutex  // guards the three below
	dir  os.FileInfo // the folder that was opened
	lock *os.File
	move int // how often the folder was found in another place

	untidy atomic.Bool // sealed since retention last looked

	retention sync.Mutex // one run at a time; guards the two below
	doomed    []string   // files whose deletion is recorded
	owed      []Deletion // not recorded yet, for want of space

	reports sync.Mutex
	said    map[string]time.Time // troubles that were told, and when

	mu      sync.Mutex
	series  []*Series
	next    map[string]uint64
	live    []liveSegment // sealed and not deleted, in order of sealing
	open    []ID          // of those, whose side files are not sealed
	closed  bool
	trouble error // what the ring as a whole suffers from now
}

// liveSegment is a sealed segment that is there.
type liveSegment struct {
	id          ID
	first, last Time
	newest      time.Time // when its last packet came, on a clock that nobody sets
}

// Create opens a ring for writing, and makes one where dir is empty or missing. What a
// crash left is sealed first. It answers ErrLocked while another Writer is alive. With
// Options.File or Stream it makes a ring of one segment, without a folder.
func Create(opt Options) (*Writer, error) {
	w, err := newWriter(opt)
	if err != nil {
		return nil, err
	}
	w.run()
	return w, nil
}

func (w *Writer) run() {
	w.sealer.Go(w.runSealer)
	w.ticker.Go(w.runTicker)
	if !w.opt.single() {
		w.ticker.Go(w.runJanitor)
	}
}

// newWriter does all that Create does, and starts nothing.
func newWriter(opt Options) (*Writer, error) {
	opt.setDefaults()
	w := &Writer{opt: opt, seals: make(chan *segment, maxUnsealed), finished: make(chan struct{}, 1), sideWait: sideWait, stop: make(chan struct{}), next: map[string]uint64{}, said: map[string]time.Time{}}
	if opt.single() {
		return newSingle(w)
	}
	if !canWrite {
		return nil, fmt.Errorf("opening ring %s for writing: %w on this system", opt.Dir, errors.ErrUnsupported)
	}
	if err := os.MkdirAll(opt.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening ring: %w", err)
	}
	lock, err := takeLock(opt.Dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(opt.Dir)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("opening ring: %w", err)
	}
	w.dir, w.lock = info, lock
	if err := w.begin(); err != nil {
		lock.Close()
		if w.chain != nil {
			w.chain.close()
		}
		return nil, fmt.Errorf("opening ring %s: %w", opt.Dir, err)
	}
	return w, nil
}

// takeLock holds the ring until its file is closed or the process ends.
func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening ring: %w", err)
	}
	free, err := lockFile(f)
	if err == nil && !free {
		err = fmt.Errorf("opening ring %s: %w", dir, ErrLocked)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// begin reads what is there, recovers it, and writes the start record.
func (w *Writer) begin() error {
	c, old, err := openChain(w.opt.Dir, w.opt.Node, w.opt.Key)
	if err != nil {
		return err
	}
	w.chain, w.name = c, c.ring
	found, err := w.recover(old)
	if err != nil {
		return err
	}
	w.firstID = c.base | (found.lastID+1)&packetIDMask
	w.start = Start{Recorder: w.opt.Recorder, BootID: w.opt.BootID, Next: w.next, Crashed: old.crashed,
		CutBytes: old.cut, Damaged: old.damaged, Holes: found.holes, PublicKey: publicText(w.opt.Key), Resumed: found.resumed}
	s := w.start
	if _, err := c.append(&Record{Kind: KindStart, Start: &s}); err != nil {
		return err
	}
	// Recovered segments come after the start, whose key signs them.
	for _, f := range found.unsealed {
		if err := w.sealRecovered(f); err != nil {
			return err
		}
	}
	return w.recoverSides(old)
}

const packetIDMask = 1<<40 - 1

// packetBase is the part of packet ids that is the ring's own: 24 bits of its hash.
func packetBase(ring string) uint64 {
	sum := sha256.Sum256([]byte(ring))
	return uint64(sum[0])<<56 | uint64(sum[1])<<48 | uint64(sum[2])<<40
}

// Ring is the ring's id, or that of the recording in one file.
func (w *Writer) Ring() string { return w.name }

// FirstPacketID is an id that no packet of the ring has; count up from here. Its upper
// 24 bits are the ring's, the lower 40 count on over restarts.
func (w *Writer) FirstPacketID() uint64 { return w.firstID }

// Recovered lists the seals of segments that a crash had left unfinished.
func (w *Writer) Recovered() []Record { return w.found }

// Series begins a series of segments: all have one link type and one snap length. A name
// is taken once in a Writer's life. One file or stream has one series.
func (w *Writer) Series(opt SeriesOptions) (*Series, error) {
	if !validSeries(opt.Name) {
		return nil, fmt.Errorf("series %q: want 1 to 32 lower-case letters, digits or underscores", opt.Name)
	}
	if opt.SnapLen == 0 || opt.SnapLen > maxCaptured {
		opt.SnapLen = maxCaptured
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	for _, s := range w.series {
		if s.opt.Name == opt.Name {
			return nil, fmt.Errorf("series %q is there already", opt.Name)
		}
	}
	s := newSeries(w, opt, max(w.next[opt.Name], 1))
	if w.opt.single() {
		if len(w.series) > 0 {
			return nil, fmt.Errorf("series %q: a file or stream has one series", opt.Name)
		}
		if err := s.openSingle(); err != nil {
			return nil, err
		}
	}
	w.series = append(w.series, s)
	w.disks.Go(s.runDisk)
	return s, nil
}

func (w *Writer) allSeries() []*Series {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.series[:len(w.series):len(w.series)]
}

// Seal ends the current segments and waits until they have their names.
func (w *Writer) Seal(ctx context.Context) error {
	var all []*segment
	for _, s := range w.allSeries() {
		if seg := s.endSegment(); seg != nil {
			all = append(all, seg)
		}
	}
	var errs []error
	for _, seg := range all {
		select {
		case <-seg.done:
			errs = append(errs, seg.err)
		case <-ctx.Done():
			return fmt.Errorf("sealing %s: %w", seg.id, context.Cause(ctx))
		}
	}
	return errors.Join(errs...)
}

// Countersign keeps what a witness signed in the chain.
func (w *Writer) Countersign(a Anchor) error {
	if err := a.check(w.chain.ring); err != nil {
		return err
	}
	_, err := w.chain.append(&Record{Kind: KindAnchor, Anchor: &a})
	return err
}

// Head is the last record: what a witness is asked to sign.
func (w *Writer) Head() (n uint64, hash string) { return w.chain.head() }

// Close seals what is there, with the side files as they are, and ends the ring. Where the disk does not answer it gives
// up when ctx ends: the rest is recovered at the next start.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.closed = true
	series := w.series
	w.mu.Unlock()

	for _, s := range series {
		s.close()
	}
	ended := make(chan error, 1)
	go func() { ended <- w.close(series) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("closing %s: the disk does not answer: %w", w.place(), context.Cause(ctx))
	}
}

func (w *Writer) close(series []*Series) error {
	close(w.stop)
	w.ticker.Wait()
	w.disks.Wait()
	close(w.seals)
	w.sealer.Wait()
	if w.opt.single() {
		var errs []error
		for _, s := range series {
			errs = append(errs, s.closeSingle())
		}
		return errors.Join(errs...)
	}
	sideErr := w.sealSides(true)
	var stop Stop
	for _, s := range series {
		if h, ok := s.takeLost(); ok {
			stop.Holes = append(stop.Holes, h)
		}
		stop.Holes = append(stop.Holes, s.untold...)
	}
	_, err := w.chain.append(&Record{Kind: KindStop, Stop: &stop})
	w.mu.Lock()
	err = errors.Join(w.trouble, sideErr, err)
	w.mu.Unlock()
	w.home.Lock()
	defer w.home.Unlock()
	return errors.Join(err, w.chain.close(), w.lock.Close())
}

// runTicker gives old chunks to the disk, ends old segments, and tries again after
// trouble. It touches no disk itself, so a disk that hangs does not stop it.
func (w *Writer) runTicker() {
	t := time.NewTicker(max(w.opt.FlushEvery/2, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-w.stop:
			return
		case at := <-t.C:
			for _, s := range w.allSeries() {
				s.tick(at)
			}
		}
	}
}

// Status is what the ring does now.
type Status struct {
	Series   []SeriesStatus
	Segments int   // sealed and there
	Trouble  error // what keeps finished segments from being sealed or old ones from being removed; nil when all is well
}

// SeriesStatus is what a series does now.
type SeriesStatus struct {
	Name     string
	Current  ID     // zero where no segment is begun
	Packets  uint64 // taken by Append since the start
	Bytes    uint64
	Dropped  uint64 // by the ring itself
	Down     bool   // the disk refuses; packets are dropped
	LastFail error
}

// Status tells it, for metrics and status lines. It touches no disk.
func (w *Writer) Status() Status {
	w.mu.Lock()
	st := Status{Segments: len(w.live), Trouble: w.trouble}
	w.mu.Unlock()
	for _, s := range w.allSeries() {
		st.Series = append(st.Series, s.status())
	}
	return st
}
