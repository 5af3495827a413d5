//go:build amd64 || arm64

package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
)

// target is a file that was looked at, with what is attached to it.
type target struct {
	id      fileID
	number  uint32
	library Library
	links   io.Closer // nil where nothing is attached
	build   *build
	reason  Reason
	detail  string
	used    time.Time
}

// build is one build of a library: all files with its build id.
type build struct {
	id        string
	library   Library
	layout    layout
	plans     []layout // what plans read, by their number
	proven    bool     // a record opened with the layout
	targets   []*target
	pending   []*sample
	failures  int // objects of captured connections in which nothing was found
	seen      int // objects
	wrong     int // objects since one agreed with the layout
	given     bool
	layoutErr error // of the file in the folder of layouts
}

const (
	maxFiles    = 4096 // looked at and remembered
	keepUnused  = 2 * time.Minute
	maxFailures = 32
)

func machine() uint16 {
	if runtime.GOARCH == "arm64" {
		return machineARM64
	}
	return machineX86
}

var (
	successOf = map[Library]int32{OpenSSL: 1, GnuTLS: 0}
	functions = []struct {
		library            Library
		handshake, release string
	}{{OpenSSL, "SSL_do_handshake", "SSL_free"}, {GnuTLS, "gnutls_handshake", "gnutls_deinit"}}
)

// file looks at a file once and attaches to it. Nil means that it cannot be opened.
func (t *Tracker) file(path string) *target {
	// A device or pipe of a container must not be opened to wait.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	id := fileID{st.Dev, st.Ino, st.Ctim.Nano()}
	if x := t.files[id]; x != nil {
		x.used = time.Now()
		return x
	}
	x := &target{id: id, used: time.Now()}
	if len(t.files) >= maxFiles && !t.sweepFiles(0) {
		x.reason, x.detail = TooMany, fmt.Sprintf("more than %d files", maxFiles)
		return x
	}
	t.files[id] = x
	t.analyse(x, f, st.Size)
	return x
}

func (t *Tracker) analyse(x *target, f *os.File, size int64) {
	m, err := openImage(f, size)
	if err != nil {
		x.reason, x.detail = NoTLS, err.Error()
		return
	}
	if m.machine != machine() {
		x.reason, x.detail = BadVersion, errMachine.Error()
		return
	}
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	at, goErr := m.goTargets()
	if goErr == nil {
		x.library = Go
		t.attach(x, func() (io.Closer, error) { return t.progs.Go(path, x.number, at...) })
		return
	}
	switch {
	case errors.Is(goErr, errNotGo), errors.Is(goErr, errNoTLS):
		x.reason = NoTLS
	case errors.Is(goErr, errGoVersion):
		x.reason = BadVersion
	default:
		x.reason = NoSymbol
	}
	x.detail = goErr.Error()
	for _, l := range functions {
		found, err := m.functions(l.handshake, l.release)
		if len(found) == 0 {
			if err != nil && x.reason == NoTLS {
				x.reason, x.detail = NoSymbol, err.Error()
			}
			continue
		}
		t.library(x, m, path, l.library, found[l.handshake], found[l.release])
		return
	}
}

func (t *Tracker) library(x *target, m *image, path string, l Library, handshake, release uint64) {
	x.library = l
	h, ok1 := m.offset(handshake, true)
	r, ok2 := m.offset(release, true)
	if !ok1 || !ok2 || handshake == 0 || release == 0 {
		x.reason, x.detail = NoSymbol, "one of its functions is missing"
		return
	}
	id, err := m.buildID()
	if err != nil {
		x.reason, x.detail = NoSymbol, err.Error()
		return
	}
	t.attach(x, func() (io.Closer, error) { return t.progs.Library(path, x.number, h, r) })
	if x.links == nil {
		return
	}
	key := l.String() + id
	b := t.builds[key]
	if b == nil {
		b = &build{id: id, library: l}
		t.builds[key] = b
		if t.o.Layouts != "" {
			if known, err := readLayout(t.o.Layouts, l, id); err == nil {
				b.layout, b.given = *known, true
			} else if !errors.Is(err, os.ErrNotExist) {
				b.layoutErr = err
			}
		}
	}
	x.build = b
	b.targets = append(b.targets, x)
	t.replan(b)
}

// replan tells the programs how objects of a build are read.
func (t *Tracker) replan(b *build) {
	plan := bpf.Plan{Mode: bpf.Whole, Success: successOf[b.library]}
	switch {
	case b.failures >= maxFailures && !b.proven:
		plan.Mode = bpf.Off
	case b.proven || b.given:
		b.plans = append(b.plans, b.layout)
		plan = b.layout.plan(plan.Success, uint32(len(b.plans)-1))
	}
	for _, x := range b.targets {
		if err := t.progs.Set(x.number, plan); err != nil {
			x.reason, x.detail = Refused, err.Error()
		}
	}
}

func (t *Tracker) attach(x *target, do func() (io.Closer, error)) {
	n, ok := t.number()
	if !ok {
		x.reason, x.detail = TooMany, fmt.Sprintf("more than %d files with probes", bpf.MaxTargets)
		return
	}
	x.number = n
	links, err := do()
	if err != nil {
		x.reason, x.detail = Refused, err.Error()
		t.free = append(t.free, n)
		return
	}
	x.links, x.reason, x.detail = links, NoHandshake, ""
	t.targets[n] = x
}

func (t *Tracker) number() (uint32, bool) {
	if t.next < bpf.MaxTargets {
		t.next++
		return t.next - 1, true
	}
	if len(t.free) == 0 {
		return 0, false
	}
	n := t.free[0] // the one that was let go first: its events are long gone
	t.free = t.free[1:]
	return n, true
}

// detach takes the probes off a file.
func (t *Tracker) detach(x *target) {
	delete(t.files, x.id)
	if x.links == nil {
		return
	}
	// The kernel waits for all CPUs before a probe is gone, which takes up to a tenth of a
	// second; events must not wait for that.
	t.closing.Go(func() { x.links.Close() })
	delete(t.targets, x.number)
	t.free = append(t.free, x.number)
	if b := x.build; b != nil {
		for i, y := range b.targets {
			if x == y {
				b.targets = append(b.targets[:i], b.targets[i+1:]...)
				break
			}
		}
	}
}

// sweepFiles lets go of files that no chosen process was seen with for a time. It tells
// whether it found any.
func (t *Tracker) sweepFiles(unused time.Duration) bool {
	inUse := map[*target]bool{}
	for _, p := range t.procs {
		if p.ended.IsZero() {
			for _, x := range p.targets {
				inUse[x] = true
			}
		}
	}
	found := false
	for _, x := range t.files {
		if !inUse[x] && time.Since(x.used) >= unused {
			t.detach(x)
			found = true
		}
	}
	return found
}
