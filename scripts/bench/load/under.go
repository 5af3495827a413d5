//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	longest  = 2 * time.Minute        // time limit for a tool
	patience = 20 * time.Second       // time limit for its end
	look     = 100 * time.Millisecond // interval between memory samples
)

// watched is a running tool with its measurements.
type watched struct {
	pid      int
	begun    float64 // CPU seconds when traffic began
	private  int64   // KiB, peak
	programs string
}

// under runs a tool. SIGUSR1 marks the start of traffic; SIGINT is forwarded and ends the tool. The
// result has CPU seconds in total (tool_cpu) and since the start of traffic (work), peak memory and
// peak anonymous memory in MiB, and optionally runs:nanoseconds of each packet program.
func under(result string, programs bool, command []string) error {
	if len(command) == 0 {
		return fmt.Errorf("no command to run")
	}
	runtime.LockOSThread() // the tool dies with this thread
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGUSR1, unix.SIGINT, unix.SIGTERM)
	if programs {
		fd, err := timePrograms()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", command[0], err)
	}
	w := &watched{pid: c.Process.Pid}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	w.watch(ended, signals, programs)
	state := c.ProcessState
	peak := int64(0)
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		peak = usage.Maxrss
	}
	used := (state.UserTime() + state.SystemTime()).Seconds()
	line := fmt.Sprintf("tool_cpu=%.3f work=%.3f peak=%d private=%d exit=%d programs=%s\n",
		used, used-w.begun, peak>>10, w.private>>10, state.ExitCode(), w.programs)
	if err := os.WriteFile(result, []byte(line), 0o600); err != nil {
		return fmt.Errorf("writing what %s cost: %w", command[0], err)
	}
	return nil
}

// watch returns when the tool has ended, normally or killed after the time limit.
func (w *watched) watch(ended <-chan error, signals <-chan os.Signal, programs bool) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	over := time.After(longest)
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			w.memory()
		case s := <-signals:
			if s == unix.SIGUSR1 {
				w.begun = w.used()
				continue
			}
			w.memory()
			if programs {
				w.programs = w.packetPrograms()
			}
			_ = unix.Kill(w.pid, unix.SIGINT)
			over = time.After(patience)
		case <-over:
			fmt.Fprintf(os.Stderr, "load: process %d does not end: killed\n", w.pid)
			_ = unix.Kill(w.pid, unix.SIGKILL)
		}
	}
}

// used is the CPU time of the tool in seconds, with nanosecond resolution.
func (w *watched) used() float64 {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.pid))
	var sum int64
	for _, f := range files {
		var ns int64
		if b, err := os.ReadFile(f); err == nil {
			_, _ = fmt.Sscan(string(b), &ns)
		}
		sum += ns
	}
	return float64(sum) / 1e9
}

// memory records the peak private memory, which is anonymous: the kernel's ring buffer is mapped, and
// pages of the program's file are shared.
func (w *watched) memory() {
	w.private = max(w.private, field(fmt.Sprintf("/proc/%d/status", w.pid), "RssAnon:"))
}

// packetPrograms is the cost of each BPF program on the packet path, most expensive first.
func (w *watched) packetPrograms() string {
	const cgroupSKB = 8 // BPF_PROG_TYPE_CGROUP_SKB
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", w.pid))
	seen := map[int64]bool{}
	type cost struct{ runs, each int64 }
	var all []cost
	for _, f := range files {
		id := field(f, "prog_id:")
		if field(f, "prog_type:") != cgroupSKB || seen[id] {
			continue
		}
		seen[id] = true
		if runs := field(f, "run_cnt:"); runs > 0 {
			all = append(all, cost{runs, field(f, "run_time_ns:") / runs})
		}
	}
	slices.SortFunc(all, func(a, b cost) int { return int(b.each - a.each) })
	var texts []string
	for _, c := range all {
		texts = append(texts, fmt.Sprintf("%d:%d", c.runs, c.each))
	}
	return strings.Join(texts, ",")
}

// field reads a number from a file of lines "NAME number", or 0.
func field(file, name string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if parts := strings.Fields(rest); len(parts) > 0 {
				n, _ := strconv.ParseInt(parts[0], 10, 64)
				return n
			}
		}
	}
	return 0
}

// timePrograms has the kernel time all programs while the descriptor is open.
func timePrograms() (int, error) {
	attributes := struct{ kind uint32 }{unix.BPF_STATS_RUN_TIME}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_ENABLE_STATS, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
	if errno != 0 {
		return -1, fmt.Errorf("having programs timed: %w", errno)
	}
	return int(fd), nil
}
