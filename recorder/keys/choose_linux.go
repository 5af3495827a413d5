//go:build amd64 || arm64

package keys

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
)

// walk looks at all processes, at the start and then periodically, because events can be
// lost and processes can move to other control groups.
func (t *Tracker) walk() {
	t.lastWalk = time.Now()
	all := map[uint32]running{}
	for _, pid := range machine.PIDs() {
		if r, ok := look(pid); ok {
			all[pid] = r
		}
	}
	for pid, p := range t.procs {
		if r, ok := all[pid]; !ok || r.start != p.start && p.start != 0 {
			if p.ended.IsZero() {
				p.ended = t.lastWalk
			} else if t.lastWalk.Sub(p.ended) > keepEnded {
				delete(t.procs, pid)
			}
			if !ok {
				t.forget(pid)
			}
		}
	}
	for _, r := range all {
		t.decide(r, t.descends(r, all))
	}
}

// descends reports whether a process was chosen by number, or descends from one that was.
func (t *Tracker) descends(r running, all map[uint32]running) bool {
	const deepest = 256 // generations
	for range deepest {
		if start, ok := t.roots[r.pid]; ok && start == r.start {
			return true
		}
		if p := t.procs[r.pid]; p != nil && p.byPID && p.start == r.start {
			return true
		}
		parent, ok := all[r.parent]
		if !ok || r.parent == r.pid {
			return false
		}
		r = parent
	}
	return false
}

// consider handles a process that has executed another program.
func (t *Tracker) consider(e *bpf.Event) {
	pid, parent, file := e.TGID, e.Parent, e.File
	old := t.procs[pid]
	byPID := old != nil && old.byPID && old.ended.IsZero()
	if p := t.procs[parent]; p != nil && p.byPID {
		byPID = true
	}
	r, ok := look(pid)
	if !ok {
		// The process has ended, so only the event describes it. What a probe has read of it
		// follows this event.
		if r.cgroup = t.groups[e.Cgroup]; (byPID || t.o.Select.matches(file, r.cgroup)) && !t.o.Select.never(pid, file, r.cgroup) {
			t.put(&process{running: running{pid: pid, parent: parent, exe: file, cgroup: r.cgroup}, byPID: byPID, reason: Gone, detail: "it ended before its files were examined", ended: time.Now()})
		}
		return
	}
	if start, ok := t.roots[pid]; ok && start == r.start {
		byPID = true
	}
	_, before := t.groups[e.Cgroup]
	t.group(e.Cgroup, r.cgroup)
	delete(t.procs, pid) // another program, even if the file has the same name
	t.decide(r, byPID)
	if p := t.procs[pid]; p != nil && (before || old != nil) {
		p.chosen = 0 // the kernel did it at once
	}
}

func (t *Tracker) put(p *process) bool {
	if t.procs[p.pid] == nil && len(t.procs) >= maxProcesses {
		for pid, old := range t.procs {
			if !old.ended.IsZero() {
				delete(t.procs, pid)
			}
		}
		if len(t.procs) >= maxProcesses {
			t.detail = string(TooMany)
			return false
		}
	}
	t.procs[p.pid] = p
	return true
}

// decide chooses a process, or revokes the choice.
func (t *Tracker) decide(r running, byPID bool) {
	if r.pid == t.self {
		return
	}
	p := t.procs[r.pid]
	same := p != nil && p.exe == r.exe && p.ended.IsZero() && (p.start == r.start || p.start == 0)
	if !byPID && !t.o.Select.matches(r.exe, r.cgroup) || t.o.Select.never(r.pid, r.exe, r.cgroup) {
		if p != nil && p.ended.IsZero() {
			delete(t.procs, r.pid)
		}
		t.forget(r.pid)
		return
	}
	if same {
		p.running, p.byPID = r, byPID
		t.choose(r.pid)
		return
	}
	p = &process{running: r, byPID: byPID, look: time.Now(), chosen: t.utc(monotonic())}
	if t.put(p) {
		t.choose(r.pid)
		t.wake()
	}
}

// group records the number of a control group.
func (t *Tracker) group(id uint64, path string) {
	if _, ok := t.groups[id]; ok || path == "" || !t.o.Select.byGroup() || len(t.groups) >= bpf.MaxGroups {
		return
	}
	t.groups[id] = path
	if t.o.Select.matches("", path) {
		if err := t.progs.ChooseGroup(id); err != nil {
			t.detail = err.Error()
		}
	}
}

