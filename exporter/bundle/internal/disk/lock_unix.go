//go:build unix

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// Lock waits until no other program appends to f; closing f releases the lock.
func Lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) }
