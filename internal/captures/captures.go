// Package captures finds the project's folder and the public captures that tests read. These are not in
// the repository, because of their licences.
package captures

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder of the public captures, or skips the test if there is none.
func Dir(t testing.TB) string {
	t.Helper()
	dir := Find()
	if dir == "" {
		t.Skip("needs shared captures")
	}
	return dir
}

// Find returns the folder that PCAPSULE_CAPTURES names, else shared/captures beside the project; empty if
// it has no INDEX.tsv.
func Find() string {
	dir := os.Getenv("PCAPSULE_CAPTURES")
	if root := Project(); dir == "" && root != "" {
		dir = filepath.Join(filepath.Dir(root), "shared", "captures")
	}
	if dir == "" || !exists(filepath.Join(dir, "INDEX.tsv")) {
		return ""
	}
	return dir
}

// Project returns the project's folder that the working directory is in; empty if it is in none.
func Project() string {
	for at, _ := os.Getwd(); at != filepath.Dir(at); at = filepath.Dir(at) {
		if exists(filepath.Join(at, "go.mod")) && exists(filepath.Join(at, "Makefile")) { // not the module of a helper
			return at
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
