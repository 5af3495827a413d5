//go:build !linux && !windows && !darwin

package disk

import (
	"errors"
	"os"
	"syscall"
)

// RenameNew renames from to to, and fails if to exists.
func RenameNew(from, to string) error { return renameChecked(from, to) }

// Unsupported reports whether a file system does not support syncing.
func Unsupported(err error) bool { return errors.Is(err, syscall.EINVAL) }

// ReadOnly reports whether err means that the file system is read-only.
func ReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// OpenToSync opens a file or folder for syncing.
func OpenToSync(p string) (*os.File, error) { return os.Open(p) }
