package bundle

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// patience is how long a rename waits for others that have a file open. Windows renames
// no folder with an open file in it, and virus scanners open what was just written.
const patience = 2 * time.Second

// renameNew renames from to to, and refuses where to exists. It returns when the new name
// is on the disk: Windows cannot sync a folder afterwards.
func renameNew(from, to string) error {
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
		if !held || time.Since(begun) > patience {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
	}
}

// longPath lifts the limit of 260 characters for a path that filepath.Abs made.
func longPath(p string) string {
	switch {
	case strings.HasPrefix(p, `\\?\`):
		return p
	case strings.HasPrefix(p, `\\`):
		return `\\?\UNC` + p[1:]
	}
	return `\\?\` + p
}

// unsupported reports that a file system cannot sync what it was asked to.
func unsupported(err error) bool { return errors.Is(err, windows.ERROR_INVALID_FUNCTION) }

// readOnly reports that nothing can be written at that place.
func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// openToSync opens a file so that it can be synced, which needs leave to write. A folder
// cannot be synced and has no file here.
func openToSync(p string) (*os.File, error) {
	if info, err := os.Lstat(p); err != nil || info.IsDir() {
		return nil, err
	}
	return os.OpenFile(p, os.O_RDWR, 0)
}
