// Package cache keeps the bundles that commands make from captures.
//
// The key of a bundle is a hash of its inputs: the bytes of the captures and of every other
// file, the options, and the program. So a changed file never returns an old answer. Bundles
// that were not used for MaxAge are removed. If all bundles are larger than MaxBytes, the
// least recently used ones are removed.
package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// The bounds of a cache.
const (
	MaxAge   = 30 * 24 * time.Hour
	MaxBytes = 20e9
)

const ending = ".pcapsule"

// Dir returns the folder of the user's cache for bundles of one kind. Get creates it.
func Dir(kind string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache: %w", err)
	}
	return filepath.Join(dir, "pcapsule", kind), nil
}

// Key is a hash of the inputs of a bundle.
type Key struct{ h hash.Hash }

// NewKey starts a key with inputs that are not files, such as the release and the options.
func NewKey(words ...string) Key {
	k := Key{sha256.New()}
	for _, w := range words {
		k.Word(w)
	}
	return k
}

// Word adds a string, such as an option.
func (k Key) Word(w string) { fmt.Fprintf(k.h, "%d %s\n", len(w), w) }

// Add adds the name and the content of a file. The name is included because bundles quote
// it. stopped returns the error of an interrupt.
func (k Key) Add(path string, stopped func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name, sum, buf := filepath.Base(path), sha256.New(), make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err = cmp.Or(err, stopped()); err != nil {
			return err
		}
	}
	k.Word(name)
	k.h.Write(sum.Sum(nil))
	return nil
}

// Name returns the name of the bundle in the cache. It begins with what people know the content by.
func (k Key) Name(content string) string {
	content = strings.Trim(noName.ReplaceAllString(strings.ToLower(content), "-"), "-.")
	if content != "" {
		content = content[:min(len(content), 40)] + "-"
	}
	return content + hex.EncodeToString(k.h.Sum(nil)[:8]) + ending
}

var noName = regexp.MustCompile(`[^a-z0-9._=-]+`)

// Get holds the bundle at path in a cache. If the bundle does not exist it calls build first.
func Get(path string, build func() error) (*bundle.Held, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	held, err := bundle.Hold(path)
	if errors.Is(err, fs.ErrNotExist) {
		Trim(dir, time.Now(), MaxBytes)
		// If another program has built it in the meantime, use that.
		if err = build(); err == nil || errors.Is(err, bundle.ErrExists) {
			held, err = bundle.Hold(path)
		}
	}
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(path, now, now) // for Trim; a read-only cache can still be used
	}
	return held, err
}

// Trim removes the bundles in dir that were not used for MaxAge, then the least recently used
// ones until the rest is not larger than most bytes. It keeps bundles in use.
func Trim(dir string, now time.Time, most int64) {
	type entry struct {
		path string
		used time.Time
		size int64
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var all []entry
	var total int64
	for _, f := range list {
		info, err := f.Info()
		if err != nil || !f.IsDir() || !strings.HasSuffix(f.Name(), ending) {
			continue
		}
		x := entry{filepath.Join(dir, f.Name()), info.ModTime(), size(filepath.Join(dir, f.Name()))}
		all, total = append(all, x), total+x.size
	}
	slices.SortFunc(all, func(a, b entry) int { return a.used.Compare(b.used) })
	for _, x := range all {
		if (total > most || now.Sub(x.used) > MaxAge) && bundle.RemoveUnheld(x.path) {
			total -= x.size
		}
	}
}

// size is the total size of the files below dir, in bytes.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
