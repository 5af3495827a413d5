package machine

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/bpf"
)

// Process is one program that a process runs. After an exec, the same process runs another one.
type Process struct {
	PID, Parent uint32
	Start       int64 // UTC; of the process
	From        int64 // UTC; start of the program, 0 if it started before the recording
	To          int64 // UTC; 0 while it runs
	UID         int64 // -1 if unknown
	Name        string
	Exe         string // path of the file that runs
	Script      string // path of the script that Exe was started for; ""
	Args        []string
	Cut         bool // Args is incomplete
	Cgroup      uint64
	code        int32
	before      *Process // previous process with this PID
	Written     uint64   // side file that contains it
	bootStart   uint64
}

// Processes knows which process had a PID at a time. It forgets a process some time after its end.
type Processes struct {
	clock *Clock
	mask  func(args []string) []string
	By    map[uint32]*Process
	ended []uint32
}

const maxEnded = 16384 // ended processes that are remembered

// NewProcesses returns an empty list. mask masks the secrets in the command line of a process; without it, every argument
// counts as one.
func NewProcesses(c *Clock, mask func(args []string) []string) *Processes {
	if mask == nil {
		mask = hideArguments
	}
	return &Processes{clock: c, mask: mask, By: map[uint32]*Process{}}
}

// hideArguments hides everything but the name of the program.
func hideArguments(args []string) []string {
	for i := 1; i < len(args); i++ {
		args[i] = "***"
	}
	return args
}

func (t *Processes) Count() int { return len(t.By) }

// Of returns the process that had a PID at a time, nil if it is unknown.
func (t *Processes) Of(pid uint32, at int64) *Process {
	p := t.By[pid]
	for p != nil && p.before != nil && p.From > at {
		p = p.before
	}
	return p
}

func (t *Processes) put(p *Process) {
	if old := t.By[p.PID]; old != nil {
		p.before, old.before = old, nil
	}
	t.By[p.PID] = p
}

// Add applies an event and returns its process.
func (t *Processes) Add(e *bpf.Event) *Process {
	at := t.clock.UTC(e.Time)
	switch e.Kind {
	case bpf.EventFork:
		p := &Process{PID: e.TGID, Parent: e.Parent, Start: t.clock.utcBoot(e.Start), From: at, UID: int64(e.UID), Name: Clean(e.Comm, 64), Cgroup: e.Cgroup, bootStart: e.Start}
		if parent := t.By[e.Parent]; parent != nil {
			p.Exe, p.Script, p.Args, p.Cut = parent.Exe, parent.Script, parent.Args, parent.Cut
		}
		t.put(p)
		return p
	case bpf.EventExec:
		p := &Process{PID: e.TGID, Parent: e.Parent, Start: t.clock.utcBoot(e.Start), From: at, UID: int64(e.UID), Name: Clean(e.Comm, 64), Cgroup: e.Cgroup, bootStart: e.Start}
		p.Exe, p.Script = programOf(e)
		p.Args, p.Cut = t.arguments(e.Args, int(e.ArgsLen) > len(e.Args))
		t.put(p)
		return p
	case bpf.EventMove:
		old := t.By[e.TGID]
		if old == nil || old.Cgroup == e.Cgroup || old.To != 0 {
			return old
		}
		p := *old // the same program, from now on in another group
		p.From, p.Cgroup, p.Written, p.before = at, e.Cgroup, 0, nil
		t.put(&p)
		return &p
	case bpf.EventExit:
		p := t.By[e.TGID]
		if p == nil {
			p = &Process{PID: e.TGID, Parent: e.Parent, Start: t.clock.utcBoot(e.Start), UID: int64(e.UID), Name: Clean(e.Comm, 64), Cgroup: e.Cgroup}
			t.put(p)
		}
		p.To, p.code, p.bootStart = at, e.Code, e.Start
		if p.Cgroup == 0 {
			p.Cgroup = e.Cgroup
		}
		t.ended = append(t.ended, e.TGID)
		t.forget()
		return p
	}
	return t.By[e.TGID]
}

