//go:build linux && (amd64 || arm64)

package keys

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

// Programs are loaded programs.
type Programs struct {
	o     keysObjects
	links []link.Link // must stay referenced: a link that is collected detaches
	ring  *ringbuf.Reader
}

// Load loads the programs. A ring of 0 bytes is one of 4 MiB.
func Load(ring uint32) (*Programs, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raising the limit of locked memory: %w", err)
	}
	spec, err := loadKeys()
	if err != nil {
		return nil, fmt.Errorf("reading the programs: %w", err)
	}
	if ring != 0 {
		spec.Maps["events"].MaxEntries = ring
	}
	p := &Programs{}
	if err := spec.LoadAndAssign(&p.o, nil); err != nil {
		return nil, fmt.Errorf("loading programs: %w", err)
	}
	if p.ring, err = ringbuf.NewReader(p.o.Events); err != nil {
		p.o.Close()
		return nil, fmt.Errorf("opening the ring buffer: %w", err)
	}
	return p, nil
}

// Follow begins to tell of processes.
func (p *Programs) Follow() error {
	for _, a := range []struct {
		name string
		prog *ebpf.Program
	}{{"sched_process_fork", p.o.ProcessFork}, {"sched_process_exec", p.o.ProcessExec}, {"sched_process_exit", p.o.ProcessExit}} {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: a.name, Program: a.prog})
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", a.name, err)
		}
		p.links = append(p.links, l)
	}
	return nil
}

// Close detaches everything that Follow attached. What Go and Library attached is closed
// by itself.
func (p *Programs) Close() error {
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	p.links = nil
	return errors.Join(append(errs, p.ring.Close(), p.o.Close())...)
}

// Ring is where events come from.
func (p *Programs) Ring() *ringbuf.Reader { return p.ring }

// Choose lets secrets of a process and of its children be read.
func (p *Programs) Choose(tgid uint32) error { return p.o.Chosen.Put(tgid, uint8(1)) }

// Forget ends that.
func (p *Programs) Forget(tgid uint32) error {
	if err := p.o.Chosen.Delete(tgid); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// ChooseGroup chooses every process that runs another program in a control group, by the
// group's number, from now on.
func (p *Programs) ChooseGroup(id uint64) error { return p.o.Groups.Put(id, uint8(1)) }

// ForgetGroup ends that.
func (p *Programs) ForgetGroup(id uint64) error {
	if err := p.o.Groups.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// Set says how objects at a target are read from now on.
func (p *Programs) Set(target uint32, plan Plan) error {
	if len(plan.Fields) > MaxFields {
		return fmt.Errorf("plan of %d fields, want at most %d", len(plan.Fields), MaxFields)
	}
	v := struct {
		Mode    uint32
		Success int32
		Number  uint32
		Count   uint32
		Other   uint32
		_       uint32
		Fields  [MaxFields]Field
	}{Mode: uint32(plan.Mode), Success: plan.Success, Number: plan.Number, Count: uint32(len(plan.Fields))}
	if plan.Other {
		v.Other = 1
	}
	copy(v.Fields[:], plan.Fields)
	return p.o.Plans.Put(target, v)
}

// Counters reads the counters.
func (p *Programs) Counters() (Counters, error) {
	var c Counters
	for i, to := range []*uint64{&c.Seen, &c.Lost, &c.Unread, &c.Odd, &c.LostProcess} {
		var each []uint64
		if err := p.o.Counts.Lookup(uint32(i), &each); err != nil {
			return c, fmt.Errorf("reading counters: %w", err)
		}
		for _, n := range each {
			*to += n
		}
	}
	return c, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, x := range c {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// Go attaches to crypto/tls.(*Config).writeKeyLog at offsets of a file. The closer must
// stay referenced.
func (p *Programs) Go(file string, target uint32, at ...uint64) (io.Closer, error) {
	x, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	var all closers
	for _, a := range at {
		l, err := x.Uprobe("", p.o.GoKey, &link.UprobeOptions{Address: a, Cookie: uint64(target)})
		if err != nil {
			all.Close()
			return nil, fmt.Errorf("attaching at offset %#x: %w", a, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// Library attaches to the functions of a library, at offsets of its file. The closer must
// stay referenced.
func (p *Programs) Library(file string, target uint32, handshake, release uint64) (io.Closer, error) {
	x, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	var all closers
	for _, a := range []struct {
		at     uint64
		prog   *ebpf.Program
		attach func(string, *ebpf.Program, *link.UprobeOptions) (link.Link, error)
	}{{handshake, p.o.HandshakeDone, x.Uretprobe}, {handshake, p.o.Handshake, x.Uprobe}, {release, p.o.Release, x.Uprobe}} {
		l, err := a.attach("", a.prog, &link.UprobeOptions{Address: a.at, Cookie: uint64(target)})
		if err != nil {
			all.Close()
			return nil, fmt.Errorf("attaching at offset %#x: %w", a.at, err)
		}
		all = append(all, l)
	}
	return all, nil
}
