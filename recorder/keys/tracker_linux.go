//go:build amd64 || arm64

package keys

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Tracker follows chosen processes and reads their keys.
type Tracker struct {
	o     Options
	progs *bpf.Programs
	plain *bpf.PlainPrograms // nil if keys are read
	self  uint32
	stop  chan struct{}
	work  chan struct{} // a process must be examined
	done  sync.WaitGroup

	hierarchy string // mount point of the control groups of version 2

	closing sync.WaitGroup // of probes
	once    sync.Once
	last    *bpf.Counters // of the programs, once they are closed
	lastOf  *bpf.PlainCounters
	err     error

	mu         sync.Mutex // guards all fields below
	procs      map[uint32]*process
	roots      map[uint32]uint64 // start of processes chosen by number
	files      map[fileID]*target
	targets    map[uint32]*target // by number
	builds     map[string]*build
	groups     map[uint64]string // control groups by number
	free       []uint32
	next       uint32
	count      Counters
	plainCount PlainCounters
	missing    map[uint32]time.Time // processes without an event when their plaintext arrived
	detail     string               // the last error
	account    account

	written  map[written]struct{}
	order    []written
	unsynced bool
	offset   int64 // of CLOCK_MONOTONIC to UTC
	lastSync time.Time
	lastWalk time.Time
	lastTry  time.Time
}

// process is a chosen process, which may have ended.
type process struct {
	running
	byPID   bool
	library Library
	state   State
	reason  Reason
	detail  string
	keys    uint64
	from    *target // source of the last object that was read
	targets []*target
	chosen  int64  // when it was chosen, UTC, ns; 0 if the kernel chose it at its start
	looked  int64  // when its files were last examined completely
	closed  string // why its files could not be read
	missed  Reason // of its last handshake without a key
	about   string // detail of missed
	looks   int
	look    time.Time // when its files are examined next; zero for never
	ended   time.Time
	proofs  []secrets.Secret // keys that may open a record
	tries   int
	proof   time.Time // when proofs are tried next
}

const (
	maxProcesses = 16384
	keepEnded    = 5 * time.Minute
	maxProofs    = 12
)

// Start starts a Tracker. It refuses a Selector that chooses no process.
func Start(o Options) (*Tracker, error) {
	if o.Select.Empty() {
		return nil, ErrNobody
	}
	if err := o.Select.Check(); err != nil {
		return nil, err
	}
	if !machine.InFirstPIDs() {
		return nil, ErrNamespace
	}
	t := &Tracker{o: o, self: uint32(os.Getpid()), stop: make(chan struct{}), work: make(chan struct{}, 1), groups: map[uint64]string{}, procs: map[uint32]*process{}, roots: map[uint32]uint64{},
		files: map[fileID]*target{}, targets: map[uint32]*target{}, builds: map[string]*build{}, written: map[written]struct{}{}, missing: map[uint32]time.Time{}, account: newAccount()}
	for _, pid := range o.Select.PIDs {
		r, ok := look(pid)
		if !ok {
			return nil, &SelectorError{fmt.Sprint("process ", pid), os.ErrNotExist}
		}
		t.roots[pid] = r.start
	}
	if root, err := machine.CgroupRoot(); err == nil {
		t.hierarchy = root
	}
	var err error
	room := o.RingBytes
	if o.Plain != nil {
		room = 0 // for processes only
	}
	if t.progs, err = bpf.Load(room); err != nil {
		return nil, err
	}
	if o.Plain != nil {
		t.plain, err = t.progs.LoadPlain(o.RingBytes)
	}
	if err == nil {
		err = t.progs.Follow()
	}
	if err != nil {
		return nil, errors.Join(err, t.closePrograms())
	}
	t.clock()
	t.mu.Lock()
	t.walkGroups()
	t.walk()
	t.mu.Unlock()
	t.attachDue()
	if t.plain != nil {
		t.done.Add(1)
		go t.readPlain()
	}
	t.done.Add(3)
	go t.run()
	go t.attaching()
	go t.calibrate()
	return t, nil
}

// Close stops reading once the ring buffer is empty. Closing again does nothing.
func (t *Tracker) Close() error {
	t.once.Do(func() { t.err = t.end() })
	return t.err
}

func (t *Tracker) end() error {
	if t.plain != nil {
		if err := t.plain.End(); err != nil {
			t.mu.Lock()
			t.detail = err.Error() // the last calls may be missing from the counters
			t.mu.Unlock()
		}
		time.Sleep(10 * time.Millisecond) // for programs that still run: all that they saw is then in the ring buffer
	}
	close(t.stop)
	t.done.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.verify(true)
	t.judge(always)
	var err error
	if t.o.Sink != nil {
		err = t.o.Sink.Flush()
	}
	for _, x := range t.files {
		t.detach(x)
	}
	t.closing.Wait()
	last, countErr := t.progs.Counters()
	t.last = &last
	if t.plain != nil {
		of, plainErr := t.plain.Counters()
		t.lastOf, countErr = &of, errors.Join(countErr, plainErr)
	}
	return errors.Join(err, countErr, t.closePrograms())
}

