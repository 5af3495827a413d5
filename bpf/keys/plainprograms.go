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

// PlainPrograms are the loaded programs that read plaintext of the processes that other
// Programs were told to choose.
type PlainPrograms struct {
	o       plainObjects
	links   []link.Link
	ring    *ringbuf.Reader
	Sockets error // why the ends of connections are not known, where they are not
}

// LoadPlain loads them. A ring of 0 bytes is one of 16 MiB.
func (p *Programs) LoadPlain(ring uint32) (*PlainPrograms, error) {
	spec, err := loadPlain()
	if err != nil {
		return nil, fmt.Errorf("reading the programs of plaintext: %w", err)
	}
	if ring != 0 {
		spec.Maps["plaintext"].MaxEntries = ring
	}
	x := &PlainPrograms{}
	if err := spec.LoadAndAssign(&x.o, &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{"chosen": p.o.Chosen}}); err != nil {
		return nil, fmt.Errorf("loading programs of plaintext: %w", err)
	}
	if x.ring, err = ringbuf.NewReader(x.o.Plaintext); err != nil {
		x.o.Close()
		return nil, fmt.Errorf("opening the ring buffer of plaintext: %w", err)
	}
	for _, a := range []struct {
		name string
		prog *ebpf.Program
	}{{"sock_send_length", x.o.SocketSent}, {"sock_recv_length", x.o.SocketReceived}} {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: a.name, Program: a.prog})
		if err != nil {
			x.Sockets = fmt.Errorf("attaching to %s, which Linux has since 6.3: %w", a.name, err)
			break
		}
		x.links = append(x.links, l)
	}
	return x, nil
}

// End lets nothing more be seen. What is being told in that moment still comes.
func (p *PlainPrograms) End() error { return p.o.Ended.Put(uint32(0), uint32(1)) }

// Ring is where pieces come from.
func (p *PlainPrograms) Ring() *ringbuf.Reader { return p.ring }

// Close detaches and closes what LoadPlain made.
func (p *PlainPrograms) Close() error {
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	p.links = nil
	return errors.Join(append(errs, p.ring.Close(), p.o.Close())...)
}

// Counters reads the counters.
func (p *PlainPrograms) Counters() (PlainCounters, error) {
	var c PlainCounters
	for i, to := range []*uint64{&c.Calls, &c.Seen, &c.Lost, &c.Unread, &c.Odd, &c.Cut} {
		var each []uint64
		if err := p.o.PlainCounts.Lookup(uint32(i), &each); err != nil {
			return c, fmt.Errorf("reading counters of plaintext: %w", err)
		}
		for _, n := range each {
			*to += n
		}
	}
	return c, nil
}

// Bits of a cookie, beside the number of a target.
const (
	cookieWrite = 1 << 32
	cookieEx    = 1 << 33
)

func (f *Function) cookie(target uint32) uint64 {
	c := uint64(target)
	if f.Write {
		c |= cookieWrite
	}
	if f.Ex {
		c |= cookieEx
	}
	return c
}

// Go attaches to methods of crypto/tls.Conn in a file: at their beginnings and where they
// return, since a return probe would crash them. The closer must stay referenced.
func (p *PlainPrograms) Go(file string, target uint32, list ...Function) (io.Closer, error) {
	x, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	var all closers
	attach := func(at uint64, prog *ebpf.Program, cookie uint64) error {
		l, err := x.Uprobe("", prog, &link.UprobeOptions{Address: at, Cookie: cookie})
		if err != nil {
			return fmt.Errorf("attaching at offset %#x: %w", at, err)
		}
		all = append(all, l)
		return nil
	}
	for i := range list {
		f := &list[i]
		// The ends first: a beginning without them would leave a call behind.
		for _, at := range f.Ends {
			if err := attach(at, p.o.PlainGoLeave, f.cookie(target)); err != nil {
				return nil, errors.Join(err, all.Close())
			}
		}
		if err := attach(f.At, p.o.PlainGoEnter, f.cookie(target)); err != nil {
			return nil, errors.Join(err, all.Close())
		}
	}
	return all, nil
}

// Library attaches to functions of a library, and to the one that frees its objects. The
// closer must stay referenced.
func (p *PlainPrograms) Library(file string, target uint32, release uint64, list ...Function) (io.Closer, error) {
	x, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	var all closers
	attach := func(l link.Link, err error) error {
		if err == nil {
			all = append(all, l)
		}
		return err
	}
	err = attach(x.Uprobe("", p.o.PlainRelease, &link.UprobeOptions{Address: release, Cookie: uint64(target)}))
	for i := range list {
		o := &link.UprobeOptions{Address: list[i].At, Cookie: list[i].cookie(target)}
		if err == nil {
			err = attach(x.Uretprobe("", p.o.PlainLeave, o))
		}
		if err == nil {
			err = attach(x.Uprobe("", p.o.PlainEnter, o))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attaching: %w", err), all.Close())
	}
	return all, nil
}
