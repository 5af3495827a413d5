package recorder

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/internal/cooked"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/internal/mapped"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
)

const (
	window   = 5 * time.Millisecond // how long a packet waits for older packets from other processors
	pollBusy = 2 * time.Millisecond
	pollIdle = 10 * time.Millisecond
	batch    = 4096 // records between two readings of the clock
)

// recording is one run.
type recording struct {
	o       Options
	here    machine.Host
	groups  *machine.Cgroups
	ifaces  ifaces
	out     *sink
	progs   *bpf.Programs
	packets *mapped.Reader
	match   *filter.Program // applied here if it cannot run in the kernel
	clock   machine.Clock
	nextID  uint64
	left    uint64 // packets until Count
	losses  losses
	limited [bpf.EventKinds]bpf.Running
	matched []byte
	prefix  [cooked.Len]byte
	sights  sight.Filter
	comment commentCache
	packet  ring.Packet
	ends    pcapng.SocketEnds // of packet
	own     string
	foreign bool // the kernel's numbers of processes are not those of our /proc
	inside  bool // nor our own
	old     int  // containers in control groups of version 1 only
	// degraded lists the features of the programs that did not load. Segments state it.
	degraded []string

	events        *mapped.Reader
	sources       []*source // of packets and events; those of earlier recorders first
	at            int       // which of them packets are read from
	late          uint64    // of those before
	processes     *machine.Processes
	described     described
	peers         peers
	names         names
	journal       journal
	enforcer      *enforcer
	outputs       []*output // the first is for out
	keys          *keyring
	users         map[int64]string
	scope         string // control group that is recorded, below the root
	processesLost uint64 // lost process events when /proc was last read

	pins       *bpf.Pins         // nil: nothing of the recording stays in the kernel
	unkept     string            // why, if it should
	unreadable []*bpf.Generation // of earlier recorders
	resumed    *ring.Resumed
	earlier    bpf.Counters    // of programs of earlier recorders, what this one accounts for
	asked      *filter.Program // all of the filter, for packets that earlier programs took
	settings   uint64
	ownTGID    uint32
	ownCgroup  uint64
	recordEnd  uint64  // end of the current record, in its ring buffer
	appended   *output // that took the packet; nil: none did

	sideFile uint64 // counts side files
	wroteAt  int64

	clockNow    atomic.Pointer[ring.Clock]
	read        atomic.Uint64 // records read from the kernel
	refused     atomic.Uint64 // here, by the filter or as duplicates of outgoing packets
	invalid     atomic.Uint64 // invalid records
	unaccounted atomic.Uint64 // delivered by the kernel, but unaccounted for
	bytes       atomic.Uint64
	trouble     error // first error of the output; it is reported once
}

// Run records until ctx ends, Count packets are recorded or the output fails, and returns
// the final statistics. Counters that do not balance are a *BalanceError, missing rights a
// *PrivilegeError.
func Run(ctx context.Context, o Options) (Stats, error) {
	if err := o.setDefaults(); err != nil {
		return Stats{}, err
	}
	switch o.Capture {
	case Interfaces:
		return runInterfaces(ctx, o)
	case Both:
		return runBoth(ctx, o)
	}
	s, err := runSockets(ctx, o)
	var none *unavailableError
	if o.Capture != Auto || !errors.As(err, &none) {
		return s, err
	}
	return runInstead(ctx, o, err)
}

// unavailableError means that sockets cannot be recorded on this machine or with these rights,
// regardless of the options.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// runInstead records interfaces because sockets cannot be recorded. If that is not possible
// either, it returns the error about sockets.
func runInstead(ctx context.Context, o Options, why error) (Stats, error) {
	if o.Cgroup != "" || o.Keys != nil {
		return Stats{}, why // frames have neither
	}
	o.Capture = Interfaces
	if o.checkPolicy() != nil {
		return Stats{}, why
	}
	begun := false
	onStart := o.OnStart
	o.OnStart = func(s Started) {
		begun, s.Instead = true, why
		onStart(s)
	}
	s, err := runInterfaces(ctx, o)
	if err != nil && !begun {
		return s, fmt.Errorf("%w; recording network interfaces instead: %w", why, err)
	}
	return s, err
}

// runSockets records packets of sockets.
func runSockets(ctx context.Context, o Options) (Stats, error) {
	r := &recording{o: o, here: machine.This(), left: o.Count}
	if o.Node != "" {
		r.here.Node = o.Node
	}
	if err := r.start(); err != nil {
		return Stats{}, err
	}
	err := r.loop(ctx)
	return r.end(err)
}

