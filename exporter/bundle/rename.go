package bundle

import (
	"fmt"
	"os"
)

// renameChecked checks before it renames. LIMIT: a file or an empty folder that appears at to
// between check and rename is replaced.
func renameChecked(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w", to, ErrExists)
	}
	return os.Rename(from, to)
}