// programOf is the file that runs, and the script that it was started for.
func programOf(e *bpf.Event) (exe, script string) {
	called := e.File
	if !path.IsAbs(called) && e.Cwd != "" {
		called = path.Join(e.Cwd, called)
	}
	switch {
	case e.Exe == "":
		return Clean(called, 512), ""
	case e.Script:
		script = Clean(path.Clean(called), 512)
	}
	return Clean(e.Exe, 512), script
}

// scriptOf finds the script in the arguments of a process: the kernel names the process for it,
// not for the program that runs it.
func scriptOf(p *Process, args []byte, cwd string) string {
	for i, a := range strings.SplitN(string(args), "\x00", 4) {
		if base := path.Base(a); i > 0 && i < 3 && p.Name == base[:min(len(base), 15)] && p.Name != path.Base(p.Exe) {
			if !path.IsAbs(a) {
				a = path.Join(cwd, a)
			}
			return Clean(a, 512)
		}
	}
	return ""
}

// forget removes those that ended first.
func (t *Processes) forget() {
	for ; len(t.ended) > maxEnded; t.ended = t.ended[1:] {
		if old := t.By[t.ended[0]]; old != nil && old.To != 0 {
			delete(t.By, t.ended[0])
		}
	}
}

// Ended reports whether the exit in e is already known.
func (t *Processes) Ended(e *bpf.Event) bool {
	p := t.By[e.TGID]
	return p != nil && p.To != 0 && p.bootStart == e.Start
}

// arguments splits a command line and masks possible secrets in it.
func (t *Processes) arguments(raw []byte, cut bool) ([]string, bool) {
	const most = 64
	var list []string
	for _, a := range bytes.Split(bytes.TrimRight(raw, "\x00"), []byte{0}) {
		if len(list) == most {
			return t.mask(list), true
		}
		list = append(list, Clean(string(a), 512))
	}
	return t.mask(list), cut
}

// Scan reads the running processes at the start, and again after events were lost. Known
// processes that are not running have ended now; programs whose start was not seen started now.
func (t *Processes) Scan(root string) {
	now := int64(t.clock.Now.Real)
	running := map[uint32]bool{}
	const tick = 1e9 / userHz
	for _, pid := range PIDs() {
		is, ok := Look(pid)
		if !ok || is.Ended {
			continue
		}
		start := is.Ticks * tick
		p := &Process{PID: pid, Parent: is.Parent, Start: t.clock.utcBoot(start), UID: -1, Name: Clean(is.Name, 64), bootStart: start}
		running[pid] = true
		if old := t.By[pid]; old != nil {
			switch same := old.bootStart/tick == is.Ticks; {
			case same && old.To == 0 && old.Name == p.Name:
				continue
			case same:
				p.From = now // another program, which started at an unknown time
			default:
				p.From = p.Start
			}
		}
		t.read(p, root)
		t.put(p)
	}
	for pid, p := range t.By {
		if p.To == 0 && !running[pid] && p.From <= now {
			p.To = max(now, 1)
			t.ended = append(t.ended, pid)
		}
	}
	t.forget()
}

// userHz is the time unit in /proc/PID/stat; it is the same on every system.
const userHz = 100

// read reads the parts of a process that are not needed if it is known.
func (t *Processes) read(p *Process, root string) {
	if path := CgroupPath(p.PID); path != "" {
		p.Cgroup, _ = Inode(filepath.Join(root, path))
	}
	p.UID = statusUID(Path(p.PID, "status"))
	if exe, err := Executable(p.PID); err == nil {
		p.Exe = Clean(exe, 512)
	}
	if args, err := os.ReadFile(Path(p.PID, "cmdline")); err == nil && len(args) > 0 {
		p.Args, p.Cut = t.arguments(args[:min(len(args), 1024)], len(args) > 1024)
		cwd, _ := os.Readlink(Path(p.PID, "cwd"))
		p.Script = scriptOf(p, args, cwd)
	}
}

func statusUID(path string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(b)) {
		var real, effective int64
		if n, _ := fmt.Sscanf(line, "Uid: %d %d", &real, &effective); n == 2 {
			return effective
		}
	}
	return -1
}
