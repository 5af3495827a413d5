//go:build linux && (amd64 || arm64)

package keys

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"

	"github.com/pcapsule/pcapsule/bpf/internal/loader"
)

// probes attaches the programs of a collection to functions in files.
//
// A probe has a cookie, which identifies the probed function to its program. Before Linux
// 5.15 there are no cookies: each probe then gets a copy of the program that contains the
// cookie as a constant.
type probes struct {
	coll   *ebpf.Collection
	copies *ebpf.CollectionSpec // nil if the kernel has cookies
}

// haveCookies reports whether the kernel supports cookies for probes.
func haveCookies() bool {
	return !errors.Is(features.HaveProgramHelper(ebpf.Kprobe, asm.FnGetAttachCookie), ebpf.ErrNotSupported)
}

// newProbes loads a collection. The second result has the refused programs.
func newProbes(spec *ebpf.CollectionSpec, cookies bool, since map[string]loader.Release, replace map[string]*ebpf.Map) (*probes, map[string]error, error) {
	p := &probes{}
	if !cookies {
		p.copies = spec.Copy()
		for _, ps := range spec.Programs {
			setCookie(ps.Instructions, 0)
		}
	}
	var refused map[string]error
	var err error
	p.coll, refused, err = loader.Programs(spec, since, replace)
	return p, refused, err
}

// setCookie replaces each call for the cookie. The constant has the same size as the call, so
// jumps stay correct.
func setCookie(list asm.Instructions, cookie uint32) {
	for i := range list {
		if list[i].IsBuiltinCall() && asm.BuiltinFunc(list[i].Constant) == asm.FnGetAttachCookie {
			constant := asm.Mov.Imm32(asm.R0, int32(cookie))
			constant.Metadata = list[i].Metadata
			list[i] = constant
		}
	}
}

// where is a place for a probe.
type where struct {
	program string
	at      uint64 // offset in the file
	cookie  uint32
	end     bool // on return of the function
}

// attach puts probes into a file, in order, all or none. The closer must stay referenced,
// because a link that is garbage collected detaches.
func (p *probes) attach(file string, list ...where) (io.Closer, error) {
	x, err := link.OpenExecutable(file)
	if err != nil {
		return nil, err
	}
	var all closers
	for _, w := range list {
		if err := p.attachOne(&all, x, w); err != nil {
			return nil, errors.Join(fmt.Errorf("attaching %s at offset %#x: %w", w.program, w.at, err), all.Close())
		}
	}
	return all, nil
}

func (p *probes) attachOne(all *closers, x *link.Executable, w where) error {
	o := &link.UprobeOptions{Address: w.at, Cookie: uint64(w.cookie)}
	program := p.coll.Programs[w.program]
	if p.copies != nil {
		spec := p.copies.Copy()
		setCookie(spec.Programs[w.program].Instructions, w.cookie)
		own, err := loader.One(spec, w.program, p.coll.Maps)
		if err != nil {
			return loader.Refused(w.program, loader.Release{}, err)
		}
		*all = append(*all, own)
		program, o.Cookie = own, 0
	}
	put := x.Uprobe
	if w.end {
		put = x.Uretprobe
	}
	l, err := put("", program, o)
	if err == nil {
		*all = append(*all, l)
	}
	return err
}

// first is one of the refused programs, always the same one.
func first(refused map[string]error) error {
	var name string
	for n := range refused {
		if name == "" || n < name {
			name = n
		}
	}
	return refused[name]
}

type closers []io.Closer

// Close closes the newest first: a link before its program.
func (c closers) Close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].Close())
	}
	return errors.Join(errs...)
}
