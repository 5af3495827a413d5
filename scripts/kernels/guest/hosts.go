//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const program = "/pcapsule-recorder"

// checkDoctor runs the node's program: its doctor must report that recording works.
func checkDoctor() {
	out, err := exec.Command(program, "doctor").CombinedOutput()
	if err != nil {
		report("doctor", bad, fmt.Sprintf("%v: %s", err, out))
		return
	}
	report("doctor", good, "")
}

// host is a machine on which recording fails or is limited, simulated for a single process.
type host struct {
	name string
	wrap string // busybox script that runs "$@" there; empty runs it as it is
	attr *syscall.SysProcAttr
	want string // in the error
	less bool   // newer kernels record with limitations and report them
}

var mountsOwn = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}

// checkHosts runs the recorder on hosts where it cannot work. It must give the reason in one sentence
// and a hint, and end with exit code 1.
func checkHosts() {
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	rootless := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: []syscall.SysProcIDMap{{HostID: 65534, Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: 65534, Size: 1}},
		Credential: &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true}}
	list := []host{
		{"no root", "", nobody, "missing privileges to record: CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN", false},
		{"rootless container", "", rootless, "only inside its user namespace", false},
		{"no BTF", `mount -t tmpfs none /sys/kernel/btf && exec "$@"`, mountsOwn, "no BTF", false},
		{"no cgroup v2", `umount /sys/fs/cgroup && exec "$@"`, mountsOwn, "control groups version 2 are not mounted", false},
	}
	if _, err := os.Stat("/sys/kernel/security/lockdown"); err == nil {
		// Cannot be undone, so it comes last.
		list = append(list, host{"lockdown", `echo confidentiality >/sys/kernel/security/lockdown && exec "$@"`, nil, "locked down", true})
	}
	if err := errors.Join(os.MkdirAll("/tmp/ring", 0o777), os.Chmod("/tmp/ring", 0o777)); err != nil {
		report("refused hosts", bad, err.Error())
		return
	}
	var names []string
	for _, h := range list {
		if err := h.check(); err != nil {
			report("refused hosts", bad, h.name+": "+err.Error())
			return
		}
		names = append(names, h.name)
	}
	report("refused hosts", good, strings.Join(names, ", "))
}

func (h *host) check() error {
	args := []string{program, "--ring", "/tmp/ring/" + strings.ReplaceAll(h.name, " ", "-"), "--kubernetes=off", "--metrics=", "--reserve=0"}
	if h.wrap != "" {
		args = append([]string{"/bin/busybox", "sh", "-c", h.wrap, "-"}, args...)
	}
	out, err := os.Create("/tmp/host.log")
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(args[0], args[1:]...)
	c.Stdout, c.Stderr, c.SysProcAttr = out, out, h.attr
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	asked := false
	for range 900 {
		select {
		case err := <-ended:
			return h.judge(err)
		case <-time.After(100 * time.Millisecond):
		}
		if log, _ := os.ReadFile("/tmp/host.log"); !asked && bytes.Contains(log, []byte("msg=recording")) {
			asked = true // a second signal would end it immediately
			_ = c.Process.Signal(syscall.SIGTERM)
		}
	}
	_ = c.Process.Kill()
	return fmt.Errorf("does not end: %w", <-ended)
}

// judge checks the exit code and the messages of the recorder.
func (h *host) judge(err error) error {
	log, readErr := os.ReadFile("/tmp/host.log")
	if readErr != nil {
		return readErr
	}
	text := string(log)
	if h.less && err == nil {
		if !strings.Contains(text, "degraded=\"not recorded: ") || !strings.Contains(text, "lockdown (confidentiality) forbids") {
			return fmt.Errorf("records, and does not say what is missing: %s", text)
		}
		return nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		return fmt.Errorf("ended with %v, want exit code 1: %s", err, text)
	}
	var sentences, hints int
	for line := range strings.Lines(text) {
		if said, ok := strings.CutPrefix(line, "error: "); ok && strings.Contains(said, h.want) {
			sentences++
		}
		if strings.HasPrefix(line, "hint: ") {
			hints++
		}
	}
	if sentences != 1 || hints != 1 {
		return fmt.Errorf("want one error with %q and one hint: %s", h.want, text)
	}
	return nil
}
