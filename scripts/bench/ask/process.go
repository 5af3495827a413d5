package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of processor times in /proc, USER_HZ of proc(5).
const tick = 10 * time.Millisecond

// processorTime is the user and system time of this process and its workers, including ended ones.
// For running workers its resolution is one tick.
func processorTime() (d time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if syscall.Getrusage(who, &r) == nil {
			d += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	for _, pid := range workers() {
		text, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue // it ended
		}
		// The second field is a name in parentheses; utime and stime are the 14th and 15th.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, field := range fields[11:13] {
			n, _ := strconv.ParseInt(field, 10, 64)
			d += time.Duration(n) * tick
		}
	}
	return d
}

// workers returns the process ids of this process's children.
func workers() (pids []string) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		text, _ := os.ReadFile(name)
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

// forgetPeak resets the kernel's count of peak memory.
func forgetPeak() {
	for _, pid := range append(workers(), "self") {
		_ = os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0) // without permission, the peak covers the whole run
	}
}

// peak is the sum of the peak resident memory of this process and of each worker, in MiB. The peaks
// may be at different times.
func peak() (mib int64) {
	for _, pid := range append(workers(), "self") {
		text, _ := os.ReadFile("/proc/" + pid + "/status")
		if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
			var n int64
			_, _ = fmt.Sscan(rest, &n)
			mib += n >> 10
		}
	}
	return mib
}

// load describes the load of the machine.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	return "load " + strings.Join(strings.Fields(string(text))[:3], " ")
}
