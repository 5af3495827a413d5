package recorder

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/bpf"
)

// process is one program that ran: exec begins another in the same process.
type process struct {
	pid, parent uint32
	start       int64 // UTC; of the process
	from        int64 // UTC; since when it is this program, 0 where that is before the recording
	to          int64 // UTC; 0 while it runs
	uid         int64 // -1 where not known
	name        string
	exe         string
	args        []string
	cut         bool // args are longer
	cgroup      uint64
	code        int32
	before      *process // that had the number before
	told        uint64   // side file that has it
	bootStart   uint64
}

// processes knows who had a number at a time, also for a while after the end.
type processes struct {
	clock *clock
	by    map[uint32]*process
	ended []uint32
}

const maxEnded = 16384 // processes that are remembered after their end

func newProcesses(c *clock) *processes { return &processes{clock: c, by: map[uint32]*process{}} }

func (t *processes) count() int { return len(t.by) }

// of returns who had a number at a time, nil where nobody is known.
func (t *processes) of(pid uint32, at int64) *process {
	p := t.by[pid]
	for p != nil && p.before != nil && p.from > at {
		p = p.before
	}
	return p
}

func (t *processes) put(p *process) {
	if old := t.by[p.pid]; old != nil {
		p.before, old.before = old, nil
	}
	t.by[p.pid] = p
}

// take learns from an event.
func (t *processes) take(e *bpf.Event) *process {
	at := t.clock.utc(e.Time)
	switch e.Kind {
	case bpf.EventFork:
		p := &process{pid: e.TGID, parent: e.Parent, start: t.clock.utcBoot(e.Start), from: at, uid: int64(e.UID), name: clean(e.Comm, 64), cgroup: e.Cgroup, bootStart: e.Start}
		if parent := t.by[e.Parent]; parent != nil {
			p.exe, p.args, p.cut = parent.exe, parent.args, parent.cut
		}
		t.put(p)
		return p
	case bpf.EventExec:
		p := &process{pid: e.TGID, parent: e.Parent, start: t.clock.utcBoot(e.Start), from: at, uid: int64(e.UID), name: clean(e.Comm, 64), exe: clean(e.File, 512), cgroup: e.Cgroup, bootStart: e.Start}
		p.args, p.cut = arguments(e.Args, int(e.ArgsLen) > len(e.Args))
		t.put(p)
		return p
	case bpf.EventMove:
		old := t.by[e.TGID]
		if old == nil || old.cgroup == e.Cgroup || old.to != 0 {
			return old
		}
		p := *old // the same program, in another group from now on
		p.from, p.cgroup, p.told, p.before = at, e.Cgroup, 0, nil
		t.put(&p)
		return &p
	case bpf.EventExit:
		p := t.by[e.TGID]
		if p == nil {
			p = &process{pid: e.TGID, parent: e.Parent, start: t.clock.utcBoot(e.Start), uid: int64(e.UID), name: clean(e.Comm, 64), cgroup: e.Cgroup}
			t.put(p)
		}
		p.to, p.code = at, e.Code
		if p.cgroup == 0 {
			p.cgroup = e.Cgroup
		}
		t.ended = append(t.ended, e.TGID)
		if len(t.ended) > maxEnded {
			if old := t.by[t.ended[0]]; old != nil && old.to != 0 {
				delete(t.by, t.ended[0])
			}
			t.ended = t.ended[1:]
		}
		return p
	}
	return t.by[e.TGID]
}

// arguments splits a command line and masks what may be secret in it.
func arguments(raw []byte, cut bool) ([]string, bool) {
	const most = 64
	var list []string
	for _, a := range bytes.Split(bytes.TrimRight(raw, "\x00"), []byte{0}) {
		if len(list) == most {
			return maskArguments(list), true
		}
		list = append(list, clean(string(a), 512))
	}
	return maskArguments(list), cut
}

// scan learns who runs already. What has ended in between is left out.
func (t *processes) scan(root string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return // events tell of new ones
	}
	ticks := int64(1e9) / userHz
	for _, d := range entries {
		pid, err := strconv.ParseUint(d.Name(), 10, 32)
		if err != nil {
			continue
		}
		if _, ok := t.by[uint32(pid)]; ok {
			continue
		}
		stat, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		fields := []string(nil)
		if open > 0 && end > open {
			fields = strings.Fields(string(stat[end+1:]))
		}
		if len(fields) < 20 {
			continue
		}
		parent, _ := strconv.ParseUint(fields[1], 10, 32)
		start, _ := strconv.ParseInt(fields[19], 10, 64)
		p := &process{pid: uint32(pid), parent: uint32(parent), start: t.clock.utcBoot(uint64(start * ticks)), uid: -1, name: clean(string(stat[open+1:end]), 64)}
		p.cgroup = groupOf("/proc/"+d.Name()+"/cgroup", root)
		var st = statusUID("/proc/" + d.Name() + "/status")
		p.uid = st
		if exe, err := os.Readlink("/proc/" + d.Name() + "/exe"); err == nil {
			p.exe = clean(exe, 512)
		}
		if args, err := os.ReadFile("/proc/" + d.Name() + "/cmdline"); err == nil && len(args) > 0 {
			p.args, p.cut = arguments(args[:min(len(args), 1024)], len(args) > 1024)
		}
		t.put(p)
	}
}

// userHz is the unit of times in /proc/PID/stat; it is the same on every system.
const userHz = 100

// groupOf is the control group that a process is in, 0 where it is not told.
func groupOf(file, root string) uint64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			id, _ := inode(filepath.Join(root, path))
			return id
		}
	}
	return 0
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
