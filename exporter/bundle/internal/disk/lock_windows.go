package disk

import (
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// Lock waits until no other program appends to f; closing f releases the lock. It locks bytes
// far beyond the end, because Windows prevents others from reading locked bytes, and reading the
// log must always work.
func Lock(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: math.MaxInt32}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, at)
}
