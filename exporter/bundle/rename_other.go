//go:build !linux

package bundle

import (
	"errors"
	"runtime"
	"syscall"
)

func renameNew(from, to string) error { return renameChecked(from, to) }

// unsupported reports that a file system cannot sync what it was asked to. Windows
// cannot sync folders at all, and has them durable without.
func unsupported(err error) bool {
	return runtime.GOOS == "windows" || errors.Is(err, syscall.EINVAL)
}

// readOnly reports that nothing can be written at that place.
func readOnly(err error) bool { return runtime.GOOS != "windows" && errors.Is(err, syscall.EROFS) }
