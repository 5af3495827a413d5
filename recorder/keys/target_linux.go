//go:build amd64 || arm64

package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/internal/program"
)

// target is an examined file and the probes on it.
type target struct {
	id      fileID
	number  uint32
	library Library
	links   io.Closer // nil if nothing is attached
	build   *build
	reason  Reason
	detail  string
	used    time.Time
	since   int64 // when the probes were attached, UTC, ns
	alone   bool  // a program that loads no libraries
}

// build is one build of a library: all files with its build id.
type build struct {
	id       string
	library  Library
	layout   layout
	plans    []layout // of plans, by their number
	proven   bool     // a record opened with the layout
	targets  []*target
	pending  []*sample
	failures int  // objects of captured connections in which nothing was found
	seen     int  // objects
	wrong    int  // objects since the layout last fitted one
	loaded   bool // from a file of an earlier run
}

const (
	maxFiles    = 4096 // examined and remembered
	keepUnused  = 2 * time.Minute
	maxFailures = 32
)

type names struct {
	library            Library
	handshake, release string
	plain              []plainName
}

// plainName is a function that sends or receives plaintext.
type plainName struct {
	name      string
	write, ex bool
}

func functions() []names {
	return []names{
		{OpenSSL, "SSL_do_handshake", "SSL_free", []plainName{{"SSL_read", false, false}, {"SSL_write", true, false}, {"SSL_read_ex", false, true}, {"SSL_write_ex", true, true}}},
		{GnuTLS, "gnutls_handshake", "gnutls_deinit", []plainName{{"gnutls_record_recv", false, false}, {"gnutls_record_send", true, false}}},
	}
}

// success is the return value of the handshake function on completion.
func (l Library) success() int32 {
	if l == OpenSSL {
		return 1
	}
	return 0 // GNUTLS_E_SUCCESS
}

// found lists the places in a file to which probes can be attached.
type found struct {
	library            Library
	at                 []uint64 // key log functions of Go
	handshake, release uint64
	build              string
	plain              []bpf.Function // that send or receive plaintext
}

