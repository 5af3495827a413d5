//go:build linux && (amd64 || arm64)

package keys

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/pcapsule/pcapsule/bpf/internal/loader"
)

// PlainPrograms are the loaded programs that read plaintext of the processes that Programs
// chooses.
type PlainPrograms struct {
	*probes
	links   closers
	ring    *ringbuf.Reader
	Sockets error // why the ends of connections are unknown; nil if they are known
}

// socketPoints are the programs that learn the ends of connections, and their tracepoints,
// which exist since Linux 6.3.
var socketPoints = []struct{ point, program string }{{"sock_send_length", plainProgSocketSent}, {"sock_recv_length", plainProgSocketReceived}}

var plainSince = map[string]loader.Release{plainProgSocketSent: {Major: 6, Minor: 3}, plainProgSocketReceived: {Major: 6, Minor: 3}}

// LoadPlain loads them. A ring of 0 bytes means 16 MiB.
func (p *Programs) LoadPlain(ring uint32) (*PlainPrograms, error) {
	spec, err := loadPlain()
	if err != nil {
		return nil, fmt.Errorf("reading the programs of plaintext: %w", err)
	}
	if ring != 0 {
		spec.Maps[plainMapPlaintext].MaxEntries = ring
	}
	own, refused, err := newProbes(spec, haveCookies(), plainSince, map[string]*ebpf.Map{plainMapChosen: p.coll.Maps[keysMapChosen]})
	if err != nil {
		return nil, err
	}
	x := &PlainPrograms{probes: own}
	x.attachSockets(refused)
	if len(refused) > 0 {
		err = fmt.Errorf("loading programs for plaintext: %w", first(refused))
	} else if x.ring, err = ringbuf.NewReader(own.coll.Maps[plainMapPlaintext]); err != nil {
		err = fmt.Errorf("opening the ring buffer of plaintext: %w", err)
	}
	if err != nil {
		err = errors.Join(err, x.links.Close())
		own.coll.Close()
		return nil, err
	}
	return x, nil
}

// attachSockets attaches the programs that learn the ends of connections, until one cannot be
// attached. It removes them from refused.
func (x *PlainPrograms) attachSockets(refused map[string]error) {
	for _, a := range socketPoints {
		point, program := a.point, a.program
		err := refused[program]
		delete(refused, program)
		if err == nil && x.Sockets == nil {
			var l link.Link
			if l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: point, Program: x.coll.Programs[program]}); err == nil {
				x.links = append(x.links, l)
			} else {
				err = loader.Refused(program, plainSince[program], fmt.Errorf("attaching to tracepoint %s: %w", point, err))
			}
		}
		if x.Sockets == nil {
			x.Sockets = err
		}
	}
}

// End stops reading. Calls that are being reported at that moment still arrive.
func (p *PlainPrograms) End() error { return p.coll.Maps[plainMapEnded].Put(uint32(0), uint32(1)) }

// Ring is the source of the pieces.
func (p *PlainPrograms) Ring() *ringbuf.Reader { return p.ring }

// Close detaches the programs and closes what LoadPlain opened.
func (p *PlainPrograms) Close() error {
	err := errors.Join(p.links.Close(), p.ring.Close())
	p.links = nil
	p.coll.Close()
	return err
}

// Counters reads the counters.
func (p *PlainPrograms) Counters() (PlainCounters, error) {
	var c PlainCounters
	for i, to := range []*uint64{&c.Calls, &c.Seen, &c.Lost, &c.Unread, &c.Odd, &c.Cut} {
		var each []uint64
		if err := p.coll.Maps[plainMapPlainCounts].Lookup(uint32(i), &each); err != nil {
			return c, fmt.Errorf("reading counters of plaintext: %w", err)
		}
		for _, n := range each {
			*to += n
		}
	}
	return c, nil
}

// Bits of a cookie, above the number of a target.
const (
	cookieWrite = 1 << 30
	cookieEx    = 1 << 31
)

func (f *Function) cookie(target uint32) uint32 {
	if f.Write {
		target |= cookieWrite
	}
	if f.Ex {
		target |= cookieEx
	}
	return target
}

// Go attaches to methods of crypto/tls.Conn in a file: to their first instructions and to their
// return instructions, because a return probe would crash them. The closer must stay referenced.
func (p *PlainPrograms) Go(file string, target uint32, functions ...Function) (io.Closer, error) {
	var list []where
	for i := range functions {
		f := &functions[i]
		// The ends first: a beginning without them would leave an unfinished call.
		for _, at := range f.Ends {
			list = append(list, where{plainProgPlainGoLeave, at, f.cookie(target), false})
		}
		list = append(list, where{plainProgPlainGoEnter, f.At, f.cookie(target), false})
	}
	return p.attach(file, list...)
}

// Library attaches to functions of a library, and to the one that frees its objects. The
// closer must stay referenced.
func (p *PlainPrograms) Library(file string, target uint32, release uint64, functions ...Function) (io.Closer, error) {
	list := []where{{plainProgPlainRelease, release, target, false}}
	for i := range functions {
		f := &functions[i]
		list = append(list, where{plainProgPlainLeave, f.At, f.cookie(target), true}, where{plainProgPlainEnter, f.At, f.cookie(target), false})
	}
	return p.attach(file, list...)
}
