package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// unpack unpacks the bundle in the ZIP to the folder dir, which must not exist. If it fails, it
// leaves nothing behind.
func (z *zipSource) unpack(dir string) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	b := &Builder{final: dir}
	if b.dir, b.held, err = makeHidden(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.Abort()
		}
	}()
	root, err := os.OpenRoot(b.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, rel := range z.order {
		if err := z.extract(root, rel); err != nil {
			return err
		}
	}
	if err := b.sync(); err != nil {
		return err
	}
	return b.publish()
}

func (z *zipSource) extract(root *os.Root, rel string) error {
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
	f, err := root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
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
