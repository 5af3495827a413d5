package bundle

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Unpack unpacks the bundle in a transport ZIP of size bytes to the folder dir, which must not
// exist, and verifies it before it gets that name. Nothing remains if it fails; the error of a
// bundle that does not verify wraps ErrVerification.
func Unpack(ctx context.Context, r io.ReaderAt, size int64, dir string) (report *Report, err error) {
	z, err := readZipAt(r, size)
	if err != nil {
		return nil, err
	}
	err = z.unpackTo(dir, func(dir string) error {
		var err error
		if report, err = verifyPath(ctx, dir, nil); err != nil {
			return err
		}
		return report.Err()
	})
	return report, err
}

// unpack unpacks the bundle in the ZIP to the folder dir, which must not exist. If it fails, it
// leaves nothing behind.
func (z *zipSource) unpack(dir string) error {
	return z.unpackTo(dir, func(string) error { return nil })
}

// unpackTo unpacks the ZIP and renames the folder to its final name if check accepts the content.
func (z *zipSource) unpackTo(dir string, check func(dir string) error) error {
	f, err := NewFolder(dir)
	if err != nil {
		return err
	}
	defer f.Abort()
	m, err := readManifest(z)
	if err != nil && !errors.Is(err, ErrNewerSchema) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	mode := fs.FileMode(0o666)
	if m == nil || m.secret() {
		if err := f.b.Private(); err != nil {
			return err
		}
		mode = f.b.Mode()
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, rel := range z.order {
		if err := z.extract(root, rel, mode); err != nil {
			return err
		}
	}
	if err := check(f.Dir); err != nil {
		return err
	}
	return f.Publish()
}

// secret reports whether a bundle has keys, or rows that keys opened.
func (m *Manifest) secret() bool {
	for i := range m.Inputs {
		if m.Inputs[i].Secrets > 0 {
			return true
		}
	}
	for i := range m.SideInputs {
		if strings.HasPrefix(m.SideInputs[i].Kind, "keys") {
			return true
		}
	}
	return false
}

func (z *zipSource) extract(root *os.Root, rel string, mode fs.FileMode) error {
	local := filepath.FromSlash(rel)
	if i := strings.LastIndexByte(rel, '/'); i > 0 {
		if err := root.MkdirAll(filepath.FromSlash(rel[:i]), 0o777); err != nil {
			return &DamagedError{File: rel, What: err.Error(), Err: err}
		}
	}
	r, err := z.open(rel)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return &DamagedError{File: rel, What: "a file and a folder have this name", Err: err}
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
