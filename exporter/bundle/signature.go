package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/exporter/bundle/internal/disk"
)

// AddCustodyFile adds a signature or time stamp as custody/NAME, durably. It never replaces a
// file: the error then wraps ErrExists.
func (b *Bundle) AddCustodyFile(name string, data []byte) error {
	if err := b.addCustodyFile(name, data); err != nil {
		return fmt.Errorf("adding %s%s to %s: %w", custodyDir, name, b.Dir, err)
	}
	return nil
}

func (b *Bundle) addCustodyFile(name string, data []byte) (err error) {
	if len(data) > maxSignature {
		return fmt.Errorf("%d bytes, more than %d", len(data), maxSignature)
	}
	if !validRel(custodyDir + name) {
		return fmt.Errorf("%q is not a valid name", name)
	}
	dir := filepath.Join(b.Dir, filepath.FromSlash(custodyDir))
	f, err := os.CreateTemp(filepath.Dir(b.Dir), ".signature-*") // beside the bundle: a crash leaves nothing in it
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
		}
	}()
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(filepath.Join(b.Dir, filepath.FromSlash(custodyName))); err == nil {
		mode = info.Mode().Perm()
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = disk.RenameNew(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncPath(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadCustodyFile reads custody/NAME. The error wraps fs.ErrNotExist if there is none.
func (b *Bundle) ReadCustodyFile(name string) ([]byte, error) {
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s%s: %w", custodyDir, name, err)
	}
	defer root.Close()
	data, err := readAll(dirSource{root}, custodyDir+name, maxSignature)
	if err != nil {
		return nil, fmt.Errorf("reading %s%s: %w", custodyDir, name, err)
	}
	return data, nil
}
