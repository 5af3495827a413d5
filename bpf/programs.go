//go:build linux

package bpf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	classic "golang.org/x/net/bpf"

	"github.com/pcapsule/pcapsule/bpf/internal/loader"
)

// Options of the programs.
type Options struct {
	RingBytes       uint32                   // a power of two, at least a page; 0 means 32 MiB
	Snap            uint32                   // bytes of a packet to keep; 0 means all
	HeadersOnly     bool                     // network and transport headers only
	Filter          []classic.RawInstruction // packets that do not match are filtered
	Never           []classic.RawInstruction // packets that match are forbidden, if they match Filter
	Owners          bool
	OwnTGID         uint32 // its sockets are left out, with Owners; 0 means nobody's
	OwnCgroup       uint64 // its packets are left out; 0 means none
	EventsPerSecond uint32 // of each kind that traffic drives; 0 means 1000
	WakeBytes       uint64 // waiting in the ring buffer; 0 means a quarter of it
	Pins            *Pins  // what stays when the recorder ends; nil: nothing
}

// Programs are loaded programs and what they are attached to.
type Programs struct {
	coll  *ebpf.Collection
	links []io.Closer // must stay referenced: a link that is garbage collected detaches
	// Missing has the programs that this kernel refuses, with the reason.
	Missing map[string]error
	// Ledger of the ring buffer of packets; nil without Pins.
	Ledger *Ledger
	// OwnersKept reports that what earlier programs knew of sockets is known.
	OwnersKept bool

	pins    *Pins
	reasons map[uint32]string
}

// ErrNoBTF means that the kernel has no description of its own types.
var ErrNoBTF = loader.ErrNoBTF

// RefusedError means that this kernel does not accept a program.
type RefusedError = loader.RefusedError

// since is the first Linux that has what a program needs. All others need at most 5.10, the
// oldest release that is tested. The tests compare this with the helpers that programs call.
var since = map[string]loader.Release{
	recorderProgOpenSockets:   {Major: 5, Minor: 12}, // cookies of sockets in iterators
	recorderProgPacketDropped: {Major: 5, Minor: 17}, // the reason for a drop
}

