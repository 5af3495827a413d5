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

// processorTime is what this process and its workers, those that ended too, have used, user
// and system. Of workers that run it is known to a tick.
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

// workers are the numbers of this process's children.
func workers() (pids []string) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		text, _ := os.ReadFile(name)
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

// forgetPeak lets the kernel count the peak of memory from here on.
func forgetPeak() {
	for _, pid := range append(workers(), "self") {
		_ = os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0) // where it may not, the peak is of the whole run
	}
}

// peak is the most memory that was resident, of this process and of each worker, in MiB.
// They need not have had it at the same time.
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

// load says how busy the machine is.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	return "load " + strings.Join(strings.Fields(string(text))[:3], " ")
}
