//go:build unix

package columnar

import (
	"testing"

	"golang.org/x/sys/unix"
)

// cpuTime is the processor time used so far in nanoseconds: on a shared machine it is more
// meaningful than elapsed time.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
