//go:build linux

// Command guest is the init process of a virtual machine. It checks the recorder on this kernel,
// prints one line per check on the console and powers the machine off.
//
// The program plays all roles of its scenario: it starts itself under other names as the servers and
// clients whose packets are recorded.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// States of a check in the table.
const (
	good    = "good"
	partial = "partial"
	none    = "none"
	bad     = "bad"
)

// report prints a check for the program on the host.
func report(name, state, detail string) {
	text, err := json.Marshal(struct{ Name, State, Detail string }{name, state, detail})
	if err == nil {
		fmt.Printf("\n@check %s\n", text)
	}
}

func main() {
	name := filepath.Base(os.Args[0])
	switch {
	case os.Getpid() == 1:
		boot()
	case name == "init":
		checks()
	default:
		if err := play(name, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
	}
}

// boot prepares the machine and runs the checks in a separate process: packages that read /proc at
// start-up would find nothing in this one.
func boot() {
	for _, m := range []struct{ kind, target string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"cgroup2", "/sys/fs/cgroup"}, {"securityfs", "/sys/kernel/security"},
		{"bpf", "/sys/fs/bpf"}, {"tracefs", "/sys/kernel/tracing"}, {"tmpfs", "/tmp"},
	} {
		if err := unix.Mount(m.kind, m.target, m.kind, 0, ""); err != nil {
			fmt.Println("mounting", m.target, err)
		}
	}
	for _, c := range [][]string{{"ip", "link", "set", "lo", "up"}, {"hostname", "guest"}} {
		if out, err := busybox(c...); err != nil {
			fmt.Println(c, err, out)
		}
	}
	c := exec.Command("/init")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		fmt.Println("checks:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println(err)
	}
}

func busybox(args ...string) (string, error) {
	out, err := exec.Command("/bin/busybox", args...).CombinedOutput()
	return string(out), err
}

func checks() {
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		report("release", good, unix.ByteSliceToString(u.Release[:]))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	checkLoad()
	s, err := stage(ctx)
	if err != nil {
		report("scene", bad, err.Error())
	} else {
		s.check()
		s.end()
	}
	checkRestart(ctx)
	checkDoctor()
	checkHosts()
	report("end", good, "")
	time.Sleep(200 * time.Millisecond) // for the console
}
