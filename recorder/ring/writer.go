package ring

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// maxUnsealed is how many finished segments may wait to be sealed. Each is a file already and
// keeps a file open; the kernel slows down writing by itself if too much of them is only in
// memory.
const maxUnsealed = 256

// Options of a Writer. Zero values have defaults; retention limits of zero do not apply.
type Options struct {
	Dir      string    // created if it does not exist
	File     string    // instead of Dir: one capture file, which must not exist yet
	Stream   io.Writer // instead of Dir: a live stream
	Node     string    // name of the node, part of every file's name
	Recorder string    // name and version of the program, for seals and section headers
	BootID   string

	Key ed25519.PrivateKey // signs the records; nil leaves them unsigned

	SegmentBytes int64         // size at which a segment ends; 64 MiB
	SegmentTime  time.Duration // or its age; 60 s

	MaxBytes int64         // sealed segments and their side files together
	MaxAge   time.Duration // since the last packet of a segment
	Reserve  Reserve       // what to leave free on the disk; ring deletes its own segments to do so, then stops

	QueueBytes int           // memory between Append and the disk, for each series; 8 MiB
	Patience   time.Duration // how long Append waits for a slow disk before it drops packets; 500 ms
	FlushEvery time.Duration // maximum time until packets are written to the file; 200 ms
	SyncEvery  time.Duration // maximum time until they are synced; 1 s; below 0: only when sealed
	RetryEvery time.Duration // between attempts while the disk fails; 1 s

	// Resume is called before the start record is written. It returns what the kernel's programs did
	// after the previous recorder had ended. If Resume or its result is nil, nothing is known about
	// that.
	Resume func(Left) *Resumed

	OnError func(error)  // gets each problem; must not call the ring
	OnSeal  func(Record) // gets the record of each segment that got its name; must not call the ring
}

// Left is the previous recorder's state in a ring.
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

// Writer writes to a ring. All its methods, and those of its series, can be called from any
// goroutine.
type Writer struct {
	opt   Options
	name  string // id of the ring, or of the recording
	chain *chain // nil for one file or stream
	start Start  // the written start record
	found []Record

	firstID  uint64
	seals    chan *segment
	finished chan struct{} // side files may be sealed
	discard  bool          // a file without packets is removed
	stop     chan struct{}
	ticker   sync.WaitGroup // tick and janitor
	disks    sync.WaitGroup // one for each series
	sealer   sync.WaitGroup

	sideSeal sync.Mutex    // held while side files are sealed or reopened
	sideWait time.Duration // how long a request for a seal waits for side files

	home sync.Mutex  // guards the three below
	dir  os.FileInfo // the folder that was opened
	lock *os.File
	move int // how often the folder was remounted

	untidy atomic.Bool // sealed since retention last looked

	retention sync.Mutex // one run at a time; guards the two below
	doomed    []string   // files whose deletion is recorded
	owed      []Deletion // not recorded yet because the disk is full

	reports  sync.Mutex
	reported map[string]time.Time // reported errors, and when

	mu      sync.Mutex
	series  []*Series
	next    map[string]uint64
	live    []liveSegment // sealed and not deleted, in order of sealing
	open    []ID          // those whose side files are not sealed
	closed  bool
	trouble error // current error of the whole ring
}

// liveSegment is a sealed segment that has not been deleted.
type liveSegment struct {
	id          ID
	first, last Time
	newest      time.Time // arrival of its last packet, on a clock that is never set
}

// Create opens a ring for writing, and creates one if dir is empty or missing. It first seals
// segments that a crash left unsealed. It returns ErrLocked if the ring has another Writer. With
// Options.File or Stream it creates a ring of one segment, without a folder.
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

// newWriter is Create without starting the goroutines.
func newWriter(opt Options) (*Writer, error) {
	opt.setDefaults()
	w := &Writer{opt: opt, seals: make(chan *segment, maxUnsealed), finished: make(chan struct{}, 1), sideWait: sideWait, stop: make(chan struct{}), next: map[string]uint64{}, reported: map[string]time.Time{}}
	if opt.single() {
		return newSingle(w)
	}
	if !durable.Supported {
		return nil, fmt.Errorf("opening ring %s for writing: %w on this system", opt.Dir, errors.ErrUnsupported)
	}
	if err := os.MkdirAll(opt.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening ring: %w", err)
	}
	lock, err := acquireLock(opt.Dir)
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

// begin reads the existing ring, recovers it, and writes the start record.
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
	// Recovered segments follow the start record, whose key signs them.
	for _, f := range found.unsealed {
		if err := w.sealRecovered(f); err != nil {
			return err
		}
	}
	return w.recoverSides(old)
}

const packetIDMask = 1<<40 - 1

// Ring returns the ring's ID, or that of a recording to a file or stream.
func (w *Writer) Ring() string { return w.name }

// FirstPacketID returns the first unused packet ID of the ring; count up from it. Its upper
// 24 bits are the ring's; the lower 40 continue across restarts.
func (w *Writer) FirstPacketID() uint64 { return w.firstID }

// Recovered returns the seals of segments that a crash had left unfinished.
func (w *Writer) Recovered() []Record { return w.found }

// Series starts a series of segments, which have the same link type and snap length. A Writer
// accepts each name once. A file or stream has one series.
func (w *Writer) Series(opt SeriesOptions) (*Series, error) {
	if !validSeries(opt.Name) {
		return nil, fmt.Errorf("series %q: use 1 to 32 lower-case letters, digits or underscores", opt.Name)
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
			return nil, fmt.Errorf("series %q already exists", opt.Name)
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

// Seal ends the current segments and waits until they are sealed.
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

// Head returns the last record, for a witness to sign.
func (w *Writer) Head() (n uint64, hash string) { return w.chain.head() }

// Close seals everything, with the side files as they are, and closes the ring. If the disk does
// not respond, it returns when ctx ends; the next start recovers the rest.
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
		return fmt.Errorf("closing %s: the disk does not respond: %w", w.place(), context.Cause(ctx))
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
		if h, ok := s.popLost(); ok {
			stop.Holes = append(stop.Holes, h)
		}
		stop.Holes = append(stop.Holes, s.unstated...)
	}
	_, err := w.chain.append(&Record{Kind: KindStop, Stop: &stop})
	w.mu.Lock()
	err = errors.Join(w.trouble, sideErr, err)
	w.mu.Unlock()
	w.home.Lock()
	defer w.home.Unlock()
	return errors.Join(err, w.chain.close(), w.lock.Close())
}

// runTicker passes old chunks to the disk, ends old segments, and retries after errors. It does
// not use the disk itself, so a disk that hangs does not stop it.
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

// Status is the current state of the ring.
type Status struct {
	Series   []SeriesStatus
	Segments int   // sealed and not deleted
	Trouble  error // why finished segments cannot be sealed or old ones removed; nil if nothing failed
}

// SeriesStatus is the current state of a series.
type SeriesStatus struct {
	Name     string
	Current  ID     // zero if no segment is open
	Packets  uint64 // accepted by Append since the start
	Bytes    uint64
	Dropped  uint64 // by the ring itself
	Down     bool   // the disk has failed or is too slow; packets are dropped
	LastFail error
}

// Status returns the state, for metrics and status lines. It does not use the disk.
func (w *Writer) Status() Status {
	w.mu.Lock()
	st := Status{Segments: len(w.live), Trouble: w.trouble}
	w.mu.Unlock()
	for _, s := range w.allSeries() {
		st.Series = append(st.Series, s.status())
	}
	return st
}
