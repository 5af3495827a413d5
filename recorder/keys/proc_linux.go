package keys

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// running is the kernel's description of a process.
type running struct {
	pid, parent uint32
	start       uint64 // clock ticks since boot
	exe         string
	cgroup      string
}

func procPath(pid uint32, name string) string {
	return "/proc/" + strconv.FormatUint(uint64(pid), 10) + "/" + name
}

// look reads /proc/PID. It returns false if the process has ended or is a kernel thread.
func look(pid uint32) (r running, ok bool) {
	r.pid = pid
	stat, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return r, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return r, false
	}
	parent, _ := strconv.ParseUint(fields[1], 10, 32)
	r.parent = uint32(parent)
	r.start, _ = strconv.ParseUint(fields[19], 10, 64)
	if r.exe, err = os.Readlink(procPath(pid, "exe")); err != nil {
		return r, false
	}
	r.exe = strings.TrimSuffix(r.exe, " (deleted)")
	r.cgroup = cgroupOf(pid)
	return r, true
}

func cgroupOf(pid uint32) string {
	b, err := os.ReadFile(procPath(pid, "cgroup"))
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

// hierarchyOf finds the mount point of the control groups of version 2.
func hierarchyOf() string {
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
}

func allProcesses() []uint32 {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var pids []uint32
	for _, n := range names {
		if pid, err := strconv.ParseUint(n, 10, 32); err == nil {
			pids = append(pids, uint32(pid))
		}
	}
	return pids
}

// fileID identifies a file while it is open.
type fileID struct {
	dev, ino uint64
	changed  int64
}

const maxMapped = 512 // files of one process that are examined

// mappedFiles returns paths for opening the files whose code a process runs.
func mappedFiles(pid uint32) []string {
	f, err := os.Open(procPath(pid, "maps"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []string
	seen := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan() && len(out) < maxMapped; {
		// 7f00-7f01 r-xp offset dev inode path
		line := strings.Fields(s.Text())
		if len(line) < 6 || len(line[1]) < 3 || line[1][2] != 'x' || line[4] == "0" || seen[line[3]+" "+line[4]] {
			continue
		}
		seen[line[3]+" "+line[4]] = true
		// The link leads to the file itself, even if its path is in another mount namespace or
		// was replaced.
		out = append(out, procPath(pid, "map_files/"+line[0]))
	}
	return out
}

// usualLibraries returns libraries that a process may load later: a probe attached after
// that would miss the first handshake of a short process. A link that leads out of the
// process's root yields a file of another root, which is harmless.
func usualLibraries(pid uint32) []string {
	root := procPath(pid, "root")
	var out []string
	for _, dir := range []string{"/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/", "/lib/aarch64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/",
		"/lib/", "/usr/lib/", "/lib64/", "/usr/lib64/", "/usr/local/lib/", "/usr/local/lib64/"} {
		for _, name := range []string{"libssl.so.3", "libssl.so.1.1", "libgnutls.so.30"} {
			if st, err := os.Stat(root + dir + name); err == nil && st.Mode().IsRegular() {
				out = append(out, root+dir+name)
			}
		}
	}
	return out
}

// readMemory reads another process's memory, including pages that it has not touched.
func readMemory(pid uint32, at uint64, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	n, err := unix.ProcessVMReadv(int(pid), []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	return err == nil && n == len(b)
}
