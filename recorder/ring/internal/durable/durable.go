// Package durable contains the file system operations of a ring: locks that end with their process,
// reserved space, and bytes and names that survive a power cut. It never replaces a file.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// LinkOrCopy links a file, or copies it if the disk has no links or is another one.
func LinkOrCopy(from, to string) (linked bool, err error) {
	if err := os.Link(from, to); err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil, err
	}
	return false, Copy(from, to)
}

// Copy copies a file with its permissions.
func Copy(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return CopyFrom(in, to, info.Mode().Perm()) // key files have other permissions
}

// CopyFrom writes a new file.
func CopyFrom(in io.Reader, to string, mode fs.FileMode) error {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// NoRoom reports whether an error means that the disk, the quota or the file is full.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
