package exit

import (
	"fmt"
	"os"
	"path/filepath"
)

// Outside refuses paths inside a bundle, because no manifest would list a file written
// there. Links are followed as far as the path exists. Empty paths and - are accepted.
func Outside(paths ...string) error {
	for _, path := range paths {
		if path == "" || path == "-" {
			continue
		}
		if b := bundleAround(path); b != "" {
			return With(fmt.Errorf("output %s: it is inside the bundle %s, which must not be changed", path, b), Usage, "choose an output outside the bundle")
		}
	}
	return nil
}

// bundleAround returns the folder of the bundle that path is or is in; empty for none.
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
		up := filepath.Dir(dir) // dir does not exist yet
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
