package exit

import (
	"fmt"
	"os"
	"path/filepath"
)

// Outside refuses paths that lie in a bundle: what a command writes there would be a file
// that no manifest lists. Links are followed as far as the path exists. Empty paths and -
// pass.
func Outside(paths ...string) error {
	for _, path := range paths {
		if path == "" || path == "-" {
			continue
		}
		if b := bundleAround(path); b != "" {
			return With(fmt.Errorf("output %s: it lies in the bundle %s, which must stay as it is", path, b), Usage, "choose a place outside of the bundle")
		}
	}
	return nil
}

// bundleAround is the folder of the bundle that path is, or lies in; empty for none.
func bundleAround(path string) string {
	dir, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	for {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			dir = real
			break
		}
		up := filepath.Dir(dir) // not there yet
		if up == dir {
			return ""
		}
		dir = up
	}
	for {
		if isFile(filepath.Join(dir, "bagit.txt")) && isFile(filepath.Join(dir, "data", "bundle.json")) {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}
