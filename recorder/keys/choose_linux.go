//go:build amd64 || arm64

package keys

import "time"

// walk looks at all processes: at the start, and again from time to time, since events
// may be lost and processes move to other control groups.
func (t *Tracker) walk() {
	t.lastWalk = time.Now()
	all := map[uint32]running{}
	for _, pid := range allProcesses() {
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

// descends tells whether a process is one chosen by number, or comes from one.
func (t *Tracker) descends(r running, all map[uint32]running) bool {
	const deepest = 256 // processes between
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

// consider looks at a process that runs another program now.
func (t *Tracker) consider(pid, parent uint32, file string) {
	old := t.procs[pid]
	byPID := old != nil && old.byPID && old.ended.IsZero()
	if p := t.procs[parent]; p != nil && p.byPID {
		byPID = true
	}
	r, ok := look(pid)
	if !ok {
		// Gone already; what it was is all that can be said.
		if byPID || t.o.Select.matches(file, "") {
			t.put(&process{running: running{pid: pid, parent: parent, exe: file}, byPID: byPID, reason: Gone, ended: time.Now()})
		}
		return
	}
	if start, ok := t.roots[pid]; ok && start == r.start {
		byPID = true
	}
	delete(t.procs, pid) // another program, even where the file has the same name
	t.decide(r, byPID)
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

// decide chooses a process, or takes its choice back.
func (t *Tracker) decide(r running, byPID bool) {
	if r.pid == t.self {
		return
	}
	p := t.procs[r.pid]
	same := p != nil && p.exe == r.exe && p.ended.IsZero() && (p.start == r.start || p.start == 0)
	if !byPID && !t.o.Select.matches(r.exe, r.cgroup) {
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
	p = &process{running: r, byPID: byPID}
	if t.put(p) {
		t.choose(r.pid)
		t.program(p)
	}
}

func (t *Tracker) choose(pid uint32) {
	if err := t.progs.Choose(pid); err != nil {
		t.detail = err.Error()
		if p := t.procs[pid]; p != nil {
			p.reason, p.detail = Refused, err.Error()
		}
	}
}

func (t *Tracker) forget(pid uint32) {
	if err := t.progs.Forget(pid); err != nil {
		t.detail = err.Error()
	}
}

// program attaches to what a process runs.
func (t *Tracker) program(p *process) {
	if x := t.file(procPath(p.pid, "exe")); x != nil {
		p.targets = append(p.targets, x)
		if x.library == Go && x.links != nil {
			return // one program, one TLS; a library that cgo loads is not followed
		}
	}
	for _, f := range usualLibraries(p.pid) {
		t.file(f)
	}
	t.libraries(p)
}

// libraries looks at the files that a process has mapped: often at first, since a dynamic
// linker needs some time, then with each walk.
func (t *Tracker) libraries(p *process) {
	for _, f := range mappedFiles(p.pid) {
		x := t.file(f)
		if x == nil {
			continue
		}
		known := false
		for _, y := range p.targets {
			known = known || x == y
		}
		if !known {
			p.targets = append(p.targets, x)
		}
	}
	waits := []time.Duration{3 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second}
	p.look = time.Now().Add(walkEvery)
	if p.looks < len(waits) {
		p.look = time.Now().Add(waits[p.looks])
	}
	p.looks++
}
