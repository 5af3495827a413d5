package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// ErrUnconfined means that the kernel lacks what confines another program.
var ErrUnconfined = errors.New("this kernel cannot confine it: Landlock and seccomp are needed")

// systemFiles are what a program needs to start: libraries, and the list of them.
var systemFiles = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"}

// dataFiles are data that libraries of YARA read.
var dataFiles = []string{"/usr/share/misc", "/usr/share/file", "/etc/magic", "/dev/null"}

// Become drops all rights of this process that the program does not need, and becomes it. It returns only an error. Unlike a
// worker, the program does not run without these limits.
func Become(p *Program) error {
	if version, seccomp := Features(); version == 0 || !seccomp {
		return ErrUnconfined
	}
	path, err := filepath.EvalSymlinks(p.Path)
	if err != nil {
		return err
	}
	for which, n := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_NOFILE: 64, unix.RLIMIT_CPU: p.Seconds, unix.RLIMIT_DATA: uint64(p.Memory)} {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("limiting its resources: %w", err)
		}
	}
	const read, run = ll.AccessFSReadFile | ll.AccessFSReadDir, ll.AccessFSExecute
	rules := []landlock.Rule{landlock.PathAccess(ll.AccessFSReadFile|run, path)}
	add := func(access landlock.AccessFSSet, list []string) {
		for _, name := range list {
			info, err := os.Stat(name)
			if err != nil {
				continue
			}
			allowed := access
			if !info.IsDir() {
				allowed &^= ll.AccessFSReadDir
			}
			rules = append(rules, landlock.PathAccess(allowed, name))
		}
	}
	add(read|run, systemFiles)
	add(read, dataFiles)
	add(read, p.Read)
	if err := landlock.V10.BestEffort().RestrictPaths(rules...); err != nil {
		return fmt.Errorf("confining its files: %w", err)
	}
	if err := landlock.V10.BestEffort().RestrictNet(); err != nil {
		return fmt.Errorf("confining its network: %w", err)
	}
	filter, err := callFilter(runtime.GOARCH, uint32(os.Getpid()), unix.SYS_EXECVE)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := setFilter(filter); err != nil {
		return fmt.Errorf("confining its system calls: %w", err)
	}
	return syscall.Exec(path, append([]string{p.Path}, p.Args...), []string{"LANG=C"})
}
