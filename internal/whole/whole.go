// Package whole writes small files that are complete whenever they have their final name. The bytes are first written
// to a hidden file in the same folder, which is removed after an error.
package whole

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Text returns a function that writes text, for the functions below.
func Text(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}

// Replace writes a file in place of an older one, if there is one. After a power cut, the file may be empty.
func Replace(path string, mode fs.FileMode, write func(io.Writer) error) error {
	return put(path, mode, write, false, os.Rename)
}

// ReplaceDurably is Replace that waits for the disk: after a power cut there is the older file or the new one.
func ReplaceDurably(path string, mode fs.FileMode, write func(io.Writer) error) error {
	if err := put(path, mode, write, true, os.Rename); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// Create writes a file that does not exist yet; if it does, the error is fs.ErrExist.
func Create(path string, mode fs.FileMode, write func(io.Writer) error) error {
	return put(path, mode, write, false, Place)
}

// CreateDurably is Create that waits for the disk: after a power cut there is the whole file or none.
func CreateDurably(path string, mode fs.FileMode, write func(io.Writer) error) error {
	if err := put(path, mode, write, true, Place); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// Place renames a file. If the new name is taken, the error is fs.ErrExist: a hard link fails then, a rename does not.
//
// LIMIT: on file systems without links, a file that another program creates in the meantime is replaced.
func Place(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if _, there := os.Lstat(to); there == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

func put(path string, mode fs.FileMode, write func(io.Writer) error, sync bool, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return named(path, err)
	}
	err = errors.Join(write(f), f.Chmod(mode))
	if sync {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = named(path, place(f.Name(), path))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// named returns err about path, without the name of the hidden file.
func named(path string, err error) error {
	if err == nil {
		return nil
	}
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	return &fs.PathError{Op: "writing", Path: path, Err: err}
}

// SyncFolder makes the names in a folder durable.
func SyncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // Windows cannot sync a folder
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
