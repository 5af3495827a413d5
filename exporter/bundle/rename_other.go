//go:build !linux && !windows && !darwin

package bundle

import (
	"errors"
	"os"
	"syscall"
)

func renameNew(from, to string) error { return renameChecked(from, to) }

// unsupported reports that a file system cannot sync what it was asked to.
func unsupported(err error) bool { return errors.Is(err, syscall.EINVAL) }

// readOnly reports that nothing can be written at that place.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func openToSync(p string) (*os.File, error) { return os.Open(p) }
