//go:build linux

// Package loader loads BPF programs, one by one if the kernel refuses any of them, and
// reports why it did.
//
// A refused program never prevents another from loading. The caller decides whether the rest
// is of use.
package loader

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// ErrNoBTF means that the kernel has no description of its own types.
var ErrNoBTF = errors.New("the kernel has no BTF (/sys/kernel/btf/vmlinux)")

// Release is a version of Linux. The zero value is earlier than all others.
type Release struct{ Major, Minor int }

func (r Release) String() string { return fmt.Sprintf("%d.%d", r.Major, r.Minor) }

// Compare orders releases by age.
func (r Release) Compare(o Release) int {
	return cmp.Or(cmp.Compare(r.Major, o.Major), cmp.Compare(r.Minor, o.Minor))
}

// Running is the release of the running kernel, and its full text.
func Running() (Release, string) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return Release{}, "of unknown release"
	}
	text := unix.ByteSliceToString(u.Release[:])
	var r Release
	if n, _ := fmt.Sscanf(text, "%d.%d", &r.Major, &r.Minor); n != 2 {
		return Release{}, text
	}
	return r, text
}

// RefusedError means that this kernel does not accept a program. It does not wrap the error of
// the verifier: that is "permission denied" for any mistake in a program, and would be mistaken
// for missing rights.
type RefusedError struct {
	Program string
	Needs   Release  // the first Linux that has everything the program needs
	Log     []string // last lines of the verifier; none if it was not reached
	Err     error
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("program %s %s", e.Program, e.Reason())
	_, kernel := Running()
	switch {
	case e.explained():
		return text
	case len(e.Log) > 0:
		return fmt.Sprintf("%s: %s", text, strings.Join(e.Log, "; "))
	}
	return fmt.Sprintf("program %s is refused by Linux %s: %v", e.Program, kernel, e.Err)
}

// Reason is the error in a few words, without the program and the verifier's lines.
func (e *RefusedError) Reason() string {
	running, kernel := Running()
	switch {
	case running.Compare(e.Needs) < 0:
		return fmt.Sprintf("needs Linux %s, this is %s", e.Needs, kernel)
	case LockedDown():
		return "reads the kernel's memory, which its lockdown (confidentiality) forbids"
	case len(e.Log) > 0:
		return "is refused by the verifier of Linux " + kernel
	}
	return "is refused by Linux " + kernel
}

// explained reports whether the machine is the reason, and not the program.
func (e *RefusedError) explained() bool {
	running, _ := Running()
	return running.Compare(e.Needs) < 0 || LockedDown()
}

// Lockdown is the file that says how far the kernel protects itself from root.
const Lockdown = "/sys/kernel/security/lockdown"

// LockedDown reports whether no program may read the kernel's memory.
func LockedDown() bool {
	b, err := os.ReadFile(Lockdown)
	return err == nil && strings.Contains(string(b), "[confidentiality]")
}

// Unwrap returns the kernel's error, if the verifier was not reached.
func (e *RefusedError) Unwrap() error {
	if len(e.Log) > 0 {
		return nil
	}
	return e.Err
}

// Refused explains why a program did not load or could not be attached. needs is the first
// Linux that has everything the program needs.
func Refused(program string, needs Release, err error) *RefusedError {
	e := &RefusedError{Program: program, Needs: needs, Err: err}
	if ve, ok := errors.AsType[*ebpf.VerifierError](err); ok {
		if e.Log = lastLines(ve.Log); len(e.Log) == 0 {
			e.Err = ve.Cause
		}
	}
	return e
}

// lastLines are the last lines of the verifier's log, without its statistics.
func lastLines(log []string) []string {
	const most = 3
	var lines []string
	for _, line := range log {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "processed ") || strings.HasPrefix(line, "verification time") || strings.HasPrefix(line, "stack depth") {
			continue
		}
		lines = append(lines, line)
	}
	return lines[max(0, len(lines)-most):]
}

// Programs loads a collection. Programs that the kernel refuses are missing in it and are
// keys of refused. since has the first Linux for programs that need a newer one than the
// others. Maps in replace are used instead of the collection's own.
func Programs(spec *ebpf.CollectionSpec, since map[string]Release, replace map[string]*ebpf.Map) (coll *ebpf.Collection, refused map[string]error, err error) {
	// Needed only before Linux 5.11. If it fails and matters, loading reports it.
	limit := rlimit.RemoveMemlock()
	coll, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	if err == nil {
		return coll, map[string]error{}, nil
	}
	if _, noBTF := btf.LoadKernelSpec(); noBTF != nil {
		return nil, nil, fmt.Errorf("loading programs: %w", ErrNoBTF)
	}
	if errors.Is(err, os.ErrPermission) && limit != nil {
		return nil, nil, fmt.Errorf("loading programs: %w: %w", limit, err)
	}
	return each(spec, since, replace)
}

// each loads the maps, then every program separately.
func each(spec *ebpf.CollectionSpec, since map[string]Release, replace map[string]*ebpf.Map) (*ebpf.Collection, map[string]error, error) {
	bare := spec.Copy()
	clear(bare.Programs)
	coll, err := ebpf.NewCollectionWithOptions(bare, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return nil, nil, fmt.Errorf("loading maps of programs: %w", err)
	}
	refused := map[string]error{}
	for name := range spec.Programs {
		p, err := One(spec, name, coll.Maps)
		if err != nil {
			refused[name] = Refused(name, since[name], err)
			continue
		}
		coll.Programs[name] = p
	}
	return coll, refused, nil
}

// One loads one program of a collection with existing maps.
func One(spec *ebpf.CollectionSpec, name string, onto map[string]*ebpf.Map) (*ebpf.Program, error) {
	one := spec.Copy()
	clear(one.Programs)
	one.Programs[name] = spec.Programs[name].Copy()
	c, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{MapReplacements: maps.Clone(onto)})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.DetachProgram(name), nil
}
