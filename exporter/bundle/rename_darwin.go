package bundle

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames from to to, and fails if to exists: a plain rename would replace an empty
// folder or a file that appeared meanwhile.
func renameNew(from, to string) error {
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

// unsupported reports whether a file system does not support syncing.
func unsupported(err error) bool { return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) }

// readOnly reports whether err means that the file system is read-only.
func readOnly(err error) bool { return errors.Is(err, unix.EROFS) }

func openToSync(p string) (*os.File, error) { return os.Open(p) }
