//go:build !linux && !windows && !darwin

package bundle

import (
	"errors"
	"os"
	"syscall"
)

func renameNew(from, to string) error { return renameChecked(from, to) }

// unsupported reports whether a file system does not support syncing.
func unsupported(err error) bool { return errors.Is(err, syscall.EINVAL) }

// readOnly reports whether err means that the file system is read-only.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func openToSync(p string) (*os.File, error) { return os.Open(p) }
