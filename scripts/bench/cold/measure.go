package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// often is the time between two looks at a command's memory. The kernel keeps each process's own
// peak, so only a process that ends within this time after its peak shows less.
const often = 5 * time.Millisecond

// cost is what one run of a command took, with all of its processes.
type cost struct {
	wall, cpu    time.Duration
	peak, worker int64 // KiB resident: all processes together at one time; the largest of those that the command started
}

// measure runs a command.
func measure(path string, args []string) (cost, error) {
	var c cost
	var problem bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stderr = &problem
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return c, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	look := time.NewTicker(often)
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			c.wall = time.Since(begin)
			if err != nil {
				return c, fmt.Errorf("running %s %q: %w: %s", path, args, err, problem.Bytes())
			}
			c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			return c, nil
		case <-look.C:
			c.look(cmd.Process.Pid)
		}
	}
}

// look records the memory of a process and of those that it started.
func (c *cost) look(pid int) {
	now := kib(pid, "VmRSS:")
	for _, child := range children(pid) {
		now += kib(child, "VmRSS:")
		c.worker = max(c.worker, kib(child, "VmHWM:"))
	}
	c.peak = max(c.peak, now)
}

// kib reads a line of /proc/PID/status. It is 0 for a process that ended.
func kib(pid int, name string) (n int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if _, rest, ok := strings.Cut(string(text), name); ok {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n
}

func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range lists {
		text, _ := os.ReadFile(name)
		for _, field := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}
