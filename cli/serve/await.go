package serve

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	awaitEvery = 5 * time.Second
	awaitDepth = 4   // folders below the one of --allow
	awaitMost  = 256 // bundles of a case
)

// await returns the bundles to begin with: those of the folder below --allow that has the newest. It waits until there
// is one, and until no other is added to them.
func (f *serveFlags) await(ctx context.Context, with Options, every time.Duration) ([]string, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	var before []string
	for said := false; ; said = true {
		found := newest(f.allow)
		if len(found) > 0 && (!said || slices.Equal(found, before)) {
			fmt.Fprintf(with.Err, "opening %s\n", strings.Join(found, ", "))
			return found, nil
		}
		if before = found; !said {
			fmt.Fprintf(with.Err, "waiting for a bundle in %s\n", strings.Join(f.allow, ", "))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(every):
		}
	}
}

// newest lists the bundles of the folder that has the newest one, by the times of their folders.
func newest(roots []string) []string {
	latest, at := "", time.Time{}
	in := map[string][]string{}
	for _, root := range roots {
		// Folders come and go meanwhile.
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch rel, _ := filepath.Rel(root, path); {
			case err != nil, !d.IsDir():
				return nil
			case strings.HasPrefix(d.Name(), ".") && path != root:
				return fs.SkipDir // it is being made
			case !strings.HasSuffix(d.Name(), ".pcapsule"):
				if strings.Count(rel, string(filepath.Separator)) >= awaitDepth {
					return fs.SkipDir
				}
				return nil
			}
			if _, err := os.Stat(filepath.Join(path, "bagit.txt")); err != nil {
				return fs.SkipDir
			}
			dir := filepath.Dir(path)
			in[dir] = append(in[dir], path)
			if info, err := d.Info(); err == nil && info.ModTime().After(at) {
				latest, at = dir, info.ModTime()
			}
			return fs.SkipDir
		})
	}
	found := in[latest]
	slices.Sort(found)
	return found[:min(len(found), awaitMost)]
}
