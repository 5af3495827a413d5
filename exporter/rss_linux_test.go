package exporter

import (
	"syscall"
	"time"
)

// peakRSS is the largest resident set of a process that has ended.
func peakRSS(usage any) int64 { return usage.(*syscall.Rusage).Maxrss << 10 }

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
