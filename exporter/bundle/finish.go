package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/exporter/bundle/internal/disk"
	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
)

// payload lists every file below data/ with its SHA-256, sorted, and their total size. It reads
// only unregistered files.
func (b *Builder) payload() ([]line, int64, error) {
	b.mu.Lock()
	left := make(map[string]known, len(b.known))
	var lines []line
	var unread []int
	var total int64
	for rel, k := range b.known {
		if k.discarded {
			lines, total = append(lines, line{rel, k.sha256}), total+k.size
		} else {
			left[rel] = k
		}
	}
	b.mu.Unlock()
	err := fs.WalkDir(os.DirFS(b.dir), "data", func(rel string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || !portable(rel) {
			return fmt.Errorf("%s: not a plain file with a plain name", rel)
		}
		k, ok := left[rel]
		if ok && k.size != info.Size() {
			return fmt.Errorf("%s has %d bytes, was registered with %d", rel, info.Size(), k.size)
		}
		if !ok {
			unread = append(unread, len(lines))
		}
		delete(left, rel)
		total += info.Size()
		lines = append(lines, line{rel, k.sha256})
		if len(lines) > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("listing data: %w", err)
	}
	for rel := range left {
		return nil, 0, fmt.Errorf("%s was registered, but is not there", rel)
	}
	err = each(len(unread), func(i int) (err error) {
		if err := b.stopped(); err != nil {
			return err
		}
		l := &lines[unread[i]]
		l.sha256, err = hashFile(filepath.Join(b.dir, filepath.FromSlash(l.path)), sha.New())
		return err
	})
	sortLines(lines)
	return lines, total, err
}

// sync syncs every file and folder to disk, files first: a folder that survives a power cut must
// not name a file with lost bytes.
func (b *Builder) sync() error {
	var files, dirs []string
	err := filepath.WalkDir(b.dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, p)
		} else if err == nil {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	for _, list := range [][]string{files, dirs} {
		if err := each(len(list), func(i int) error {
			if err := b.stopped(); err != nil {
				return err
			}
			return syncPath(list[i])
		}); err != nil {
			return err
		}
	}
	return nil
}

// publish gives the bundle its name, and blocks Abort meanwhile.
func (b *Builder) publish() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.aborted {
		return ErrAborted
	}
	if err := disk.RenameNew(b.dir, b.final); err != nil {
		return err
	}
	b.done = true
	b.held.Release()
	// Sync the parent too: after a power cut the new name may otherwise be gone while Finish has
	// reported the bundle as complete.
	return syncParent(b.final)
}

// syncParent syncs the folder of p, if it can be opened: a writable folder may not be readable.
func syncParent(p string) error {
	if err := syncPath(filepath.Dir(p)); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func syncPath(p string) error {
	f, err := disk.OpenToSync(p)
	if err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	if f == nil { // a folder, on Windows
		return nil
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !disk.Unsupported(err) {
		return fmt.Errorf("syncing: %w", err)
	}
	return nil
}

// workers is the number of files hashed or synced in parallel. With more than two, the disk
// limits hashing.
const workers = 2

// each runs do for 0 to n-1 on a few goroutines and returns the error of the lowest number that
// failed.
func each(n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if errs[i] = do(i); errs[i] != nil {
					next.Store(int64(n)) // the others need not start
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
