package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Verification does not write into a bundle, so its success is recorded in the cache, in a
// file whose name is a hash of the path, mode, size and time of every file of the bundle. If
// any of these changes, the name differs.

// MarkVerified records that the bundle in the folder dir was verified. Errors are ignored.
func MarkVerified(dir string) {
	path, err := verifiedPath(dir)
	if err != nil || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	_ = os.WriteFile(path, nil, 0o600)
	now := time.Now()
	_ = os.Chtimes(path, now, now)
}

// Verified returns when the bundle in the folder dir was verified. ok is false if it was not,
// or if the size or time of one of its files has changed since.
func Verified(dir string) (at time.Time, ok bool) {
	path, err := verifiedPath(dir)
	if err != nil {
		return at, false
	}
	info, err := os.Stat(path)
	if err != nil {
		return at, false
	}
	return info.ModTime(), true
}

func verifiedPath(dir string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	h := sha256.New()
	err = filepath.WalkDir(dir, func(p string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		info, err := f.Info()
		if err == nil {
			fmt.Fprintf(h, "%q %v %d %d\n", p, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	return filepath.Join(cache, "pcapsule", "verified", hex.EncodeToString(h.Sum(nil)[:16])), err
}