// walkGroups records the chosen control groups that exist, and forgets those that no longer
// do.
func (t *Tracker) walkGroups() {
	if t.hierarchy == "" || !t.o.Select.byGroup() {
		return
	}
	existing := map[uint64]string{}
	roots := t.o.Select.Cgroups
	if t.o.Select.Workload != nil {
		roots = []string{"/"}
	}
	for _, c := range roots {
		filepath.WalkDir(filepath.Join(t.hierarchy, c), func(path string, d fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err != nil || !d.IsDir() || unix.Lstat(path, &st) != nil {
				return nil
			}
			if len(existing) >= bpf.MaxGroups {
				return fs.SkipAll
			}
			// The workload of a group may become known later, or change.
			if name := strings.TrimPrefix(path, t.hierarchy); t.o.Select.Workload == nil || t.o.Select.matches("", name) {
				existing[st.Ino] = name
			}
			return nil
		})
	}
	for id, path := range t.groups {
		if existing[id] != path {
			delete(t.groups, id)
			if err := t.progs.ForgetGroup(id); err != nil {
				t.detail = err.Error()
			}
		}
	}
	for id, path := range existing {
		t.group(id, path)
	}
}

func (t *Tracker) choose(pid uint32) {
	if err := t.progs.Choose(pid); err != nil {
		t.detail = err.Error()
		if p := t.procs[pid]; p != nil {
			p.reason, p.detail = Refused, err.Error()
			if errors.Is(err, unix.E2BIG) {
				p.reason, p.detail = TooMany, "the kernel follows no more processes"
			}
		}
	}
}

func (t *Tracker) forget(pid uint32) {
	if err := t.progs.Forget(pid); err != nil {
		t.detail = err.Error()
	}
}

// wake makes the attaching goroutine look for work.
func (t *Tracker) wake() {
	select {
	case t.work <- struct{}{}:
	default:
	}
}

// attaching examines the files of processes in a separate goroutine, because attaching
// takes milliseconds.
func (t *Tracker) attaching() {
	defer t.done.Done()
	for {
		wait := t.attachDue()
		select {
		case <-t.stop:
			return
		case <-t.work:
		case <-time.After(wait):
		}
	}
}

// attachDue examines the files of all processes that are due, and returns the time until the
// next one is.
func (t *Tracker) attachDue() time.Duration {
	for {
		t.mu.Lock()
		now := time.Now()
		next := now.Add(time.Second)
		var due *process
		for _, p := range t.procs {
			if p.look.IsZero() || !p.ended.IsZero() {
				continue
			}
			if !p.look.After(now) && (due == nil || p.look.Before(due.look)) {
				due = p
			}
			if p.look.Before(next) {
				next = p.look
			}
		}
		if due == nil {
			t.mu.Unlock()
			return next.Sub(now)
		}
		pid, first := due.pid, due.looks == 0
		due.plan()
		t.mu.Unlock()
		t.program(due, pid, first)
	}
}

// plan sets when a process is examined again: often at first, because a dynamic linker needs
// some time, then occasionally.
func (p *process) plan() {
	waits := [...]time.Duration{3 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second}
	wait := walkEvery
	if p.looks < len(waits) {
		wait = waits[p.looks]
	}
	p.look = time.Now().Add(wait)
	p.looks++
}

// program attaches to the files that a process runs.
func (t *Tracker) program(p *process, pid uint32, first bool) {
	if first {
		x, err := t.file(machine.Path(pid, "exe"), true)
		if t.runs(p, x, err) {
			return
		}
		for _, f := range usualLibraries(pid) {
			t.file(f, false)
		}
	}
	at := t.utc(monotonic())
	list, err := mappedFiles(pid)
	for _, f := range list {
		x, fileErr := t.file(f, false)
		if t.runs(p, x, fileErr) {
			return
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && len(list) > 0 { // a process that has ended maps nothing
		p.looked = at
	}
}

// runs records that a process runs a file. It returns true if no other file need be examined:
// a Go program has one TLS implementation, and a library that cgo loads is not followed.
func (t *Tracker) runs(p *process, x *target, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(err, fs.ErrPermission) {
		p.closed = err.Error()
	}
	if x == nil {
		return false
	}
	if !slices.Contains(p.targets, x) {
		p.targets = append(p.targets, x)
	}
	if x.library == Go && x.links != nil {
		p.look = time.Time{}
		return true
	}
	return false
}
