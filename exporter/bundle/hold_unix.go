//go:build unix

package bundle

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// heldByFolder reports whether Hold keeps other programs from removing a folder.
const heldByFolder = true

// Held is a folder that RemoveUnheld does not remove until Release, or until the program ends.
type Held struct{ f *os.File }

// Hold holds a folder. Several programs may hold one. The error is that of the file system, or
// reports that the folder is being removed.
func Hold(dir string) (*Held, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		f.Close()
		return nil, fmt.Errorf("%s is being removed", dir)
	}
	// LIMIT: a file system without locks holds nothing, and RemoveUnheld removes nothing there.
	var now, opened unix.Stat_t
	if unix.Stat(dir, &now) != nil || unix.Fstat(int(f.Fd()), &opened) != nil || now.Ino != opened.Ino {
		f.Close()
		return nil, fmt.Errorf("%s was removed", dir)
	}
	return &Held{f}, nil
}

// Release lets others remove the folder.
func (h *Held) Release() {
	if h != nil {
		h.f.Close()
	}
}

// RemoveUnheld removes a folder unless a program holds it, and reports whether it did.
func RemoveUnheld(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	return os.RemoveAll(dir) == nil
}