// Load loads the programs. Programs for owners and events may be missing; programs for packets
// must not.
func Load(o Options) (*Programs, error) {
	spec, err := loadRecorder()
	if err != nil {
		return nil, fmt.Errorf("reading the programs: %w", err)
	}
	if err := o.apply(spec); err != nil {
		return nil, err
	}
	early := map[string]error{}
	if len(dropReasons()) == 0 {
		// The program would load, but read a third argument that does not exist.
		delete(spec.Programs, recorderProgPacketDropped)
		early[recorderProgPacketDropped] = loader.Refused(recorderProgPacketDropped, since[recorderProgPacketDropped], errNoReasons)
	}
	p := &Programs{pins: o.Pins}
	var replace map[string]*ebpf.Map
	if o.Pins != nil {
		if m := o.Pins.owners(spec.Maps[recorderMapOwners]); m != nil {
			defer m.Close()
			p.OwnersKept, replace = true, map[string]*ebpf.Map{recorderMapOwners: m}
		}
	}
	if p.coll, p.Missing, err = loader.Programs(spec, since, replace); err != nil {
		return nil, err
	}
	for _, name := range []string{recorderProgPacketIn, recorderProgPacketOut} {
		if err := p.Missing[name]; err != nil {
			p.Close()
			return nil, fmt.Errorf("loading programs: %w", err)
		}
	}
	maps.Copy(p.Missing, early)
	if o.Pins != nil {
		if p.Ledger, err = o.Pins.pin(p.coll, p.OwnersKept); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

var errNoReasons = errors.New("the kernel does not say why it drops packets")

func (o *Options) apply(spec *ebpf.CollectionSpec) error {
	if o.RingBytes != 0 {
		if n := o.RingBytes; n&(n-1) != 0 || n < uint32(os.Getpagesize()) {
			return fmt.Errorf("ring buffer of %d bytes: the size is a power of two of at least %d", n, os.Getpagesize())
		}
		spec.Maps[recorderMapPackets].MaxEntries = o.RingBytes
	}
	set := map[string]any{recorderVarOwnTgid: o.OwnTGID, recorderVarOwnCgroup: o.OwnCgroup, recorderVarHeadersOnly: bit(o.HeadersOnly), recorderVarOwning: bit(o.Owners)}
	if o.Snap != 0 {
		set[recorderVarSnap] = o.Snap
	}
	if o.EventsPerSecond != 0 {
		set[recorderVarEventsA_second] = o.EventsPerSecond
	}
	set[recorderVarWakeAt] = o.WakeBytes
	if o.WakeBytes == 0 {
		set[recorderVarWakeAt] = uint64(spec.Maps[recorderMapPackets].MaxEntries) / 4
	}
	if o.Filter != nil || o.Never != nil {
		set[recorderVarFiltering] = uint8(1)
		body, err := translateBoth(o.Filter, o.Never)
		if err != nil {
			return err
		}
		for _, name := range []string{recorderProgPacketIn, recorderProgPacketOut} {
			if err := replace(spec.Programs[name], "accept", body); err != nil {
				return err
			}
		}
	}
	for name, v := range set {
		if err := spec.Variables[name].Set(v); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// replace replaces the body of a function of a program.
func replace(p *ebpf.ProgramSpec, function string, body asm.Instructions) error {
	begin, end := -1, len(p.Instructions)
	for i := range p.Instructions {
		if p.Instructions[i].Symbol() == function {
			begin = i
		} else if begin >= 0 && btf.FuncMetadata(&p.Instructions[i]) != nil {
			end = i
			break
		}
	}
	if begin < 0 {
		return fmt.Errorf("program %s has no function %s", p.Name, function)
	}
	own := make(asm.Instructions, len(body))
	copy(own, body)
	// The first instruction carries the kernel's metadata of the function.
	own[0] = own[0].WithMetadata(p.Instructions[begin].Metadata)
	out := append(asm.Instructions{}, p.Instructions[:begin]...)
	out = append(out, own...)
	p.Instructions = append(out, p.Instructions[end:]...)
	return nil
}

// hook is a program and its place in a cgroup.
type hook struct {
	program string
	attach  ebpf.AttachType
	without string
}

func ownerHooks() []hook {
	const made, used, accepted = "the processes that created sockets", "the processes that last used datagram sockets and connected", "the processes that accepted connections"
	return []hook{
		{recorderProgSocketCreated, ebpf.AttachCGroupInetSockCreate, made},
		{recorderProgSocketBound4, ebpf.AttachCGroupInet4PostBind, made},
		{recorderProgSocketBound6, ebpf.AttachCGroupInet6PostBind, made},
		{recorderProgSocketConnect4, ebpf.AttachCGroupInet4Connect, used},
		{recorderProgSocketConnect6, ebpf.AttachCGroupInet6Connect, used},
		{recorderProgSocketSendmsg4, ebpf.AttachCGroupUDP4Sendmsg, used},
		{recorderProgSocketSendmsg6, ebpf.AttachCGroupUDP6Sendmsg, used},
		{recorderProgSocketRecvmsg4, ebpf.AttachCGroupUDP4Recvmsg, used},
		{recorderProgSocketRecvmsg6, ebpf.AttachCGroupUDP6Recvmsg, used},
		{recorderProgSocketNamed4, ebpf.AttachCgroupInet4GetPeername, accepted},
		{recorderProgSocketNamed6, ebpf.AttachCgroupInet6GetPeername, accepted},
	}
}

// AttachOwners starts recording who uses sockets of a cgroup. What cannot be attached is added
// to Missing.
func (p *Programs) AttachOwners(cgroup string) {
	for _, h := range ownerHooks() {
		if err := p.attachCgroup(cgroup, h); err != nil {
			p.Missing[h.program] = loader.Refused(h.program, since[h.program], err)
		}
	}
}

// AttachPackets starts recording packets of a cgroup and all groups below.
func (p *Programs) AttachPackets(cgroup string) error {
	for _, h := range []hook{{recorderProgPacketIn, ebpf.AttachCGroupInetIngress, ""}, {recorderProgPacketOut, ebpf.AttachCGroupInetEgress, ""}} {
		if err := p.attachCgroup(cgroup, h); err != nil {
			return err
		}
	}
	return nil
}

func (p *Programs) attachCgroup(cgroup string, h hook) error {
	prog := p.coll.Programs[h.program]
	if prog == nil {
		return p.Missing[h.program]
	}
	err := p.attach(h.program, cgroup, func() (link.Link, error) {
		return link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: h.attach, Program: prog})
	})
	if err != nil {
		return fmt.Errorf("attaching %s to cgroup %s: %w", h.program, cgroup, err)
	}
	return nil
}

// attach attaches a program, for as long as this process runs or, with Pins, longer.
func (p *Programs) attach(name, cgroup string, make func() (link.Link, error)) error {
	if p.pins != nil {
		return p.pins.place(name, p.coll.Programs[name], cgroup, make)
	}
	l, err := make()
	if err == nil {
		p.links = append(p.links, l)
	}
	return err
}

// FindSockets notes who has sockets open that are older than the recorder, and returns
// how many it found.
func (p *Programs) FindSockets() (uint64, error) {
	prog := p.coll.Programs[recorderProgOpenSockets]
	if prog == nil {
		return 0, p.Missing[recorderProgOpenSockets]
	}
	it, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return 0, fmt.Errorf("listing open files: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return 0, fmt.Errorf("listing open files: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return 0, fmt.Errorf("listing open files: %w", err)
	}
	var n uint64
	if err := p.coll.Variables[recorderVarSocketsFound].Get(&n); err != nil {
		return 0, fmt.Errorf("reading the number of sockets found: %w", err)
	}
	return n, nil
}

// point is a tracepoint.
type point struct{ name, without string }

// tracepoints returns the tracepoint of each program.
func tracepoints(processes, network bool) map[string]point {
	m := map[string]point{}
	if processes {
		m[recorderProgProcessExec] = point{"sched_process_exec", "programs that processes run"}
		m[recorderProgProcessFork] = point{"sched_process_fork", "new processes"}
		m[recorderProgProcessExit] = point{"sched_process_exit", "ends of processes"}
		m[recorderProgProcessOom] = point{"mark_victim", "processes killed for lack of memory"}
		m[recorderProgProcessMoved] = point{"cgroup_attach_task", "moves between control groups"}
		m[recorderProgCgroupMade] = point{"cgroup_mkdir", "new control groups"}
		m[recorderProgCgroupRemoved] = point{"cgroup_rmdir", "removed control groups"}
	}
	if network {
		m[recorderProgTcpState] = point{"inet_sock_set_state", "TCP states"}
		m[recorderProgTcpRetransmit] = point{"tcp_retransmit_skb", "TCP retransmissions"}
		m[recorderProgTcpResetSent] = point{"tcp_send_reset", "TCP resets sent"}
		m[recorderProgTcpResetReceived] = point{"tcp_receive_reset", "TCP resets received"}
		m[recorderProgPacketDropped] = point{"kfree_skb", "dropped packets with their reasons"}
	}
	return m
}

// AttachEvents starts reporting events of processes and the network stack. What cannot be
// attached is added to Missing.
func (p *Programs) AttachEvents(processes, network bool) {
	for name, point := range tracepoints(processes, network) {
		prog := p.coll.Programs[name]
		if prog == nil {
			continue
		}
		err := p.attach(name, "", func() (link.Link, error) {
			return link.AttachRawTracepoint(link.RawTracepointOptions{Name: point.name, Program: prog})
		})
		if err != nil {
			p.Missing[name] = loader.Refused(name, since[name], fmt.Errorf("attaching to tracepoint %s: %w", point.name, err))
		}
	}
}

// Close detaches and unloads everything. Packets stay readable in maps that are mapped.
// What Pins has goes on.
func (p *Programs) Close() {
	p.Detach()
	if p.Ledger != nil {
		if err := p.Ledger.Close(); err != nil {
			panic(err) // it was mapped here
		}
		p.Ledger = nil
	}
	p.coll.Close()
}

// Detach ends recording, but for what Pins has; what is in the ring buffers can still be read.
func (p *Programs) Detach() {
	for _, l := range p.links {
		l.Close()
	}
	p.links = nil
	runtime.KeepAlive(p)
}

// PacketsFD returns the ring buffer of packets, and its size.
func (p *Programs) PacketsFD() (fd int, size uint32) {
	m := p.coll.Maps[recorderMapPackets]
	return m.FD(), m.MaxEntries()
}

// EventsFD returns the ring buffer of events, and its size.
func (p *Programs) EventsFD() (fd int, size uint32) {
	m := p.coll.Maps[recorderMapEvents]
	return m.FD(), m.MaxEntries()
}

// Counts returns the counters of incoming and outgoing packets, summed over all CPUs.
func (p *Programs) Counts() (in, out Counters, err error) {
	return sumCounts(p.coll.Maps[recorderMapCounts])
}

// EventCounters are the counters of one kind of event.
type EventCounters struct {
	Seen    uint64
	Limited uint64 // over EventsPerSecond
	Failed  uint64 // no room in the ring buffer
}

// EventCounts returns the counters of events by kind.
func (p *Programs) EventCounts() (map[EventKind]EventCounters, error) {
	all := map[EventKind]EventCounters{}
	for k := EventKind(1); k < EventKinds; k++ {
		var each []EventCounters
		if err := p.coll.Maps[recorderMapEventCounts].Lookup(uint32(k), &each); err != nil {
			return nil, fmt.Errorf("reading counters of events: %w", err)
		}
		var sum EventCounters
		for _, c := range each {
			sum.Seen += c.Seen
			sum.Limited += c.Limited
			sum.Failed += c.Failed
		}
		all[k] = sum
	}
	return all, nil
}

// Losses returns the number of packets lost since the start, by cgroup.
func (p *Programs) Losses() (map[uint64]uint64, error) {
	m := map[uint64]uint64{}
	var cgroup, n uint64
	it := p.coll.Maps[recorderMapLosses].Iterate()
	for it.Next(&cgroup, &n) {
		if n > 0 {
			m[cgroup] = n
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("reading losses: %w", err)
	}
	return m, nil
}

// CallerTGID is the number of this process in the kernel's initial namespace, which differs
// from os.Getpid inside a container.
func CallerTGID() (uint32, error) {
	spec, err := loadRecorder()
	if err != nil {
		return 0, fmt.Errorf("reading the programs: %w", err)
	}
	for name := range spec.Programs {
		if name != recorderProgCaller {
			delete(spec.Programs, name)
		}
	}
	for name := range spec.Maps {
		if name[0] != '.' {
			delete(spec.Maps, name)
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return 0, fmt.Errorf("finding the number of this process: %w", err)
	}
	defer coll.Close()
	if _, err := coll.Programs[recorderProgCaller].Run(&ebpf.RunOptions{Context: make([]byte, 8)}); err != nil {
		return 0, fmt.Errorf("finding the number of this process: %w", err)
	}
	var tgid uint32
	if err := coll.Variables[recorderVarCallerTgid].Get(&tgid); err != nil {
		return 0, fmt.Errorf("finding the number of this process: %w", err)
	}
	return tgid, nil
}

// SHA256 is the hash of the object that contains the programs, in hex.
func SHA256() string {
	sum := sha256.Sum256(_RecorderBytes)
	return hex.EncodeToString(sum[:])
}

// DropReason is the kernel's name of a reason for dropping a packet.
func (p *Programs) DropReason(n uint32) string {
	if p.reasons == nil {
		p.reasons = dropReasons()
	}
	if name, ok := p.reasons[n]; ok {
		return name
	}
	return fmt.Sprintf("reason %d", n)
}

// dropReasons reads the names from the kernel's description of its types.
func dropReasons() map[uint32]string {
	names := map[uint32]string{}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return names
	}
	var enum *btf.Enum
	if kernel.TypeByName("skb_drop_reason", &enum) != nil {
		return names
	}
	for _, v := range enum.Values {
		names[uint32(v.Value)] = strings.TrimPrefix(strings.TrimPrefix(v.Name, "SKB_DROP_REASON_"), "SKB_")
	}
	return names
}

// Hook is a place in the kernel to which a program is attached.
type Hook struct {
	Program string
	Place   string
	For     string // packets, owners or events
	Without string // what recordings lack if the program is refused
}

// Hooks lists the places that recording uses.
func Hooks() []Hook {
	list := []Hook{{recorderProgPacketIn, "cgroup ingress", "packets", "received packets"}, {recorderProgPacketOut, "cgroup egress", "packets", "sent packets"}}
	for _, h := range ownerHooks() {
		list = append(list, Hook{h.program, "cgroup " + h.attach.String(), "owners", h.without})
	}
	list = append(list, Hook{recorderProgOpenSockets, "iterator task_file", "owners", "owners of sockets opened before the recording"})
	points := tracepoints(true, true)
	for _, name := range slices.Sorted(maps.Keys(points)) {
		list = append(list, Hook{name, "tracepoint " + points[name].name, "events", points[name].without})
	}
	return list
}

// Degraded lists what recordings lack because of the programs in Missing, with the reasons, in
// the order of Hooks. Parts with the same reason are joined.
func (p *Programs) Degraded() (list []string) {
	lacks := map[string][]string{}
	var reasons []string
	for _, h := range Hooks() {
		err := p.Missing[h.Program]
		if err == nil {
			continue
		}
		reason := err.Error()
		var refused *RefusedError
		if errors.As(err, &refused) {
			reason = refused.Reason()
		}
		if lacks[reason] == nil {
			reasons = append(reasons, reason)
		}
		if !slices.Contains(lacks[reason], h.Without) {
			lacks[reason] = append(lacks[reason], h.Without)
		}
	}
	for _, r := range reasons {
		list = append(list, fmt.Sprintf("not recorded: %s (%s)", strings.Join(lacks[r], ", "), r))
	}
	return list
}

// LockedDown reports whether the kernel forbids programs to read its memory; see LockdownFile.
func LockedDown() bool { return loader.LockedDown() }

// LockdownFile is the file that says how far the kernel protects itself from root.
const LockdownFile = loader.Lockdown

// Oldest is the oldest Linux that the programs are tested on.
const Oldest = "5.10"

// TooOld reports whether this kernel is older than Oldest.
func TooOld() bool {
	running, _ := loader.Running()
	return running.Compare(loader.Release{Major: 5, Minor: 10}) < 0
}