func (t *Tracker) closePrograms() error {
	var err error
	if t.plain != nil {
		err = t.plain.Close()
	}
	return errors.Join(err, t.progs.Close())
}

// Counters reads the counters, also after Close.
func (t *Tracker) Counters() (Counters, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var k bpf.Counters
	var err error
	if t.last != nil {
		k = *t.last
	} else {
		k, err = t.progs.Counters()
	}
	c := t.count
	c.Seen, c.Lost, c.Unread, c.Odd, c.Processes = k.Seen, k.Lost, k.Unread, k.Odd, k.LostProcess
	return c, err
}

// Processes lists chosen processes by number, including those that ended in the last few
// minutes.
func (t *Tracker) Processes() []Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Process, 0, len(t.procs))
	for _, p := range t.procs {
		v := Process{PID: p.pid, Executable: p.exe, Cgroup: p.cgroup, Library: p.library, State: p.state, Reason: p.reason, Detail: p.detail, Keys: p.keys}
		if p.state == None {
			v.Reason, v.Detail, v.Library = p.why(t.o.Captured != nil)
		} else {
			v.Reason, v.Detail = "", ""
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	return list
}

// run handles events until the Tracker is closed, and then those that remain.
func (t *Tracker) run() {
	defer t.done.Done()
	ring := t.progs.Ring()
	var rec ringbuf.Record
	var e bpf.Event
	stopping := false
	for {
		wait := 50 * time.Millisecond
		if stopping {
			wait = 0
		}
		ring.SetDeadline(time.Now().Add(wait))
		err := ring.ReadInto(&rec)
		t.mu.Lock()
		switch {
		case err == nil:
			if e.Decode(rec.RawSample) {
				t.handle(&e)
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if stopping {
				t.mu.Unlock()
				return
			}
			t.idle()
		default:
			t.detail = err.Error()
			t.mu.Unlock()
			return
		}
		t.tick()
		t.mu.Unlock()
		select {
		case <-t.stop:
			stopping = true
		default:
		}
	}
}

func (t *Tracker) handle(e *bpf.Event) {
	switch e.Kind {
	case bpf.Exec:
		t.consider(e)
	case bpf.Fork:
		if p := t.procs[e.Parent]; p != nil && len(t.procs) < maxProcesses {
			c := &process{running: p.running, byPID: p.byPID, library: p.library, reason: p.reason, targets: slices.Clip(p.targets), look: p.look, looks: p.looks, chosen: p.chosen, looked: p.looked, closed: p.closed}
			c.pid, c.parent = e.TGID, e.Parent
			t.procs[e.TGID] = c
		}
	case bpf.Exit:
		if p := t.procs[e.TGID]; p != nil {
			p.ended = time.Now()
		}
	case bpf.GoKey:
		t.goKey(e)
	default:
		t.object(e)
	}
}

const (
	walkEvery   = 10 * time.Second
	walkByNames = 3 * time.Second // if names choose, which are known late
)

// tick does the periodic work.
func (t *Tracker) tick() {
	now := time.Now()
	if t.unsynced && now.Sub(t.lastSync) > time.Second {
		t.flush()
	}
	if now.Sub(t.lastTry) < 5*time.Millisecond {
		return
	}
	t.lastTry = now
	t.verify(false)
	if now.Sub(t.account.at) > time.Second {
		t.judge(t.utc(monotonic()) - int64(settled))
	}
	every := walkEvery
	if t.o.Select.Workload != nil || t.o.Select.Never != nil {
		every = walkByNames
	}
	if now.Sub(t.lastWalk) > every {
		t.clock()
		t.walkGroups()
		t.walk()
		t.sweepFiles(keepUnused)
	}
}

// clock measures the offset of CLOCK_MONOTONIC to UTC: the middle of the closest of some pairs.
func (t *Tracker) clock() {
	best := int64(1 << 62)
	for range 5 {
		var a, u, b unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &a) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &u) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &b) != nil {
			return
		}
		if d := b.Nano() - a.Nano(); d < best {
			best = d
			t.offset = u.Nano() - (a.Nano() + d/2)
		}
	}
}

func (t *Tracker) utc(mono uint64) int64 {
	if t.o.UTC != nil {
		return t.o.UTC(mono)
	}
	return int64(mono) + t.offset
}
