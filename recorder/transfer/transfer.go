// Package transfer copies finished files from a folder of one machine to a folder of another over
// HTTP.
//
// The sender lists names, sizes and hashes. The receiver requests each file by name and hash, so
// that it can continue an interrupted transfer, and gives the file its name only if its hash is the
// listed one. Names that lead out of the folder, on either side, are refused.
package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// File is one file of a listing.
type File struct {
	Name   string `json:"name"` // with slashes, relative to the folder
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // in hex
}

// Limits of a listing.
const (
	MaxFiles = 1_000_000
	maxName  = 1024
)

// ErrListing means that a listing must not be used.
var ErrListing = errors.New("invalid list of files")

// Check reports the first entry of a listing that must not be used: a name that is not plain,
// or that another entry needs as a folder or already has.
func Check(list []File) error {
	if len(list) > MaxFiles {
		return fmt.Errorf("%w: %d files, the limit is %d", ErrListing, len(list), MaxFiles)
	}
	files, folders := map[string]bool{}, map[string]bool{}
	for _, f := range list {
		folded := strings.ToLower(f.Name) // the receiver's disk may not distinguish case
		switch {
		case !plain(f.Name):
			return fmt.Errorf("%w: name %.120q: must be a relative path without dots at the start of a part", ErrListing, f.Name)
		case f.Size < 0:
			return fmt.Errorf("%w: %s has size %d", ErrListing, f.Name, f.Size)
		case !isHash(f.SHA256):
			return fmt.Errorf("%w: %s has hash %.80q, expected 64 lower-case hexadecimal digits", ErrListing, f.Name, f.SHA256)
		case files[folded] || folders[folded]:
			return fmt.Errorf("%w: %s occurs twice", ErrListing, f.Name)
		}
		files[folded] = true
		for dir := path.Dir(folded); dir != "."; dir = path.Dir(dir) {
			if files[dir] {
				return fmt.Errorf("%w: %s is a file and a folder", ErrListing, dir)
			}
			folders[dir] = true
		}
	}
	return nil
}

// plain reports whether a name is a relative path in any system.
func plain(name string) bool {
	if len(name) > maxName || name == "." || !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\\:\x00") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return false
		}
	}
	return true
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}

// Total is the size of all files in bytes.
func Total(list []File) (n int64) {
	for _, f := range list {
		n += f.Size
	}
	return n
}

// List lists a folder, with the hash of each file. Hidden files and folders are not included;
// anything else that is neither a file nor a folder is an error. known returns the hash of a file
// that need not be read; it may be nil.
func List(dir string, known func(name string) (sha256 string, ok bool)) ([]File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("listing files: %w", err)
	}
	defer root.Close()
	list := []File{}
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", name)
		}
		f, err := describe(root, name, known)
		list = append(list, f)
		return err
	})
	if err == nil {
		err = Check(list)
	}
	if err != nil {
		return nil, fmt.Errorf("listing files of %s: %w", dir, err)
	}
	return list, nil
}

func describe(root *os.Root, name string, known func(string) (string, bool)) (File, error) {
	f, err := root.Open(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	out := File{Name: name, Size: info.Size()}
	if known != nil {
		if sum, ok := known(name); ok {
			out.SHA256 = sum
			return out, nil
		}
	}
	h := sha256.New()
	if out.Size, err = io.Copy(h, f); err != nil {
		return File{}, err
	}
	out.SHA256 = hex.EncodeToString(h.Sum(nil))
	return out, nil
}

// Serve answers a request for a file of a folder. The hash is the ETag, so If-Match and Range
// continue exactly this file.
func Serve(w http.ResponseWriter, r *http.Request, dir string, f File) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		http.Error(w, "the folder is gone", http.StatusGone)
		return
	}
	defer root.Close()
	in, err := root.Open(filepath.FromSlash(f.Name))
	if err != nil {
		http.Error(w, f.Name+" is gone", http.StatusGone)
		return
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
		http.Error(w, f.Name+" is not as listed", http.StatusPreconditionFailed)
		return
	}
	w.Header().Set("ETag", `"`+f.SHA256+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	// Compression or caching by something in between would break ranges.
	w.Header().Set("Cache-Control", "no-store, no-transform")
	http.ServeContent(w, r, "", time.Time{}, in)
}
