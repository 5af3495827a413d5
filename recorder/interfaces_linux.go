package recorder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Layout of a packet socket's ring, version 3 (linux/if_packet.h).
const (
	packetBlock  = 1 << 20 // bytes; one holds the longest packet
	packetRetire = 10      // ms until the kernel hands over a block that is not full
	frameHeader  = 48      // tpacket3_hdr; the address of the interface follows
	linkAddress  = 20      // sockaddr_ll
	maxDevices   = 16384

	hatypeEther    = 1
	hatypeLoopback = 772
)

// device is a network interface of the recording.
type device struct {
	name      string // if_name
	id        ring.InterfaceID
	loopback  bool
	skip      bool // not selected
	ready     bool // declared
	about     pcapng.Interface
	since     int64
	delivered uint64
	lost      uint64
}

// listening is a recording of network interfaces.
type listening struct {
	o       Options
	here    machine.Host
	fd      int
	ring    []byte
	blocks  int
	next    int
	out     *sink
	name    string
	clock   machine.Clock
	now     atomic.Pointer[ring.Clock]
	nextID  uint64
	left    uint64
	pending uint64 // lost and not yet reported with a packet
	keys    *keyring
	judge   *policy.Judge // nil: every frame is kept
	packet  ring.Packet
	head    [16]byte
	trouble bool

	mu      sync.Mutex // guards the counters: a ring reads them from its own goroutines
	devices map[int]*device
	order   []*device
	c       ring.Counters
	refused uint64 // by the recorder
	never   uint64 // by policy; included in refused
	bytes   uint64
}

// runInterfaces records frames of network interfaces, without eBPF.
//
// LIMIT: frames that the filter rejects are not counted because the kernel does not report
// their number. Interfaces without an Ethernet header are skipped and counted as filtered.
func runInterfaces(ctx context.Context, o Options) (Stats, error) {
	l := &listening{o: o, here: machine.This(), fd: -1, devices: map[int]*device{}, left: o.Count}
	if o.Node != "" {
		l.here.Node = o.Node
	}
	l.clock.Calibrate()
	l.clock.Tick()
	l.share()
	if err := l.open(); err != nil {
		l.close()
		if errors.Is(err, fs.ErrPermission) {
			err = &PrivilegeError{Missing: []string{capRaw}, Err: err}
		}
		return Stats{}, err
	}
	l.o.OnStart(Started{Where: "network interfaces", Only: l.o.Policy.Wanted(), Policy: l.o.Policy.String(), Filter: map[bool]string{true: "kernel", false: "none"}[o.Filter != ""], Ring: l.name,
		Own: "the recorder's own traffic is recorded too", Degraded: l.lacks()})
	err := l.loop(ctx)
	l.count()
	l.drain(&err)
	l.keys.end()
	closeErr := l.out.close()
	s := l.stats()
	l.close()
	if err = errors.Join(err, closeErr); err == nil && o.Count == 0 && l.c.Seen != s.Seen {
		s.Seen = l.c.Seen
		err = &BalanceError{s.Counters}
	}
	o.OnStats(s)
	return s, err
}

// lacks returns the requested features that the recording lacks.
func (l *listening) lacks() []string {
	if l.o.Pin == "" {
		return nil
	}
	return []string{"not recorded: frames of interfaces that pass while no recorder runs (the kernel keeps only packets of sockets: use --capture=sockets or both)"}
}

func (l *listening) share() {
	now := l.clock.Now
	l.now.Store(&now)
}

func (l *listening) open() error {
	wanted, err := l.wanted()
	if err != nil {
		return err
	}
	if l.judge, err = frameJudge(&l.o); err != nil {
		return err
	}
	prog, err := filter.Compile(l.o.Filter, linkEthernet, int(l.o.Snap))
	if err != nil {
		return err
	}
	if l.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("opening packet socket: %w", err)
	}
	if err := l.prepare(prog); err != nil {
		return err
	}
	if err := l.output(); err != nil {
		return err
	}
	if l.keys, err = startKeys(&l.o, l.out, l.now.Load); err == nil {
		err = l.bind(wanted)
	}
	if err != nil {
		l.keys.end()
		return errors.Join(err, l.out.abort())
	}
	return nil
}

// bind starts the capture. Earlier, packets would be lost without being counted.
func (l *listening) bind(wanted []int) error {
	to := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})}
	if len(wanted) == 1 {
		to.Ifindex = wanted[0]
	}
	if err := unix.Bind(l.fd, to); err != nil {
		return fmt.Errorf("listening on interfaces: %w", err)
	}
	return nil
}

// wanted returns the indexes of the named interfaces; packets of others are skipped.
func (l *listening) wanted() ([]int, error) {
	var list []int
	for _, name := range l.o.Interface {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return nil, unknownInterface(name, err)
		}
		list = append(list, i.Index)
	}
	if len(list) == 0 {
		return nil, nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	for _, i := range all {
		if !slices.Contains(list, i.Index) {
			l.devices[i.Index] = &device{skip: true}
		}
	}
	return list, nil
}

// unknownInterface adds the names of the existing interfaces to the error.
func unknownInterface(name string, err error) error {
	all, listErr := net.Interfaces()
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	if len(names) > 20 {
		names = append(names[:20], "…")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the operation
	}
	return errors.Join(fmt.Errorf("interface %q: %w: use one of %s", name, err, strings.Join(names, ", ")), listErr)
}

