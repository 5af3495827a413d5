package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/internal/mapped"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const (
	window   = 5 * time.Millisecond // how long a packet waits for older ones of other processors
	pollBusy = 2 * time.Millisecond
	pollIdle = 10 * time.Millisecond
	batch    = 4096 // records between two looks at the clock
)

// recording is one run.
type recording struct {
	o       Options
	here    machine
	groups  *groups
	faces   faces
	out     sink
	progs   *bpf.Programs
	packets *mapped.Reader
	match   *filter.Program // asked here where the kernel's program cannot
	clock   clock
	nextID  uint64
	left    uint64 // packets until Count
	matched []byte
	prefix  [cookedLen]byte
	comment commentCache
	own     string

	events    *mapped.Reader
	processes *processes
	sockets   *sockets
	journal   journal
	users     map[int64]string
	scope     string        // control group that is recorded, below the root
	segment   ring.ID       // that the last packet went into, as far as it has begun
	before    ring.ID       // the one before, for lines that come while none is begun
	ended     atomic.Uint64 // segments that ended; a ring counts from its own goroutines
	endedSeen uint64
	sideFile  uint64 // counts side files
	gaveAt    int64

	clockNow atomic.Pointer[ring.Clock]
	taken    atomic.Uint64 // of the kernel's records
	written  atomic.Uint64
	refused  atomic.Uint64 // by the filter, here
	dropped  atomic.Uint64 // by the output
	broken   atomic.Uint64 // records that make no sense
	bytes    atomic.Uint64
	trouble  error // first one of the output; it is told once
}

// Run records until ctx ends, Count packets are there or the output fails, and returns how
// it ended. Counters that do not balance are a *BalanceError, missing rights a
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
	return runSockets(ctx, o)
}

// runSockets records packets of sockets.
func runSockets(ctx context.Context, o Options) (Stats, error) {
	r := &recording{o: o, here: thisMachine(), left: o.Count}
	if o.Node != "" {
		r.here.node = o.Node
	}
	if err := r.start(); err != nil {
		return Stats{}, err
	}
	err := r.loop(ctx)
	return r.end(err)
}

func (r *recording) start() error {
	root, err := cgroupRoot()
	if err != nil {
		return err
	}
	where := root
	if r.o.Cgroup != "" {
		if where, err = narrow(root, r.o.Cgroup); err != nil {
			return err
		}
	}
	if rel, err := filepath.Rel(root, where); err == nil {
		r.scope = filepath.Join("/", rel)
	}
	r.clock.calibrate()
	r.clock.tick()
	r.shareClock()
	load, err := r.options()
	if err != nil {
		return err
	}
	if r.progs, err = bpf.Load(load); err != nil {
		return privilege(err)
	}
	if err := r.open(root); err != nil {
		r.progs.Close()
		return err
	}
	found, err := r.attach(where)
	if err != nil {
		r.closeReaders()
		r.progs.Close()
		if f, ok := r.out.(*fileSink); ok {
			err = errors.Join(err, f.abort())
		} else {
			err = errors.Join(err, r.out.close(r.account))
		}
		return privilege(err)
	}
	asked := "none"
	if load.Filter != nil {
		asked = "kernel"
	} else if r.match != nil {
		asked = "recorder"
	}
	name, _ := r.out.ids()
	r.o.OnStart(Started{Where: "control group " + where, Filter: asked, Own: r.own, Ring: name, Sockets: found, Missing: r.progs.Missing})
	return nil
}

// narrow finds the control group that somebody named: a folder, or a path below the root.
func narrow(root, name string) (string, error) {
	for _, dir := range []string{name, filepath.Join(root, name)} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("control group %s: %w", name, fs.ErrNotExist)
}

func privilege(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &PrivilegeError{err}
	}
	return err
}

