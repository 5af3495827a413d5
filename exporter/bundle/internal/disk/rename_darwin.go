package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// RenameNew renames from to to, and fails if to exists: a plain rename would replace an empty
// folder or a file that appeared meanwhile.
func RenameNew(from, to string) error {
	err := unix.RenamexNp(from, to, unix.RENAME_EXCL)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s: %w", to, ErrExists)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP):
		return renameChecked(from, to) // exFAT and network file systems lack the flag
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// Unsupported reports whether a file system does not support syncing.
func Unsupported(err error) bool { return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) }

// ReadOnly reports whether err means that the file system is read-only.
func ReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

// OpenToSync opens a file or folder for syncing.
func OpenToSync(p string) (*os.File, error) { return os.Open(p) }