func (l *listening) prepare(prog *filter.Program) error {
	if err := unix.SetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("requesting packet ring version 3: %w", err)
	}
	if l.o.Filter != "" {
		raw := prog.Instructions()
		code := make([]unix.SockFilter, len(raw))
		for i, r := range raw {
			code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
		}
		if err := unix.SetsockoptSockFprog(l.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
			return fmt.Errorf("attaching the filter of %d instructions: %w", len(code), err)
		}
		runtime.KeepAlive(code)
	}
	size := l.o.RingBuffer
	if size == 0 {
		size = 32 << 20
	}
	l.blocks = int(max(size/packetBlock, 2))
	req := unix.TpacketReq3{Block_size: packetBlock, Block_nr: uint32(l.blocks), Frame_size: 2048, Retire_blk_tov: packetRetire}
	req.Frame_nr = req.Block_nr * (req.Block_size / req.Frame_size)
	if err := unix.SetsockoptTpacketReq3(l.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("requesting a packet ring of %d MiB: %w", l.blocks, err)
	}
	var err error
	if l.ring, err = unix.Mmap(l.fd, 0, l.blocks*packetBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("mapping packet ring: %w", err)
	}
	return nil
}

func (l *listening) output() (err error) {
	snap := uint32(maxCaptured)
	if l.o.Snap != 0 {
		snap = min(l.o.Snap, maxCaptured)
	}
	header := func(h *ring.Header) {
		h.Kernel, h.OS, h.Hardware, h.Filter = l.here.Kernel, runtime.GOOS, l.here.Hardware, l.o.Filter
		h.Degraded = l.lacks()
		if p := l.o.Policy; p != nil {
			h.Only, h.Policy = p.Wanted(), p.String()
		}
		if c := l.now.Load(); c != nil {
			h.Clocks = []ring.Clock{*c}
		}
	}
	l.out, err = newSink(&l.o, l.here, ring.SeriesOptions{Name: "interfaces", LinkType: linkEthernet, SnapLen: snap, Sides: []string{ring.KeysKind}, Header: header, Account: l.account})
	if err == nil {
		l.name, l.nextID = l.out.ids()
	}
	return err
}

func (l *listening) close() {
	if l.ring != nil {
		if err := unix.Munmap(l.ring); err != nil {
			l.o.OnError(err)
		}
	}
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
}

func (l *listening) loop(ctx context.Context) error {
	reported := time.Now()
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN | unix.POLLERR}}
	for ctx.Err() == nil {
		any, err := l.round()
		if err == nil {
			err = l.out.failed()
		}
		mark := l.out.ended()
		l.keys.tick()
		l.out.finish(mark)
		if err != nil || l.o.Count > 0 && l.left == 0 {
			return err
		}
		if read, _ := l.clock.Tick(); read {
			l.share()
		}
		if time.Since(reported) >= l.o.Every {
			reported = time.Now()
			l.count()
			l.o.OnStats(l.stats())
		}
		if any {
			continue
		}
		l.out.idle()
		if _, err := unix.Poll(fds, packetRetire); err != nil && err != unix.EINTR {
			return fmt.Errorf("waiting for packets: %w", err)
		}
	}
	return nil
}

// drain reads the rest after the end.
func (l *listening) drain(err *error) {
	if l.o.Count > 0 && l.left == 0 {
		return
	}
	// No more packets arrive; the kernel will soon release the block that is being filled.
	if bindErr := unix.SetsockoptSockFprog(l.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, refuseAll()); bindErr != nil {
		*err = errors.Join(*err, fmt.Errorf("ending: %w", bindErr))
		return
	}
	for range 5 {
		time.Sleep(packetRetire * time.Millisecond)
		for {
			any, roundErr := l.round()
			if *err = errors.Join(*err, roundErr); roundErr != nil || !any {
				break
			}
		}
	}
	l.count()
}

func refuseAll() *unix.SockFprog {
	code := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	return &unix.SockFprog{Len: 1, Filter: &code[0]}
}

// count reads the kernel's counters since the last call.
func (l *listening) count() {
	s, err := unix.GetsockoptTpacketStatsV3(l.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		l.o.OnError(fmt.Errorf("reading counters: %w", err))
		return
	}
	l.mu.Lock()
	l.c.Seen += uint64(s.Packets) // including those dropped
	l.c.Dropped += uint64(s.Drops)
	l.pending += uint64(s.Drops)
	l.mu.Unlock()
}

// counters returns the current counters; t is what the output did with the packets that it
// received. Packets in unread blocks count as neither seen nor delivered.
func (l *listening) counters(t ring.Totals) ring.Counters {
	c := ring.Counters{Filtered: l.refused, Policy: l.never, Dropped: l.c.Dropped,
		Drops: []ring.Drop{{Reason: reasonBuffer, Packets: l.c.Dropped}, {Reason: reasonWriter}}}
	addTotals(&c, t)
	return c
}

func (l *listening) account(t ring.Totals) ring.Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counters(t)
	a := ring.Account{Counters: &c, Clock: l.now.Load()}
	for _, d := range l.order {
		a.Interfaces = append(a.Interfaces, ring.InterfaceAccount{ID: d.id, At: int64(a.Clock.Real), Start: d.since, Lost: d.lost})
	}
	return a
}

func (l *listening) stats() Stats {
	taken := l.out.totals()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counters(taken)
	parts := gather(len(l.order), func(i int) Part { return Part{l.order[i].name, l.order[i].delivered, l.order[i].lost} })
	return Stats{Keys: l.keys.stats(), Counters: c, InKernel: l.c.Seen - min(l.c.Seen, c.Seen), Bytes: l.bytes, Interfaces: len(l.order), Clock: l.clock.Now, Parts: parts}
}