// options are those of the programs.
func (r *recording) options() (bpf.Options, error) {
	load := bpf.Options{RingBytes: r.o.RingBuffer, Snap: r.o.Snap, HeadersOnly: r.o.HeadersOnly, Owners: !r.o.NoOwners}
	if r.o.Filter != "" {
		p, err := filter.Compile(r.o.Filter, linkCooked, 0)
		if err != nil {
			return load, err
		}
		load.Filter = p.Instructions()
		if _, err := bpf.Translate(load.Filter); err != nil {
			load.Filter, r.match = nil, p
		}
	}
	if tgid, err := bpf.CallerTGID(); err == nil && load.Owners {
		load.OwnTGID = tgid
		r.own = fmt.Sprintf("sockets of process %d are left out", tgid)
	} else if load.Owners {
		return load, privilege(err)
	}
	if id, path := ownGroup(); id != 0 {
		load.OwnCgroup = id
		r.own = fmt.Sprintf("control group %s is left out", path)
	}
	return load, nil
}

// ownGroup is this process's control group, where it has one for itself alone.
func ownGroup() (uint64, string) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, ""
	}
	root, err := cgroupRoot()
	if err != nil {
		return 0, ""
	}
	for _, line := range strings.Split(string(b), "\n") {
		path, ok := strings.CutPrefix(line, "0::")
		if !ok || path == "/" {
			continue
		}
		procs, err := os.ReadFile(filepath.Join(root, path, "cgroup.procs"))
		if err != nil || strings.TrimSpace(string(procs)) != fmt.Sprint(os.Getpid()) {
			return 0, ""
		}
		id, _ := inode(filepath.Join(root, path))
		return id, path
	}
	return 0, ""
}

// open makes the readers, then the output.
func (r *recording) open(root string) (err error) {
	fd, size := r.progs.PacketsFD()
	if r.packets, err = mapped.New(fd, size); err != nil {
		return err
	}
	fd, size = r.progs.EventsFD()
	if r.events, err = mapped.New(fd, size); err != nil {
		return err
	}
	snap := uint32(maxCaptured)
	if r.o.Snap != 0 {
		snap = min(r.o.Snap+cookedLen, maxCaptured)
	}
	if r.o.Ring != nil {
		r.out, err = newRingSink(&r.o, r.here, ring.SeriesOptions{Name: "sockets", LinkType: linkCooked, SnapLen: snap, Header: r.header, Account: r.account})
	} else {
		var h ring.Header
		r.header(&h)
		h.Node, h.Recorder, h.BootID = r.here.node, r.o.Program, r.here.bootID
		r.out, err = newFileSink(&r.o, h, linkCooked, snap)
	}
	if err != nil {
		r.closeReaders()
		return err
	}
	name, first := r.out.ids()
	r.nextID = first
	r.groups = newGroups(root)
	r.faces = faces{groups: r.groups, source: r.o.Source, node: r.here.node, ring: name, filter: r.o.Filter, by: map[uint64]*face{}}
	r.processes = newProcesses(&r.clock)
	r.sockets = newSockets()
	r.journal = journal{out: r.out, onError: r.o.OnError}
	r.users, r.sideFile = map[int64]string{}, 1
	return nil
}

func (r *recording) closeReaders() {
	for _, m := range []*mapped.Reader{r.packets, r.events} {
		if m != nil {
			if err := m.Close(); err != nil {
				r.o.OnError(err)
			}
		}
	}
}

// attach begins: first what notes owners, so that the pass over open files misses nobody,
// and packets last.
func (r *recording) attach(where string) (found uint64, err error) {
	r.progs.AttachEvents(true, !r.o.NoEvents)
	r.processes.scan()
	if !r.o.NoOwners {
		r.progs.AttachOwners(where)
		if found, err = r.progs.FindSockets(); err != nil {
			r.progs.Missing["open_sockets"] = err
		}
	}
	return found, r.progs.AttachPackets(where)
}

