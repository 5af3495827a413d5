package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/internal/cooked"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
)

// start loads and attaches the programs and opens the output.
func (r *recording) start() error {
	root, err := machine.CgroupRoot()
	if err != nil {
		return &unavailableError{err}
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
	r.clock.Calibrate()
	r.clock.Tick()
	r.shareClock()
	load, err := r.options()
	if err != nil {
		return err
	}
	r.openPins(where)
	r.old = oldContainers("/proc")
	load.Pins = r.pins
	if r.progs, err = bpf.Load(load); err != nil {
		return &unavailableError{errors.Join(hostError(err), r.abandon())}
	}
	r.degraded = r.lacks()
	if err := r.open(root); err != nil {
		r.progs.Close()
		return errors.Join(err, r.abandon())
	}
	var found uint64
	refused := false
	named := r.o
	named.Source = r.names.source
	if r.keys, err = startKeys(&named, r.out, r.clockNow.Load); err == nil {
		found, err = r.attach(where)
		refused = err != nil
		if err == nil {
			err = r.adopt()
		}
	}
	if err != nil {
		r.keys.end()
		r.names.end()
		if err = r.unopen(hostError(err)); refused {
			err = &unavailableError{err}
		}
		r.progs.Close()
		return errors.Join(err, r.abandon())
	}
	applied := "none"
	if load.Filter != nil {
		applied = "kernel"
	} else if r.match != nil {
		applied = "recorder"
	}
	name, _ := r.out.ids()
	r.o.OnStart(Started{Where: "control group " + where, Filter: applied, Only: r.o.Policy.Wanted(), Sight: r.o.Sight, Policy: r.o.Policy.String(), Own: r.own, Ring: name, Sockets: found, Resumed: r.resumed, Degraded: r.lacks()})
	return nil
}

// narrow finds a control group by its folder or by its path below the root.
func narrow(root, name string) (string, error) {
	for _, dir := range []string{name, filepath.Join(root, name)} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("control group %s: %w", name, fs.ErrNotExist)
}

// options returns those of the programs.
func (r *recording) options() (bpf.Options, error) {
	load := bpf.Options{RingBytes: r.o.RingBuffer, Snap: r.o.Snap, HeadersOnly: r.o.HeadersOnly, Owners: !r.o.NoOwners}
	if r.o.Filter != "" {
		p, err := filter.Compile(r.o.Filter, cooked.LinkType, 0)
		if err != nil {
			return load, err
		}
		load.Filter, r.asked = p.Instructions(), p
		if _, err := bpf.Translate(load.Filter); err != nil {
			load.Filter, r.match = nil, p
		}
	}
	if p, err := neverPorts(r.o.Policy); err != nil {
		return load, err
	} else if p != nil {
		load.Never = p.Instructions()
	}
	tgid, err := bpf.CallerTGID()
	if err == nil {
		self, linkErr := os.Readlink("/proc/self")
		r.foreign = linkErr != nil || self != fmt.Sprint(tgid)
		r.inside = tgid != uint32(os.Getpid())
	}
	if err == nil && load.Owners {
		load.OwnTGID, r.ownTGID = tgid, tgid
		r.own = fmt.Sprintf("sockets of process %d are left out", tgid)
	} else if load.Owners {
		return load, &unavailableError{hostError(err)}
	}
	if id, path := ownGroup(); id != 0 {
		load.OwnCgroup, r.ownCgroup = id, id
		r.own = fmt.Sprintf("control group %s is left out", path)
	}
	return load, nil
}

// neverPorts returns a filter for packets that rules about ports forbid, so that the kernel
// does not even copy them. The policy is applied again later, because filters miss later
// fragments and packets in packets. It is nil if there are no such rules, or too many.
func neverPorts(p *policy.Policy) (*filter.Program, error) {
	const most = 64 // ranges
	var words []string
	for _, x := range p.OnlyPorts() {
		words = append(words, fmt.Sprintf("portrange %d-%d", x.From, x.To))
	}
	if len(words) == 0 || len(words) > most {
		return nil, nil
	}
	return filter.Compile(strings.Join(words, " or "), cooked.LinkType, 0)
}

// ownGroup returns this process's control group if no other process is in it.
func ownGroup() (uint64, string) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, ""
	}
	root, err := machine.CgroupRoot()
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
		id, _ := machine.Inode(filepath.Join(root, path))
		return id, path
	}
	return 0, ""
}

