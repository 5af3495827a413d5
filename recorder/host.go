package recorder

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
)

// Errors about the machine or the rights of the process. Hint says how to fix each.
var (
	ErrCgroup   = machine.ErrCgroup
	ErrNoBTF    = errors.New("the kernel does not describe its types (no BTF in /sys/kernel/btf/vmlinux)")
	ErrLockdown = errors.New("the kernel is locked down (confidentiality): programs must not read its memory")

	// ErrRefused means that the kernel's verifier rejects a program that recording packets
	// needs, or that the kernel is too old for it.
	ErrRefused = errors.New("the kernel rejects a program")
)

// capRaw is the capability that recording interfaces needs.
const capRaw = "CAP_NET_RAW"

// PrivilegeError means that the process is not allowed to record.
type PrivilegeError struct {
	Missing []string // capabilities
	Nested  bool     // in a user namespace, whose capabilities do not count
	Err     error    // the kernel's error
}

func (e *PrivilegeError) Error() string {
	switch {
	case len(e.Missing) > 0:
		return "missing privileges to record: " + strings.Join(e.Missing, ", ")
	case e.Nested:
		return "missing privileges to record: this process is privileged only inside its user namespace"
	}
	return fmt.Sprintf("recording is blocked, probably by a seccomp profile or a security module: %v", e.Err)
}

// Unwrap returns the kernel's error.
func (e *PrivilegeError) Unwrap() error { return e.Err }

// Hint says how to fix an error of this machine. It is empty for all other errors.
func Hint(err error) string {
	const otherwise = "; or use --capture=interfaces, which records packets without owners"
	var right *PrivilegeError
	switch {
	case errors.As(err, &right) && right.Nested:
		return "run it as root on the host, outside rootless containers and user namespaces"
	case errors.As(err, &right) && slices.Contains(right.Missing, capRaw):
		return "run it as root; in a container, add the capability NET_RAW"
	case errors.As(err, &right):
		return "run it as root; in a container, add the capabilities BPF, PERFMON and NET_ADMIN"
	case errors.Is(err, ErrLockdown):
		return "boot with lockdown=integrity or lockdown=none" + otherwise
	case errors.Is(err, ErrNoBTF):
		return "use a kernel with CONFIG_DEBUG_INFO_BTF (in a container, mount the host's /sys)" + otherwise
	case errors.Is(err, ErrCgroup):
		return "mount them: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified (in a container, mount the host's /sys/fs/cgroup at the same place)" + otherwise
	case errors.Is(err, ErrRefused):
		return "docs/guide/recorder.md lists the kernels that work; if yours is among them, please report this error" + otherwise
	}
	return ""
}
