package whole

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is an output that gets its name only when it is complete. Until Commit it has a
// hidden name in the same folder. Only its owner may read it, because captures contain
// payloads, and possibly keys.
type File struct {
	f    *os.File
	path string
	err  error
}

// CreateFile begins an output. If the path exists, it returns fs.ErrExist.
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

// Write appends to the hidden file. After an error, Commit fails.
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

// Commit makes the output durable and renames it to its final name. If it fails, nothing is left
// behind. It never replaces a file that was created in the meantime.
func (o *File) Commit() error {
	if o.f == nil {
		return errors.New("the output is already finished")
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
		err = Place(hidden, o.path)
	}
	if err != nil {
		os.Remove(hidden)
		return fmt.Errorf("finishing %s: %w", o.path, err)
	}
	// Sync the directory too: after a power cut the name could otherwise be missing although
	// something else already refers to it.
	if err := SyncFolder(filepath.Dir(o.path)); err != nil {
		return fmt.Errorf("finishing %s: %w", o.path, err)
	}
	return nil
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
