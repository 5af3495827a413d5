package duck

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// program is the path of this program, even if its file was replaced since it started.
func program() (string, error) { return "/proc/self/exe", nil }

// prepare makes the kernel end the worker when the program ends for any reason.
func prepare(cmd *exec.Cmd) (free func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return func() {}
}

// bound is for systems on which a process cannot limit itself.
func bound(*exec.Cmd, int64) error { return nil }

// resident is the resident memory of a process, 0 if it is gone.
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
