package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// probe is the first argument of this test as a process that confines itself and then tries what an
// exploited worker would try.
const probe = "probe"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == probe {
		os.Exit(tried())
	}
	os.Exit(m.Run())
}

// probing is the input of a probe.
type probing struct {
	Settings wire.Settings
	Outside  string // a file, and a folder beside it
	Inside   string // a file below Dirs
	Port     string
	Parent   int
}

// attempts returns the actions that a confined process must not be able to do, and those that it
// must.
func attempts(p *probing) (bad, good map[string]func() error) {
	read := func(path string) func() error { return func() error { _, err := os.ReadFile(path); return err } }
	write := func(path string) func() error { return func() error { return os.WriteFile(path, []byte("x"), 0o600) } }
	call := func(nr uintptr, args ...uintptr) func() error {
		return func() error {
			a := append(args, 0, 0, 0)
			if _, _, errno := syscall.Syscall(nr, a[0], a[1], a[2]); errno != 0 {
				return errno
			}
			return nil
		}
	}
	everyThread := func(f func() error) func() error {
		return func() error {
			errs := make(chan error)
			for range 20 {
				go func() { errs <- f() }()
			}
			var worst error = syscall.EPERM
			for range 20 {
				if err := <-errs; err == nil {
					worst = nil
				}
			}
			return worst
		}
	}
	bad = map[string]func() error{
		"read a file outside":          everyThread(read(p.Outside)),
		"read through a link":          read(filepath.Join(filepath.Dir(p.Inside), "link")),
		"read another process":         read(fmt.Sprintf("/proc/%d/environ", p.Parent)),
		"read its own memory's map":    read("/proc/self/maps"),
		"list a folder outside":        func() error { _, err := os.ReadDir("/etc"); return err },
		"write outside":                write(p.Outside + ".new"),
		"write into the case":          write(p.Inside),
		"write a new file there":       write(p.Inside + ".new"),
		"remove a file of the case":    func() error { return os.Remove(p.Inside) },
		"call over the network":        everyThread(func() error { c, err := net.Dial("tcp", "127.0.0.1:"+p.Port); closing(c); return err }),
		"make a socket":                call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM),
		"make a pair of sockets":       call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM),
		"start a program":              func() error { return exec.Command("/bin/true").Run() },
		"become a program":             func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
		"fork":                         call(unix.SYS_CLONE, uintptr(unix.SIGCHLD)),
		"end another process":          call(unix.SYS_KILL, uintptr(p.Parent), uintptr(unix.SIGCONT)),
		"signal a thread of another":   call(unix.SYS_TGKILL, uintptr(p.Parent), uintptr(p.Parent), uintptr(unix.SIGCONT)),
		"trace another process":        call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(p.Parent)),
		"read another's memory":        call(unix.SYS_PROCESS_VM_READV, uintptr(p.Parent)),
		"raise its memory limit":       func() error { return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: 1 << 40, Max: 1 << 40}) },
		"raise another's limit":        func() error { return unix.Prlimit(p.Parent, unix.RLIMIT_CORE, &unix.Rlimit{}, nil) },
		"load a program of the kernel": call(unix.SYS_BPF),
		"mount":                        call(unix.SYS_MOUNT),
		"leave its namespaces":         call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		"use a ring of calls":          call(unix.SYS_IO_URING_SETUP),
		"take more memory than it may": func() error {
			m, err := unix.Mmap(-1, 0, int(p.Settings.Data)+1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err == nil {
				_ = unix.Munmap(m) // it is unused
			}
			return err
		},
	}
	good = map[string]func() error{
		"read a file of the case": everyThread2(read(p.Inside)),
		"list the case's folder":  func() error { _, err := os.ReadDir(filepath.Dir(p.Inside)); return err },
		"write and remove a temporary file": func() error {
			name := filepath.Join(p.Settings.Temp, "x")
			return errors.Join(write(name)(), os.Remove(name))
		},
		"read its limits":           func() error { var l unix.Rlimit; return unix.Prlimit(0, unix.RLIMIT_DATA, nil, &l) },
		"read how much it may have": read("/proc/self/cgroup"),
	}
	return bad, good
}

func everyThread2(f func() error) func() error {
	return func() error {
		errs := make(chan error)
		for range 20 {
			go func() { errs <- f() }()
		}
		var all error
		for range 20 {
			all = errors.Join(all, <-errs)
		}
		return all
	}
}

func closing(c net.Conn) {
	if c != nil {
		c.Close()
	}
}

// tried runs a probe.
func tried() int {
	var p probing
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := Worker(&p.Settings); err != nil {
		fmt.Println("confine:", err)
		return 1
	}
	bad, good := attempts(&p)
	for name, try := range bad {
		if try() == nil {
			fmt.Println("it can", name)
		}
	}
	for name, try := range good {
		if err := try(); err != nil {
			fmt.Printf("it cannot %s: %v\n", name, err)
		}
	}
	return 0
}

// TestAConfinedProcess fails if Landlock, the system call filter or the limits are not effective.
func TestAConfinedProcess(t *testing.T) {
	version, seccomp := Features()
	if version == 0 || !seccomp {
		t.Skip("needs Landlock and seccomp")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	dir, temp, outside := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "secret")
	inside := filepath.Join(dir, "inside")
	for _, f := range []string{inside, outside} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	in, err := json.Marshal(probing{Settings: wire.Settings{Dirs: []string{dir}, Temp: temp, Data: 1 << 30}, Outside: outside, Inside: inside, Port: port, Parent: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], probe)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFoldersThatReadLikePatterns checks the folders that must be listed for names like patterns.
func TestFoldersThatReadLikePatterns(t *testing.T) {
	got := listedDirs([]string{"/a/b/c", "/a/b[1]/c", "/*/x", "/a/b/x?"})
	if want := []string{"/a", "/", "/a/b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFilterOfEveryArchitecture assembles the filter for other architectures.
func TestFilterOfEveryArchitecture(t *testing.T) {
	for arch, want := range map[string]bool{"amd64": true, "arm64": true, "riscv64": false} {
		f, err := callFilter(arch, 1)
		if err != nil || (len(f) > 0) != want || len(f) > 4096 {
			t.Errorf("%s: %d instructions, %v", arch, len(f), err)
		}
	}
}
