//go:build linux && (amd64 || arm64)

package keys

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

// Programs are loaded programs.
type Programs struct {
	*probes
	links closers // must stay referenced: a link that is garbage collected detaches
	ring  *ringbuf.Reader
}

// Load loads the programs. A ring of 0 bytes means 4 MiB.
func Load(ring uint32) (*Programs, error) {
	spec, err := loadKeys()
	if err != nil {
		return nil, fmt.Errorf("reading the programs: %w", err)
	}
	if ring != 0 {
		spec.Maps[keysMapEvents].MaxEntries = ring
	}
	x, refused, err := newProbes(spec, haveCookies(), nil, nil)
	if err != nil {
		return nil, err
	}
	if len(refused) > 0 {
		x.coll.Close()
		return nil, fmt.Errorf("loading programs for keys: %w", first(refused))
	}
	p := &Programs{probes: x}
	if p.ring, err = ringbuf.NewReader(x.coll.Maps[keysMapEvents]); err != nil {
		x.coll.Close()
		return nil, fmt.Errorf("opening the ring buffer: %w", err)
	}
	return p, nil
}

// Follow starts reporting processes.
func (p *Programs) Follow() error {
	for _, a := range []struct{ point, program string }{{"sched_process_fork", keysProgProcessFork}, {"sched_process_exec", keysProgProcessExec}, {"sched_process_exit", keysProgProcessExit}} {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: a.point, Program: p.coll.Programs[a.program]})
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", a.point, err)
		}
		p.links = append(p.links, l)
	}
	return nil
}

// Close detaches everything that Follow attached. The probes of Go and Library have their own
// closers.
func (p *Programs) Close() error {
	err := errors.Join(p.links.Close(), p.ring.Close())
	p.links = nil
	p.coll.Close()
	return err
}

// Ring is the source of the events.
func (p *Programs) Ring() *ringbuf.Reader { return p.ring }

// Choose permits reading the secrets of a process and of its children.
func (p *Programs) Choose(tgid uint32) error { return p.coll.Maps[keysMapChosen].Put(tgid, uint8(1)) }

// Forget revokes Choose.
func (p *Programs) Forget(tgid uint32) error {
	if err := p.coll.Maps[keysMapChosen].Delete(tgid); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// ChooseGroup chooses every process that executes another program in a control group from now
// on, by the group's number.
func (p *Programs) ChooseGroup(id uint64) error { return p.coll.Maps[keysMapGroups].Put(id, uint8(1)) }

// ForgetGroup revokes ChooseGroup.
func (p *Programs) ForgetGroup(id uint64) error {
	if err := p.coll.Maps[keysMapGroups].Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// Set sets how objects at a target are read from now on.
func (p *Programs) Set(target uint32, plan Plan) error {
	if len(plan.Fields) > MaxFields {
		return fmt.Errorf("the plan has %d fields; the maximum is %d", len(plan.Fields), MaxFields)
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
	return p.coll.Maps[keysMapPlans].Put(target, v)
}

// Counters reads the counters.
func (p *Programs) Counters() (Counters, error) {
	var c Counters
	for i, to := range []*uint64{&c.Seen, &c.Lost, &c.Unread, &c.Odd, &c.LostProcess} {
		var each []uint64
		if err := p.coll.Maps[keysMapCounts].Lookup(uint32(i), &each); err != nil {
			return c, fmt.Errorf("reading counters: %w", err)
		}
		for _, n := range each {
			*to += n
		}
	}
	return c, nil
}

// Go attaches to crypto/tls.(*Config).writeKeyLog at offsets of a file. The closer must
// stay referenced.
func (p *Programs) Go(file string, target uint32, at ...uint64) (io.Closer, error) {
	var list []where
	for _, a := range at {
		list = append(list, where{keysProgGoKey, a, target, false})
	}
	return p.attach(file, list...)
}

// Library attaches to the functions of a library, at offsets of its file. The closer must
// stay referenced.
func (p *Programs) Library(file string, target uint32, handshake, release uint64) (io.Closer, error) {
	return p.attach(file, where{keysProgHandshakeDone, handshake, target, true}, where{keysProgHandshake, handshake, target, false}, where{keysProgRelease, release, target, false})
}
