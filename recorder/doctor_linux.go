package recorder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/keys"
)

// Doctor briefly tries everything that recording needs on this machine, in a control group that it
// creates, and reports missing features and how to get them.
func Doctor() []Check {
	checks := []Check{checkKernel(), checkBTF(), checkRights(), checkLockdown()}
	root, err := machine.CgroupRoot()
	if err != nil {
		checks = append(checks, Check{"control groups", Bad, err.Error(), Hint(err)})
	} else {
		checks = append(checks, checkGroups(root, oldContainers("/proc")))
		checks = append(checks, checkHooks(root)...)
	}
	return append(checks, checkNumbers(), checkClock(), checkPacketSocket(), checkKeys())
}

func checkKernel() Check {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Check{"kernel", Partial, err.Error(), ""}
	}
	c := Check{Name: "kernel", State: Good, Detail: "Linux " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])}
	if bpf.TooOld() {
		c.State, c.Change = Partial, "use Linux "+bpf.Oldest+" or later; older kernels are not tested"
	}
	return c
}

func checkBTF() Check {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return Check{"kernel types", Bad, err.Error(), Hint(ErrNoBTF)}
	}
	return Check{Name: "kernel types", State: Good, Detail: "/sys/kernel/btf/vmlinux"}
}

// checkGroups reports whether containers can be distinguished.
func checkGroups(root string, old int) Check {
	if old == 0 {
		return Check{Name: "control groups", State: Good, Detail: "version 2 at " + root}
	}
	return Check{"control groups", Partial, fmt.Sprintf("version 2 at %s; containers that are in version 1 only: %d", root, old),
		"their packets are recorded without container and pod; boot with systemd.unified_cgroup_hierarchy=1"}
}

// checkRights looks at the capabilities in force.
func checkRights() Check {
	if missing := missingCapabilities(); len(missing) > 0 {
		err := &PrivilegeError{Missing: missing}
		return Check{"rights", Bad, "missing: " + strings.Join(missing, ", "), Hint(err) + "; or grant them to the program: setcap cap_bpf,cap_perfmon,cap_net_admin+ep"}
	}
	if nestedUsers() {
		err := &PrivilegeError{Nested: true}
		return Check{"rights", Bad, "privileged only inside a user namespace", Hint(err)}
	}
	return Check{Name: "rights", State: Good, Detail: "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN"}
}

func checkLockdown() Check {
	b, err := os.ReadFile(bpf.LockdownFile)
	if err != nil {
		return Check{Name: "lockdown", State: Good, Detail: "not supported by this kernel"}
	}
	text := strings.TrimSpace(string(b))
	if bpf.LockedDown() {
		return Check{"lockdown", Partial, text, "recordings lack events and some owners; boot with lockdown=integrity or lockdown=none"}
	}
	return Check{Name: "lockdown", State: Good, Detail: text}
}

// checkHooks loads the programs and attaches each to an empty control group.
func checkHooks(root string) []Check {
	p, err := bpf.Load(bpf.Options{RingBytes: 1 << 16, Owners: true})
	if err != nil {
		err = hostError(err)
		return []Check{{Name: "programs", State: Bad, Detail: oneLine(err), Change: Hint(err)}}
	}
	defer p.Close()
	where := filepath.Join(root, fmt.Sprintf("pcapsule-doctor-%d", os.Getpid()))
	checks := []Check{{Name: "programs", State: Good, Detail: "loaded, SHA-256 " + bpf.SHA256()[:16] + "…"}}
	if err := os.Mkdir(where, 0o755); err != nil {
		where = root // read-only: use the root itself briefly
	} else {
		defer os.Remove(where)
	}
	p.AttachOwners(where)
	p.AttachEvents(true)
	if _, err := p.FindSockets(); err != nil {
		p.Missing["open_sockets"] = err
	}
	packets := p.AttachPackets(where)
	p.Detach()
	for _, h := range bpf.Hooks() {
		err := p.Missing[h.Program]
		if h.For == "packets" {
			err = packets
		}
		c := Check{Name: "hook " + h.Place, State: Good, Detail: "for " + h.For}
		if err != nil {
			c.State, c.Detail = Partial, oneLine(err)
			c.Change = "recordings lack " + h.Without
			if h.For == "packets" {
				c.State, c.Change = Bad, "recording sockets needs it; use --capture=interfaces, which records packets without owners"
			}
		}
		checks = append(checks, c)
	}
	return checks
}

func oneLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return machine.Clean(text, 300)
}

// checkNumbers compares this process's ID with the one that the kernel uses.
func checkNumbers() Check {
	tgid, err := bpf.CallerTGID()
	if err != nil {
		return Check{"process IDs", Partial, oneLine(err), ""}
	}
	if int(tgid) != os.Getpid() {
		return Check{"process IDs", Partial, fmt.Sprintf("this process has ID %d here and %d on the node", os.Getpid(), tgid),
			"in a container, share the host's process namespace (hostPID: true); without it, processes that started before the recorder have no names"}
	}
	return Check{Name: "process IDs", State: Good, Detail: "same as in the kernel"}
}

func checkClock() Check {
	var c machine.Clock
	c.Calibrate()
	c.Tick()
	if !c.Now.Synchronized {
		return Check{"clock", Partial, "the kernel reports it as not synchronized", "run chrony or another time service; without one, times of different nodes cannot be compared"}
	}
	return Check{Name: "clock", State: Good, Detail: fmt.Sprintf("synchronized, within %d µs", c.Now.MaxError/1000)}
}

func checkPacketSocket() Check {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Check{"packet sockets", Partial, err.Error(), "CAP_NET_RAW is needed for --capture=interfaces"}
	}
	unix.Close(fd)
	return Check{Name: "packet sockets", State: Good, Detail: "for --capture=interfaces"}
}

// checkKeys checks whether keys and plaintext can be read. Recording works without them.
func checkKeys() Check {
	ends, err := keys.Probe()
	switch {
	case errors.Is(err, keys.ErrNamespace):
		return Check{"keys", Partial, err.Error(), "--keys and --plaintext need the host's process namespace (hostPID: true)"}
	case errors.Is(err, keys.ErrUnsupported):
		return Check{"keys", Partial, err.Error(), ""}
	case err != nil:
		return Check{"keys", Partial, oneLine(err), "--keys and --plaintext do not work. They need CAP_SYS_ADMIN, and CAP_SYS_PTRACE for the programs of other users"}
	case ends != nil:
		return Check{"keys", Partial, "uprobes work; " + oneLine(ends), "--plaintext cannot determine the addresses of connections on this kernel"}
	}
	return Check{Name: "keys", State: Good, Detail: "uprobes work, for --keys and --plaintext"}
}
