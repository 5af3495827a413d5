//go:build unix

package bundle

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock waits until no other program appends to f; closing f releases the lock.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) }
