package pcapng

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is an output that has its name only when it is whole. Until Commit it has a
// hidden name in the same folder. Only its owner may read it: captures hold what was said,
// and may hold keys.
type File struct {
	f    *os.File
	path string
	err  error
}

// CreateFile begins an output. It refuses, with fs.ErrExist, a path that is taken.
func CreateFile(path string) (*File, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("creating %s: %w", path, fs.ErrExist)
	}
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	hidden := filepath.Join(dir, "."+name+"."+rand.Text()+".partial")
	f, err := os.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	return &File{f: f, path: path}, nil
}

// Dir is the folder in which the output will be.
func (o *File) Dir() string { return filepath.Dir(o.path) }

// Write appends to the hidden file. After an error Commit refuses.
func (o *File) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.f.Write(p)
	if err != nil {
		o.err = fmt.Errorf("writing %s: %w", o.path, err)
	}
	return n, o.err
}

// Commit makes the output durable and gives it its name. Where it cannot, nothing is
// left behind. It never replaces a file that came in between.
func (o *File) Commit() error {
	if o.f == nil {
		return errors.New("output is finished already")
	}
	err := o.err
	if err == nil {
		err = o.f.Sync()
	}
	if e := o.f.Close(); err == nil {
		err = e
	}
	hidden := o.f.Name()
	o.f = nil
	if err == nil {
		err = rename(hidden, o.path)
	}
	if err != nil {
		os.Remove(hidden)
		return fmt.Errorf("finishing %s: %w", o.path, err)
	}
	// Sync the directory too: after a power cut the name may otherwise be gone while
	// something else already points to it.
	if err := syncDir(filepath.Dir(o.path)); err != nil {
		return fmt.Errorf("finishing %s: %w", o.path, err)
	}
	return nil
}

// rename moves without replacing. A hard link fails where the name is taken, which a
// rename does not.
//
// LIMIT: on file systems without links another program can still take the name between
// the look and the rename.
func rename(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) {
		return fs.ErrExist
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// Abort removes the output. It does nothing after Commit, so it can be deferred.
func (o *File) Abort() error {
	if o.f == nil {
		return nil
	}
	name := o.f.Name()
	err := o.f.Close()
	o.f = nil
	return errors.Join(err, os.Remove(name))
}
