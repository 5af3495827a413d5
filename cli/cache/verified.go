package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	forget(filepath.Dir(path), now, maxVerified)
}

// The bounds of the record: the age of a verification, and the number of them.
const (
	verifiedAge = 365 * 24 * time.Hour
	maxVerified = 10_000
)

// forget removes the verifications in dir that are too old, and the oldest above most.
func forget(dir string, now time.Time, most int) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var all []fs.FileInfo
	for _, f := range list {
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() {
			all = append(all, info)
		}
	}
	slices.SortFunc(all, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for i, f := range all {
		if len(all)-i > most || now.Sub(f.ModTime()) > verifiedAge {
			_ = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
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
