package bundle

import (
	"fmt"
	"os"
)

// renameChecked looks before it renames. LIMIT: what appears at to between look and
// rename is replaced where it is a file or an empty folder.
func renameChecked(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w", to, ErrExists)
	}
	return os.Rename(from, to)
}
