package keys

import (
	"bufio"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
)

// running is the kernel's description of a process.
type running struct {
	pid, parent uint32
	start       uint64 // clock ticks since boot
	exe         string
	cgroup      string
}

// look reads /proc/PID. It returns false if the process has ended or is a kernel thread.
func look(pid uint32) (r running, ok bool) {
	is, ok := machine.Look(pid)
	if !ok {
		return r, false
	}
	exe, err := machine.Executable(pid)
	return running{pid: pid, parent: is.Parent, start: is.Ticks, exe: exe, cgroup: machine.CgroupPath(pid)}, err == nil
}

// fileID identifies a file while it is open.
type fileID struct {
	dev, ino uint64
	changed  int64
}

const maxMapped = 512 // files of one process that are examined

// mappedFiles returns paths for opening the files whose code a process runs.
func mappedFiles(pid uint32) (out []string, err error) {
	f, err := os.Open(machine.Path(pid, "maps"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
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
		out = append(out, machine.Path(pid, "map_files/"+line[0]))
	}
	return out, nil
}

// usualLibraries returns libraries that a process may load later: a probe attached after
// that would miss the first handshake of a short process. A link that leads out of the
// process's root yields a file of another root, which is harmless.
func usualLibraries(pid uint32) []string {
	root := machine.Path(pid, "root")
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
