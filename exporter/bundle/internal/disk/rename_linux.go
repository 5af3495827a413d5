package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// RenameNew renames from to to, and fails if to exists: a plain rename would replace an empty
// folder or a file that appeared meanwhile.
func RenameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s: %w", to, ErrExists)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP):
		return renameChecked(from, to) // some network file systems lack the flag
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// Unsupported reports whether a file system does not support syncing.
func Unsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}

// OpenToSync opens a file or folder for syncing.
func OpenToSync(p string) (*os.File, error) { return os.Open(p) }

// ReadOnly reports whether err means that the file system is read-only.
func ReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