// header fills in what a segment's header says.
func (r *recording) header(h *ring.Header) {
	h.Kernel, h.OS, h.Hardware = r.here.kernel, runtime.GOOS, r.here.hardware
	h.Filter, h.Own = r.o.Filter, r.own
	h.Programs = []ring.Program{{Name: "recorder", SHA256: bpf.SHA256()}}
	if c := r.clockNow.Load(); c != nil {
		h.Clocks = []ring.Clock{*c}
	}
}

func (r *recording) shareClock() {
	now := r.clock.now
	r.clockNow.Store(&now)
}

// loop brings packets from the kernel to the output.
func (r *recording) loop(ctx context.Context) error {
	told := time.Now()
	quiet := 0
	for ctx.Err() == nil {
		n, more, err := r.round()
		if err != nil || r.o.Count > 0 && r.left == 0 {
			return err
		}
		if time.Since(told) >= r.o.Every {
			told = time.Now()
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
		if err := r.out.idle(); err != nil {
			return err
		}
		if err := r.packets.Wait(wait); err != nil {
			return err
		}
	}
	return nil
}

// round takes what is there and writes what has waited long enough. It says how many
// packets there were and whether there are more.
func (r *recording) round() (n int, more bool, err error) {
	now := uint64(r.clock.monotonic())
	read, stepped := r.clock.tick()
	if read {
		r.shareClock()
	}
	if stepped {
		r.journal.clockSet(&r.clock)
	}
	r.takeEvents()
	if err := r.takeChanges(); err != nil {
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
	r.side(false)
	return n, !end, nil
}

// write gives the packets up to a time to the output.
func (r *recording) write(limit uint64) error {
	defer r.packets.Release()
	var p bpf.Packet
	for {
		body, seq, ok := r.packets.Next(limit)
		if !ok {
			return nil
		}
		err := r.one(&p, body)
		r.packets.Done(seq)
		if err != nil {
			return err
		}
		if r.o.Count > 0 && r.left == 0 {
			return nil
		}
	}
}

func (r *recording) one(p *bpf.Packet, body []byte) error {
	r.taken.Add(1)
	data, ok := p.Decode(body)
	if !ok {
		r.broken.Add(1)
		return nil
	}
	at := r.clock.utc(p.Time)
	cooked(r.prefix[:], p.Protocol, p.IfIndex, p.PktType)
	x, err := r.faces.of(p.Cgroup, at, r.out)
	if err != nil {
		return err
	}
	x.lost.Add(uint64(p.Lost))
	x.untold += uint64(p.Lost)
	if r.match != nil {
		r.matched = append(append(r.matched[:0], r.prefix[:]...), data...)
		if !r.match.Match(r.matched, p.Len+cookedLen) {
			r.refused.Add(1)
			return nil
		}
	}
	out := ring.Packet{
		Interface: x.id, Time: at, Prefix: r.prefix[:], Data: data, OrigLen: p.Len + cookedLen,
		Flags: uint32(packetFlags(p.Outgoing, p.PktType, p.GSOSize != 0, data)), ID: r.nextID, Drops: x.untold,
	}
	switch p.Kind {
	case bpf.Writer, bpf.LastUser, bpf.Acceptor, bpf.Creator:
		out.PID, out.TID = p.TGID, p.TID
	}
	if r.o.Comments {
		out.Comment = r.comment.of(r, p, at)
	}
	x.untold = 0 // an output that drops the packet keeps count of them itself
	switch err := r.out.append(&out); {
	case err == nil:
	case errors.Is(err, ring.ErrDisk):
		r.dropped.Add(1)
		x.lost.Add(1)
		if r.trouble == nil {
			r.trouble = err
			r.o.OnError(err)
		}
		return nil
	default:
		return err
	}
	r.written.Add(1)
	r.bytes.Add(uint64(len(data) + cookedLen))
	x.delivered.Add(1)
	if !r.o.NoOwners {
		r.sockets.saw(p, data, x, at, r.nextID)
	}
	if (r.segment == ring.ID{}) || r.ended.Load() != r.endedSeen {
		r.turn(r.nextID)
	}
	r.nextID++
	if r.left > 0 {
		r.left--
	}
	return nil
}

// end detaches, takes what is left and closes everything.
func (r *recording) end(err error) (Stats, error) {
	r.progs.Detach()
	settled := r.settle()
	for err == nil && (r.o.Count == 0 || r.left > 0) {
		r.takeEvents()
		n, done := r.packets.Fill(batch)
		limit := uint64(1<<63 - 1)
		if !done {
			limit = r.packets.Newest() - uint64(window)
		}
		err = r.write(limit)
		if done && n == 0 {
			break
		}
	}
	if lost, lossErr := r.progs.Losses(); lossErr == nil {
		for cgroup, n := range lost {
			if x, faceErr := r.faces.of(cgroup, r.clock.utc(uint64(r.clock.monotonic())), r.out); faceErr == nil {
				x.lost.Add(n)
			}
		}
	} else {
		err = errors.Join(err, lossErr)
	}
	r.side(true)
	s, statsErr := r.stats()
	closeErr := r.out.close(r.account)
	r.closeReaders()
	r.progs.Close()
	if err = errors.Join(err, statsErr, closeErr); err == nil && (!s.Balanced() || !settled) {
		err = &BalanceError{s.Counters}
	}
	r.o.OnStats(s)
	return s, err
}

// settle waits until no program runs any more: all that was seen has then been counted.
func (r *recording) settle() bool {
	for range 200 {
		in, out, err := r.progs.Counts()
		if err != nil {
			return false
		}
		if in.Balanced() && out.Balanced() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// counters are those of the whole recording. Packets that are still on their way are
// neither seen nor delivered yet.
func (r *recording) counters() (c ring.Counters, inKernel uint64, err error) {
	taken := r.taken.Load()
	written, refused, dropped, broken := r.written.Load(), r.refused.Load(), r.dropped.Load(), r.broken.Load()
	in, out, err := r.progs.Counts()
	if err != nil {
		return c, 0, err
	}
	in.Add(out)
	decided := in.Excluded + in.Filtered + in.Delivered + in.Failed + in.Unread
	const inProgress = 4096 // programs that run while the counters are read
	if d := int64(in.Seen - decided); d > -inProgress && d < inProgress {
		in.Seen = decided
	}
	inKernel = in.Delivered - taken
	c = ring.Counters{
		Seen:      in.Seen - inKernel - (taken - written - refused - dropped - broken),
		Filtered:  in.Excluded + in.Filtered + refused,
		Delivered: written,
		Dropped:   in.Failed + in.Unread + dropped + broken,
		Truncated: in.Truncated + in.Capped,
		Drops: []ring.Drop{
			{Reason: reasonBuffer, Packets: in.Failed},
			{Reason: reasonUnread, Packets: in.Unread + broken},
			{Reason: reasonWriter, Packets: dropped},
		},
	}
	return c, inKernel, nil
}

// account is asked for when a segment ends.
func (r *recording) account() ring.Account {
	r.ended.Add(1)
	clock := r.clockNow.Load()
	a := ring.Account{Clock: clock}
	if clock != nil {
		a.Interfaces = r.faces.accounts(int64(clock.Real))
	}
	c, _, err := r.counters()
	if err == nil {
		a.Counters = &c
	}
	return a
}

func (r *recording) stats() (Stats, error) {
	c, inKernel, err := r.counters()
	s := Stats{Counters: c, Bytes: r.bytes.Load(), InKernel: inKernel, Late: r.packets.Late, Interfaces: r.faces.count(), Clock: r.clock.now}
	s.Processes, s.Events, s.EventsLost = r.processes.count(), r.journal.events, r.journal.lost
	if counts, cerr := r.progs.EventCounts(); cerr == nil {
		for _, n := range counts {
			s.EventsLost += n.Failed + n.Limited
		}
	}
	return s, err
}
