// Package confine drops the rights of a database worker. It does not need the database, so that a program can
// report what confines its workers without linking it.
package confine

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Worker permanently drops all rights of this process that a query does not need. Features that the kernel
// lacks are skipped, see Features; a feature that fails is an error.
func Worker(o *wire.Settings) error {
	// The program ends its worker; Ctrl-C is meant for the program.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	limits := map[int]uint64{unix.RLIMIT_CORE: 0} // a core file would hold captured text
	if o.Data > 0 {
		limits[unix.RLIMIT_DATA] = uint64(o.Data)
	}
	for which, n := range limits {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("limiting the worker's resources: %w", err)
		}
	}
	if err := confineFiles(o); err != nil {
		return fmt.Errorf("confining the worker's files: %w", err)
	}
	if err := confineCalls(); err != nil {
		return fmt.Errorf("confining the worker's system calls: %w", err)
	}
	return nil
}

// limitFiles have the CPU and memory limits of the process. DuckDB aborts if such a file exists but
// cannot be read.
var limitFiles = []string{"/proc/self/cgroup", "/proc/self/mountinfo"}

const limitDir = "/sys/fs/cgroup"

// confineFiles allows reading below Dirs and writing below Temp, and denies TCP.
func confineFiles(o *wire.Settings) error {
	rules := []landlock.Rule{
		landlock.PathAccess(ll.AccessFSReadFile, limitFiles...).IgnoreIfMissing(),
		landlock.PathAccess(ll.AccessFSReadFile|ll.AccessFSReadDir, limitDir).IgnoreIfMissing(),
	}
	if len(o.Dirs) > 0 {
		rules = append(rules, landlock.PathAccess(ll.AccessFSReadFile|ll.AccessFSReadDir, o.Dirs...).IgnoreIfMissing())
	}
	if listed := listedDirs(o.Dirs); len(listed) > 0 {
		rules = append(rules, landlock.PathAccess(ll.AccessFSReadDir, listed...).IgnoreIfMissing())
	}
	if o.Temp != "" {
		rules = append(rules, landlock.RWDirs(o.Temp))
	}
	if err := landlock.V10.BestEffort().RestrictPaths(rules...); err != nil {
		return err
	}
	return landlock.V10.BestEffort().RestrictNet()
}

// listedDirs returns the folders that DuckDB must list to find a folder of dirs with a name like a
// pattern. Only names are visible there.
func listedDirs(dirs []string) (list []string) {
	for _, dir := range dirs {
		if at := strings.IndexAny(dir, "*?["); at >= 0 {
			list = append(list, filepath.Dir(dir[:at]+"x"))
		}
	}
	return list
}

// confineCalls denies system calls that reach outside the process, in all threads.
func confineCalls() error {
	filter, err := callFilter(runtime.GOARCH, uint32(os.Getpid()))
	if err != nil || filter == nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if !hasSeccomp() {
		return nil
	}
	return setFilter(filter)
}

// Features returns the kernel features that can confine a worker: the version of Landlock (0 without it), and
// whether system calls can be filtered.
func Features() (landlockVersion int, seccomp bool) {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		version = 0
	}
	filter, err := callFilter(runtime.GOARCH, 0)
	return version, err == nil && filter != nil && hasSeccomp()
}