// file examines a file once and attaches to it. Nil means that it cannot be opened, or is not a
// plain file. Only one goroutine attaches.
func (t *Tracker) file(path string, isProgram bool) (*target, error) {
	// Opening a device or pipe of a container must not block.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, err
	}
	id := fileID{st.Dev, st.Ino, st.Ctim.Nano()}
	t.mu.Lock()
	x := t.files[id]
	if x == nil && len(t.files) >= maxFiles && !t.sweepFiles(0) {
		x = &target{reason: TooMany, detail: fmt.Sprintf("the limit of %d files is reached", maxFiles)}
	}
	if x != nil {
		x.used = time.Now()
		t.mu.Unlock()
		return x, nil
	}
	t.mu.Unlock()
	x = &target{id: id, used: time.Now()}
	what, reason, detail := analyse(f, st.Size, t.plain != nil)
	switch {
	case reason == "":
		reason, detail = t.attach(x, what, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		x.since = t.utc(monotonic())
	case reason == NoTLS:
		if other := otherTLS(f, st.Size, path, isProgram); other != "" {
			reason, detail = BadVersion, other+" is not supported"
		}
		if m, err := program.Open(f, st.Size); err == nil {
			x.alone = isProgram && !m.Linked
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x.reason, x.detail = reason, detail
	t.files[id] = x
	return x, nil
}

// analyse finds what probes for keys, or for plaintext, can be attached to, or says why there
// is nothing.
func analyse(f io.ReaderAt, size int64, plain bool) (w found, reason Reason, detail string) {
	m, err := program.Open(f, size)
	if errors.Is(err, program.Err32Bit) {
		return w, BadVersion, err.Error()
	}
	if err != nil {
		return w, NoTLS, err.Error()
	}
	if !m.ForThisMachine() {
		return w, BadVersion, program.ErrMachine.Error()
	}
	var goErr error
	if w.library = Go; plain {
		w.plain, goErr = goPlain(m)
	} else {
		w.at, goErr = goTargets(m)
	}
	if goErr == nil {
		return w, "", ""
	}
	switch {
	case errors.Is(goErr, program.ErrNotGo), errors.Is(goErr, errNoTLS):
		reason = NoTLS
	case errors.Is(goErr, program.ErrGoVersion):
		reason = BadVersion
	default:
		reason = NoSymbol
	}
	detail = goErr.Error()
	for _, l := range functions() {
		w, why, text := libraryOf(m, &l, plain)
		switch {
		case w.library != Unknown:
			return w, "", ""
		case why == "" || reason != NoTLS:
		default:
			reason, detail = why, text
		}
	}
	return found{}, reason, detail
}

// libraryOf finds the functions of a library. If the file has none of them, reason is empty.
func libraryOf(m *program.File, l *names, plain bool) (w found, reason Reason, detail string) {
	want := []string{l.handshake, l.release}
	if plain {
		for _, p := range l.plain {
			want = append(want, p.name)
		}
	}
	at, err := m.Functions(want...)
	if len(at) == 0 {
		if err != nil {
			return w, NoSymbol, err.Error()
		}
		return w, "", ""
	}
	h, ok1 := m.Offset(at[l.handshake])
	r, ok2 := m.Offset(at[l.release])
	if !ok1 || !ok2 {
		return w, NoSymbol, "a function of the library is missing"
	}
	w = found{handshake: h, release: r}
	for _, p := range l.plain {
		if off, ok := m.Offset(at[p.name]); ok && plain {
			w.plain = append(w.plain, bpf.Function{At: off, Write: p.write, Ex: p.ex})
		}
	}
	if plain && len(w.plain) < 2 {
		return w, NoSymbol, "the library's functions that read and write are missing"
	}
	if w.build, err = m.BuildID(); err != nil {
		return w, NoSymbol, err.Error()
	}
	w.library = l.library
	return w, "", ""
}

// attach puts probes on a file. It registers the target first, because events may arrive immediately.
func (t *Tracker) attach(x *target, w found, path string) (Reason, string) {
	t.mu.Lock()
	n, ok := t.number()
	if !ok {
		t.mu.Unlock()
		return TooMany, fmt.Sprintf("the limit of %d files with probes is reached", bpf.MaxTargets)
	}
	x.number, x.library = n, w.library
	t.targets[n] = x
	if w.library != Go && t.plain == nil {
		t.join(x, w)
	}
	t.mu.Unlock()
	var links io.Closer
	var err error
	switch {
	case t.plain != nil && w.library == Go:
		links, err = t.plain.Go(path, n, w.plain...)
	case t.plain != nil:
		links, err = t.plain.Library(path, n, w.release, w.plain...)
	case w.library == Go:
		links, err = t.progs.Go(path, n, w.at...)
	default:
		links, err = t.progs.Library(path, n, w.handshake, w.release)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.leave(x)
		return Refused, err.Error()
	}
	x.links = links
	return NoHandshake, ""
}

// join adds a file to the files of its build.
func (t *Tracker) join(x *target, w found) {
	key := w.library.String() + w.build
	b := t.builds[key]
	if b == nil {
		b = &build{id: w.build, library: w.library}
		t.builds[key] = b
		if t.o.Layouts != "" {
			if known, err := readLayout(t.o.Layouts, w.library, w.build); err == nil {
				b.layout, b.loaded = *known, true
			} else if !errors.Is(err, os.ErrNotExist) {
				t.detail = err.Error()
			}
		}
	}
	x.build = b
	b.targets = append(b.targets, x)
	t.replan(b)
}

// leave unregisters a file from events.
func (t *Tracker) leave(x *target) {
	delete(t.targets, x.number)
	t.free = append(t.free, x.number)
	if b := x.build; b != nil {
		b.targets = slices.DeleteFunc(b.targets, func(y *target) bool { return x == y })
	}
}

// replan sets how the programs read objects of a build.
func (t *Tracker) replan(b *build) {
	plan := bpf.Plan{Mode: bpf.Whole, Success: b.library.success()}
	switch {
	case b.failures >= maxFailures && !b.proven:
		plan.Mode = bpf.Off
	case b.proven || b.loaded:
		b.plans = append(b.plans, b.layout)
		plan = b.layout.plan(plan.Success, uint32(len(b.plans)-1))
	}
	for _, x := range b.targets {
		if err := t.progs.Set(x.number, plan); err != nil {
			x.reason, x.detail = Refused, err.Error()
		}
	}
}

func (t *Tracker) number() (uint32, bool) {
	if t.next < bpf.MaxTargets {
		t.next++
		return t.next - 1, true
	}
	if len(t.free) == 0 {
		return 0, false
	}
	n := t.free[0] // the one that was released first: its events have all been handled
	t.free = t.free[1:]
	return n, true
}

// detach removes the probes from a file.
func (t *Tracker) detach(x *target) {
	delete(t.files, x.id)
	if x.links == nil {
		return
	}
	// The kernel waits for all CPUs before a probe is removed, which takes up to a
	// second; events must not wait for that.
	links := x.links
	x.links = nil
	t.closing.Go(func() { links.Close() })
	t.leave(x)
}

// sweepFiles detaches files that no chosen process has used for a time. It reports whether
// it found any.
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
