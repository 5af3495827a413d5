package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Folder is a folder that gets its name only when everything in it is written and on the disk.
// Call Abort when it is no longer needed; after a successful Publish it does nothing.
type Folder struct {
	Dir string // hidden folder next to the final name, to write into

	b Builder
}

// NewFolder begins the folder that will have the name path. If something has that name already,
// the error wraps ErrExists.
func NewFolder(path string) (*Folder, error) {
	final, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(final); err == nil {
		return nil, fmt.Errorf("%s: %w", final, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f := &Folder{b: Builder{final: final}}
	if f.b.dir, f.b.held, err = makeHidden(final); err != nil {
		return nil, err
	}
	f.Dir = f.b.dir
	return f, nil
}

// Publish syncs everything in the folder and gives it its name.
func (f *Folder) Publish() error {
	if err := f.b.sync(); err != nil {
		return err
	}
	return f.b.publish()
}

// Abort removes the folder and everything in it.
func (f *Folder) Abort() { f.b.Abort() }
