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
	OwnTGID         uint32 // its sockets are left out, with Owners; 0 means none
	OwnCgroup       uint64 // its packets are left out; 0 means none
	EventsPerSecond uint32 // of each kind that traffic drives; 0 means 1000
	WakeBytes       uint64 // waiting in the ring buffer; 0 means a quarter of it
	Pins            *Pins  // keeps programs when the recorder ends; nil: none stay
}

// Programs are loaded programs and their links.
type Programs struct {
	coll  *ebpf.Collection
	links []io.Closer // must stay referenced: a link that is garbage collected detaches
	// Missing has the programs that this kernel refuses, with the reason.
	Missing map[string]error
	// Ledger of the ring buffer of packets; nil without Pins.
	Ledger *Ledger
	// OwnersKept reports that the programs have what earlier ones knew about sockets.
	OwnersKept bool

	pins    *Pins
	reasons map[uint32]string
}

// ErrNoBTF means that the kernel has no description of its own types.
var ErrNoBTF = loader.ErrNoBTF

// RefusedError means that this kernel does not accept a program.
type RefusedError = loader.RefusedError

// since is the first Linux that provides what a program needs. All others need at most 5.10, the oldest release that is
// tested. The tests compare this with the helpers that programs call.
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

// FindSockets finds the owners of sockets that are older than the recorder, and returns the number of sockets.
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

// Close detaches and unloads everything. Packets stay readable in maps that are mapped. What Pins has continues.
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

// Detach ends recording, except by programs that Pins has. What is in the ring buffers can still be read.
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
