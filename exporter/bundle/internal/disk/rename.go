// Package disk contains the file system operations of bundles that differ between operating
// systems: renaming without replacing, locks, and the space that a file uses on disk.
package disk

import (
	"errors"
	"fmt"
	"os"
)

// ErrExists means that the new name is taken.
var ErrExists = errors.New("output exists")

// renameChecked checks before it renames. LIMIT: a file or an empty folder that appears at to
// between check and rename is replaced.
func renameChecked(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w", to, ErrExists)
	}
	return os.Rename(from, to)
}
