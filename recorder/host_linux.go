package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// hostError explains why loading or attaching failed on this machine. The kernel's error is
// not enough: its verifier reports "permission denied" for any mistake.
func hostError(err error) error {
	if err == nil || errors.Is(err, ErrCgroup) {
		return err
	}
	missing := missingCapabilities()
	var refused *bpf.RefusedError
	switch {
	case len(missing) > 0 && (errors.As(err, &refused) || errors.Is(err, fs.ErrPermission)):
		return &PrivilegeError{Missing: missing, Err: err}
	case bpf.LockedDown():
		return fmt.Errorf("%w: %w", ErrLockdown, err)
	case errors.Is(err, bpf.ErrNoBTF):
		return fmt.Errorf("loading programs: %w", ErrNoBTF)
	case errors.Is(err, fs.ErrPermission):
		return &PrivilegeError{Nested: nestedUsers(), Err: err}
	case errors.As(err, &refused):
		return fmt.Errorf("%w: %w", ErrRefused, refused)
	}
	return err
}

// missingCapabilities returns those that recording needs and this process lacks.
func missingCapabilities() (missing []string) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return nil
	}
	has := func(n uint) bool { return data[n/32].Effective&(1<<(n%32)) != 0 }
	if has(unix.CAP_SYS_ADMIN) { // includes each of them
		return nil
	}
	for _, want := range []struct {
		n    uint
		name string
	}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}} {
		if !has(want.n) {
			missing = append(missing, want.name)
		}
	}
	return missing
}

// nestedUsers reports whether this process is in a user namespace other than the machine's
// initial one.
func nestedUsers() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return err == nil && (len(f) != 3 || f[0] != "0" || f[1] != "0" || f[2] != "4294967295")
}

// oldContainers counts containers that appear only in control groups of version 1, as /proc has them: their packets
// cannot be distinguished from those of the machine.
func oldContainers(proc string) int {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cgroup"))
	if err != nil {
		return 0 // of the pattern only
	}
	found := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		old, now := "", ""
		for line := range strings.Lines(string(b)) { // 8:pids:/kubepods/pod…/…
			id, path, _ := strings.Cut(strings.TrimSpace(line), ":")
			_, path, _ = strings.Cut(path, ":")
			container, _ := workload.ParseCgroup(path)
			if id == "0" {
				now = container
			} else if container != "" {
				old = container
			}
		}
		if old != "" && now == "" {
			found[old] = true
		}
	}
	return len(found)
}
