package exporter

import "syscall"

// peakRSS is the largest resident set of a process that has ended.
func peakRSS(usage any) int64 { return usage.(*syscall.Rusage).Maxrss << 10 }
