package bundle

import (
	"archive/zip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// zipDate is 1980-01-01, the first day that ZIP can tell.
const zipDate = 1<<5 | 1

// Pack writes the bundle in dir as a transport ZIP: stored members in the order of
// their names, below the folder's own name, all of 1980-01-01, so that the same folder
// gives the same bytes. The ZIP appears under its name when it is whole. Where something
// is at zipPath already, the error wraps ErrExists.
func Pack(dir, zipPath string) error {
	if err := pack(dir, zipPath); err != nil {
		return fmt.Errorf("packing %s: %w", dir, err)
	}
	return nil
}

func pack(dir, zipPath string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if zipPath, err = filepath.Abs(zipPath); err != nil {
		return err
	}
	if _, err := os.Lstat(zipPath); err == nil {
		return fmt.Errorf("%s: %w", zipPath, ErrExists)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	src := dirSource{root}
	b, err := read(src)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o666)
	if b.Manifest.Decrypted() {
		mode = 0o600
	}
	var names []string
	if err := src.walk(func(rel string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() || !validRel(rel) {
			return &DamagedError{File: rel, What: "not a plain file with a plain name"}
		}
		names = append(names, rel)
		return nil
	}); err != nil {
		return err
	}
	slices.Sort(names)
	return writeNew(zipPath, mode, func(f *os.File) error {
		w := zip.NewWriter(f)
		for _, rel := range names {
			if err := addMember(w, src, SafeName(filepath.Base(dir))+"/"+rel, rel); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

// addMember stores one file. Its checksum is taken first, so that the header in front
// of the bytes is whole and a reader without seeking can take the ZIP too.
func addMember(w *zip.Writer, src source, name, rel string) error {
	sum, size, err := checksum(src, rel)
	if err != nil {
		return err
	}
	f, err := src.open(rel)
	if err != nil {
		return err
	}
	defer f.Close()
	h := &zip.FileHeader{Name: name, Method: zip.Store}
	h.SetMode(0o644)
	var to io.Writer
	if size < 1<<32-1 {
		//lint:ignore SA1019 Modified has no effect on a raw header
		h.ModifiedDate = zipDate
		h.CRC32, h.CompressedSize64, h.UncompressedSize64 = sum, uint64(size), uint64(size)
		h.ReaderVersion = 20
		to, err = w.CreateRaw(h)
	} else {
		// The writer puts 64-bit sizes in front of the bytes for nobody; behind
		// them it does, which is what CreateHeader asks for.
		//lint:ignore SA1019 Modified would add a field with a time zone
		h.ModifiedDate = zipDate
		to, err = w.CreateHeader(h)
	}
	if err != nil {
		return err
	}
	crc := crc32.NewIEEE()
	n, err := io.Copy(io.MultiWriter(to, crc), f)
	if err != nil {
		return fmt.Errorf("packing %s: %w", rel, err)
	}
	if n != size || crc.Sum32() != sum {
		return fmt.Errorf("packing %s: it changed meanwhile", rel)
	}
	return nil
}

func checksum(src source, rel string) (sum uint32, size int64, err error) {
	f, err := src.open(rel)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	crc := crc32.NewIEEE()
	size, err = io.Copy(crc, f)
	return crc.Sum32(), size, err
}

// writeNew makes a file that appears under its name only when it is whole and on the disk.
func writeNew(final string, mode fs.FileMode, write func(*os.File) error) (err error) {
	hidden := hiddenName(final)
	f, err := os.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(hidden)
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = renameNew(hidden, final); err != nil {
		return err
	}
	return syncParent(final)
}

// Unpack is the reverse of Pack: it makes the bundle in zipPath the folder dir, which
// must not exist. Nothing is left where it fails.
func Unpack(zipPath, dir string) error {
	z, err := newZipSource(zipPath)
	if err == nil {
		defer z.Close()
		err = z.unpack(dir)
	}
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", zipPath, err)
	}
	return nil
}

func (z *zipSource) unpack(dir string) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	b := &Builder{final: dir, dir: hiddenName(dir)}
	folder := fs.FileMode(0o777)
	if m, err := readManifest(z); err == nil && m.Decrypted() {
		b.private.Store(true)
		folder = 0o700
	}
	if err := os.Mkdir(b.dir, folder); err != nil {
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
		if err := z.extract(root, rel, b.Mode()); err != nil {
			return err
		}
	}
	if err := b.sync(); err != nil {
		return err
	}
	return b.publish()
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
