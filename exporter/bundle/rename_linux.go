package bundle

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// renameNew renames from to to, and fails if to exists: a plain rename would replace an empty
// folder or a file that appeared meanwhile.
func renameNew(from, to string) error {
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

// unsupported reports whether a file system does not support syncing.
func unsupported(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}

func openToSync(p string) (*os.File, error) { return os.Open(p) }

// readOnly reports whether err means that the file system is read-only.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