// open creates the readers, then the output.
func (r *recording) open(root string) (err error) {
	if err := r.openSources(); err != nil {
		r.closeReaders()
		return err
	}
	snap := uint32(maxCaptured)
	if r.o.Snap != 0 {
		snap = min(r.o.Snap+cooked.Len, maxCaptured)
	}
	r.out, err = newSink(&r.o, r.here, ring.SeriesOptions{Name: socketSeries, LinkType: cooked.LinkType, SnapLen: snap, Sides: sideKinds, Header: r.header, Account: r.account})
	if err != nil {
		r.closeReaders()
		return err
	}
	name, first := r.out.ids()
	r.nextID = first
	r.groups = machine.NewCgroups(root)
	if err := r.groups.Err(); err != nil {
		r.o.OnError(err)
	}
	r.names.start(&r.o, r.groups.Paths())
	r.processes = machine.NewProcesses(&r.clock, r.o.Mask)
	if r.enforcer, err = newEnforcer(r.o.Policy, r.names.source, r.processes); err == nil && r.o.Policy != nil && r.o.Policy.NeedsNames() && r.names.source == nil {
		err = errNoNames
	}
	if err == nil {
		err = r.openOutputs(snap)
	}
	if err != nil {
		return r.unopen(err)
	}
	r.ifaces = ifaces{groups: r.groups, source: r.names.source, node: r.here.Node, ring: name, filter: r.o.Filter, by: map[uint64]*iface{}, enforcer: r.enforcer, outputFor: r.outputFor}
	if r.enforcer != nil && r.enforcer.owned {
		for _, s := range r.sources {
			s.packets.Each = r.foresee
		}
	}
	if r.o.Source != nil {
		r.peers = peers{source: r.o.Source, ring: name, by: map[netip.Addr]*peer{}, write: func(l addressLine) { r.journal.owner(r.outputs[0], l) }}
	}
	r.journal = journal{onError: r.o.OnError}
	r.users = map[int64]string{}
	return nil
}

// unopen closes what open created, for a recording that does not start.
func (r *recording) unopen(err error) error {
	r.closeReaders()
	for _, l := range r.outputs {
		if l.sink != r.out {
			err = errors.Join(err, l.sink.abort())
		}
	}
	return errors.Join(err, r.out.abort()) // last: it owns the ring
}

func (r *recording) closeReaders() {
	for _, s := range r.sources {
		if err := s.close(); err != nil {
			r.o.OnError(err)
		}
	}
	r.sources = nil
}

// abandon removes the programs that would stay in the kernel, for a recording that does not begin.
func (r *recording) abandon() error {
	if r.pins == nil {
		return nil
	}
	return r.pins.Abandon()
}

// attach starts recording. It first attaches the programs that record owners, so that the
// pass over open files misses none, and attaches to packets last.
func (r *recording) attach(where string) (found uint64, err error) {
	r.progs.AttachEvents(!r.o.NoEvents)
	if !r.foreign {
		r.processes.Scan(r.groups.Root)
	}
	if !r.o.NoOwners {
		r.progs.AttachOwners(where)
		if found, err = r.progs.FindSockets(); err != nil {
			r.progs.Missing["open_sockets"] = err
		}
	}
	return found, r.progs.AttachPackets(where)
}

// lacks returns the features that the recording lacks on this kernel or in this PID namespace.
func (r *recording) lacks() []string {
	list := r.progs.Degraded()
	if r.unkept != "" {
		list = append(list, "not recorded: packets that pass while no recorder runs ("+r.unkept+")")
	}
	if r.pins != nil && len(r.pins.Old) > 0 && !r.progs.OwnersKept {
		list = append(list, "not recorded: owners that the recorder before knew (it kept them in another form)")
	}
	var more []string
	if r.foreign {
		more = append(more, "names of processes that ran before")
	}
	if r.inside && !r.o.NoOwners {
		more = append(more, "owners of sockets opened before the recording")
	}
	if r.old > 0 {
		list = append(list, fmt.Sprintf("not recorded: pods and containers of packets (containers that are in control groups of version 1 only: %d)", r.old))
	}
	if len(more) > 0 {
		list = append(list, "not recorded: "+strings.Join(more, ", ")+" (the recorder runs in its own PID namespace: run it in the host's, with hostPID: true or --pid=host)")
	}
	return list
}

// rescan reads /proc again if events of processes were lost.
func (r *recording) rescan() {
	counts, err := r.progs.EventCounts()
	if err != nil || r.foreign {
		return
	}
	var lost uint64
	for _, k := range []bpf.EventKind{bpf.EventExec, bpf.EventFork, bpf.EventExit, bpf.EventMove} {
		lost += counts[k].Failed + counts[k].Limited
	}
	if lost > r.processesLost {
		r.processesLost = lost
		r.processes.Scan(r.groups.Root)
	}
}

// header fills in the recording's part of a segment's header.
func (r *recording) header(h *ring.Header) {
	h.Kernel, h.OS, h.Hardware = r.here.Kernel, runtime.GOOS, r.here.Hardware
	h.Filter, h.Own = r.o.Filter, r.own
	if r.o.Sight == sight.Once {
		h.Sight = string(sight.Once)
	}
	if p := r.o.Policy; p != nil {
		h.Only, h.Policy = p.Wanted(), p.String()
	}
	h.Programs = []ring.Program{{Name: "recorder", SHA256: bpf.SHA256()}}
	h.Degraded = r.degraded
	if c := r.clockNow.Load(); c != nil {
		h.Clocks = []ring.Clock{*c}
	}
}