// losses are the packets lost in the kernel, as reported with other packets, by cgroup.
type losses map[uint64]*bpf.Running

func (l *losses) of(cgroup uint64) *bpf.Running {
	if (*l)[cgroup] == nil {
		if *l == nil {
			*l = losses{}
		}
		(*l)[cgroup] = new(bpf.Running)
	}
	return (*l)[cgroup]
}

func (r *recording) shareClock() {
	now := r.clock.Now
	r.clockNow.Store(&now)
}

// loop moves packets from the kernel to the output.
func (r *recording) loop(ctx context.Context) error {
	reported := time.Now()
	quiet := 0
	for ctx.Err() == nil {
		n, more, err := r.round()
		if err == nil {
			err = r.out.failed()
		}
		if err != nil || r.o.Count > 0 && r.left == 0 {
			return err
		}
		if time.Since(reported) >= r.o.Every {
			reported = time.Now()
			r.audit()
			r.rescan()
			if s, err := r.stats(); err != nil {
				r.o.OnError(err)
			} else {
				r.o.OnStats(s)
			}
		}
		if more {
			continue
		}
		wait := pollBusy
		if n > 0 {
			quiet = 0
		} else if quiet++; quiet > 100 {
			wait = pollIdle
		}
		for _, l := range r.outputs {
			l.sink.idle()
		}
		if err := r.packets.Wait(wait); err != nil {
			return err
		}
	}
	return nil
}

// round reads the available packets and writes those that have waited long enough. It returns
// the number of packets read and whether there are more.
func (r *recording) round() (n int, more bool, err error) {
	now := uint64(r.clock.Monotonic())
	read, stepped := r.clock.Tick()
	if read {
		r.shareClock()
	}
	if stepped {
		r.journal.clockSet(r.outputs[0], &r.clock)
	}
	r.drainEvents()
	if err := r.writeChanges(); err != nil {
		return 0, false, err
	}
	n, end := r.packets.Fill(batch)
	limit := now
	if !end {
		limit = min(limit, r.packets.Newest())
	}
	if err := r.write(limit - uint64(window)); err != nil {
		return n, false, err
	}
	r.turnSource()
	r.keyStates(false)
	for _, l := range r.outputs {
		l.mark = l.sink.ended()
	}
	r.side(false)
	r.keys.tick()
	for _, l := range r.outputs {
		l.sink.finish(l.mark) // from now on, owners, events and keys are written next to later segments
	}
	return n, !end || r.at < len(r.sources)-1, nil
}

// end detaches the programs, reads and writes the rest, and closes everything.
func (r *recording) end(err error) (Stats, error) {
	settled := true
	last := uint64(1<<63 - 1) // time of the last packet to take
	if r.pins == nil {
		r.progs.Detach()
		settled = r.settle()
	} else {
		last = uint64(r.clock.Monotonic())
	}
	for r.o.Count == 0 || r.left > 0 { // an output that takes nothing counts what is left
		r.drainEvents()
		n, done := r.packets.Fill(batch)
		limit := last
		if !done {
			limit = min(last, r.packets.Newest()-uint64(window))
		}
		writeErr := r.write(limit)
		err = errors.Join(err, writeErr)
		if r.turnSource(); writeErr != nil || (done && n == 0 || limit == last && r.packets.Newest() > last) && r.at == len(r.sources)-1 {
			break
		}
	}
	if lost, lossErr := r.progs.Losses(); lossErr == nil {
		for cgroup, n := range lost {
			x := r.ifaces.of(cgroup, r.clock.UTC(uint64(r.clock.Monotonic())))
			x.lost.Add(r.losses.of(cgroup).Rest(n))
			if !r.enforcer.silenced(&r.ifaces, cgroup, nil) {
				err = errors.Join(err, r.ifaces.declare(x))
			}
		}
	} else {
		err = errors.Join(err, lossErr)
	}
	r.audit()
	r.keys.end()
	r.keyStates(true)
	r.side(true)
	r.names.end()
	closeErr := r.closeOutputs()
	if closeErr == nil {
		r.release() // all of it is on the disk
		r.turnSource()
	}
	s, statsErr := r.stats()
	r.closeReaders()
	r.progs.Close()
	if r.pins != nil {
		closeErr = errors.Join(closeErr, r.pins.Close())
	}
	if err = errors.Join(err, statsErr, closeErr); err == nil && (!s.Balanced() || !settled || r.unaccounted.Load() != 0) {
		err = &BalanceError{s.Counters}
	}
	r.o.OnStats(s)
	return s, err
}
