package disk

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// renameTimeout is how long a rename waits for other programs with an open file. Windows does
// not rename a folder with an open file in it, and virus scanners open newly written files.
const renameTimeout = 2 * time.Second

// RenameNew renames from to to, and fails if to exists. It returns when the new name is on disk,
// because Windows cannot sync a folder afterwards.
func RenameNew(from, to string) error {
	a, err := windows.UTF16PtrFromString(longPath(from))
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	b, err := windows.UTF16PtrFromString(longPath(to))
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := windows.MoveFileEx(a, b, windows.MOVEFILE_WRITE_THROUGH)
		if err == nil {
			return nil
		}
		if _, look := os.Lstat(to); look == nil {
			return fmt.Errorf("%s: %w", to, ErrExists)
		}
		held := errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
		if !held || time.Since(begun) > renameTimeout {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
	}
}

// longPath removes the limit of 260 characters from a path made by filepath.Abs.
func longPath(p string) string {
	switch {
	case strings.HasPrefix(p, `\\?\`):
		return p
	case strings.HasPrefix(p, `\\`):
		return `\\?\UNC` + p[1:]
	}
	return `\\?\` + p
}

// Unsupported reports whether a file system does not support syncing.
func Unsupported(err error) bool { return errors.Is(err, windows.ERROR_INVALID_FUNCTION) }

// ReadOnly reports whether err means that the file system is read-only.
func ReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// OpenToSync opens a file for syncing, which requires write permission. A folder cannot be
// synced, so the file is nil.
func OpenToSync(p string) (*os.File, error) {
	if info, err := os.Lstat(p); err != nil || info.IsDir() {
		return nil, err
	}
	return os.OpenFile(p, os.O_RDWR, 0)
}
