package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// firstPIDNamespace has the number PROC_PID_INIT_INO. The kernel's programs report process numbers
// of that namespace.
const firstPIDNamespace = "pid:[4026531836]"

// InFirstPIDs reports whether process numbers mean the same here as in the kernel's programs: this
// process is in the first PID namespace. It returns true if that is unknown.
func InFirstPIDs() bool {
	ns, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || ns == firstPIDNamespace
}

// Running is the state of a process in /proc now.
type Running struct {
	PID, Parent uint32
	Ticks       uint64 // its start since boot, in units of 1/100 s
	Name        string // not cleaned
	Ended       bool   // but its parent has not waited for it yet
}

// Path returns the path of a file of a process in /proc.
func Path(pid uint32, name string) string {
	return "/proc/" + strconv.FormatUint(uint64(pid), 10) + "/" + name
}

// Look reads the state of a process from /proc. It returns false if there is no such process.
func Look(pid uint32) (r Running, ok bool) {
	stat, err := os.ReadFile(Path(pid, "stat"))
	if err != nil {
		return r, false
	}
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return r, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return r, false
	}
	parent, _ := strconv.ParseUint(fields[1], 10, 32)
	r = Running{PID: pid, Parent: uint32(parent), Name: string(stat[open+1 : end]), Ended: fields[0] == "Z" || fields[0] == "X"}
	r.Ticks, _ = strconv.ParseUint(fields[19], 10, 64)
	return r, true
}

// PIDs lists the processes in /proc.
func PIDs() (list []uint32) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		if pid, err := strconv.ParseUint(n, 10, 32); err == nil {
			list = append(list, uint32(pid))
		}
	}
	return list
}

// Executable is the path of the file that a process runs, as the process sees it: from its own root
// directory, if the file is below that. Kernel threads have none.
func Executable(pid uint32) (string, error) {
	exe, err := os.Readlink(Path(pid, "exe"))
	exe = strings.TrimSuffix(exe, " (deleted)")
	if root, err := os.Readlink(Path(pid, "root")); err == nil && root != "/" {
		if below, ok := strings.CutPrefix(exe, root+"/"); ok {
			return "/" + below, nil
		}
	}
	return exe, err
}

// CgroupPath is the path of a process's control group of version 2 below the root; "" if it is
// not known.
func CgroupPath(pid uint32) string {
	b, err := os.ReadFile(Path(pid, "cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			p = strings.TrimRight(p, "\n")
			// Inside a control group namespace, groups outside it have paths relative to its root.
			for strings.HasPrefix(p, "/../") {
				p = p[len("/.."):]
			}
			return p
		}
	}
	return ""
}

// CgroupRoot returns the mount point of control groups version 2. It answers ErrCgroup.
func CgroupRoot() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("looking for control groups: %w", err)
	}
	defer f.Close()
	best := ""
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		// 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
		front, back, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(front)
		if !ok || len(fields) < 5 || !strings.HasPrefix(back, "cgroup2 ") {
			continue
		}
		mount := unescape(fields[4])
		if fields[3] == "/" { // the whole tree rather than a part of it
			return mount, nil
		}
		if best == "" {
			best = mount
		}
	}
	if err := s.Err(); err != nil {
		return "", fmt.Errorf("looking for control groups: %w", err)
	}
	if best == "" {
		return "", fmt.Errorf("looking for control groups: %w in /proc/self/mountinfo", ErrCgroup)
	}
	return best, nil
}
