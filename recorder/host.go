package recorder

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors about the machine or the rights of the process. What to do about each is in Hint.
var (
	ErrCgroup   = errors.New("no control groups of version 2")
	ErrNoBTF    = errors.New("the kernel does not describe its types (no BTF in /sys/kernel/btf/vmlinux)")
	ErrLockdown = errors.New("the kernel is locked down (confidentiality): no program may read its memory")

	// ErrRefused means that the kernel's verifier refuses a program that packets need, or that
	// the kernel is too old for it.
	ErrRefused = errors.New("the kernel refuses a program")
)

// capRaw is what recording interfaces needs.
const capRaw = "CAP_NET_RAW"

// PrivilegeError means that the process may not record.
type PrivilegeError struct {
	Missing []string // capabilities
	Nested  bool     // in a user namespace, whose capabilities do not count
	Err     error    // what the kernel said
}

func (e *PrivilegeError) Error() string {
	switch {
	case len(e.Missing) > 0:
		return "this process may not record: it lacks " + strings.Join(e.Missing, ", ")
	case e.Nested:
		return "this process may not record: it is privileged in its own user namespace only"
	}
	return fmt.Sprintf("this process has the rights to record, but something forbids it (a seccomp profile or a security module): %v", e.Err)
}

// Unwrap returns what the kernel said.
func (e *PrivilegeError) Unwrap() error { return e.Err }

// Hint says what to do about an error of this machine. It is empty for all others.
func Hint(err error) string {
	const otherwise = "; or use --capture=interfaces, which records without owners"
	var right *PrivilegeError
	switch {
	case errors.As(err, &right) && right.Nested:
		return "run it as root of the machine, outside of rootless containers and user namespaces"
	case errors.As(err, &right) && slices.Contains(right.Missing, capRaw):
		return "run it as root; in a container add the capability NET_RAW"
	case errors.As(err, &right):
		return "run it as root; in a container add the capabilities BPF, PERFMON and NET_ADMIN"
	case errors.Is(err, ErrLockdown):
		return "boot with lockdown=integrity or lockdown=none" + otherwise
	case errors.Is(err, ErrNoBTF):
		return "use a kernel with CONFIG_DEBUG_INFO_BTF (in a container, mount the host's /sys)" + otherwise
	case errors.Is(err, ErrCgroup):
		return "mount them: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified (in a container, mount the host's /sys/fs/cgroup at the same place)" + otherwise
	case errors.Is(err, ErrRefused):
		return "docs/guide/recorder.md lists the kernels that work; if yours is among them, please report these lines" + otherwise
	}
	return ""
}
