package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// varies matches output that may differ between two runs: durations, and the hashes of bag-info.txt
// and of the log of custody, which contain the time.
var varies = regexp.MustCompile(`in [0-9.]+ ?m?s\b|tagmanifest sha256 [0-9a-f]{64}|unbroken, head [0-9a-f]{16}`)

// compareSaid compares the standard output of one run with the reference.
func (t *target) compareSaid(reference, work string, s scenario) error {
	if slices.ContainsFunc(elsewhere, func(e scenario) bool { return e.name == s.name }) {
		return nil
	}
	want, err := os.ReadFile(filepath.Join(reference, s.name+".out"))
	if err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(work, s.name+".out"))
	if err != nil {
		return err
	}
	a, b := plainText(want), plainText(got)
	if s.args[0] == "mcp" { // the order of answers varies
		a, b = sortedLines(a), sortedLines(b)
	}
	if a != b {
		return fmt.Errorf("%s prints something else than on linux/amd64: compare %s and %s", s.name, filepath.Join(reference, s.name+".out"), filepath.Join(work, s.name+".out"))
	}
	return nil
}

func sortedLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func plainText(b []byte) string {
	s := varies.ReplaceAllString(string(b), "…")
	return strings.ReplaceAll(strings.ReplaceAll(s, `\\`, "/"), `\`, "/")
}

// compareBundles compares the bundles in two folders, except files with times, and the other outputs.
func compareBundles(a, b string) (int, error) {
	found, err := filepath.Glob(filepath.Join(a, "*.pcapsule"))
	if err != nil {
		return 0, err
	}
	for _, bundle := range found {
		other := filepath.Join(b, filepath.Base(bundle))
		for _, part := range []string{"data", "manifest-sha256.txt", "bagit.txt"} {
			if err := sameTree(filepath.Join(bundle, part), filepath.Join(other, part)); err != nil {
				return 0, err
			}
		}
	}
	for _, f := range []string{"slice.pcapng"} {
		if err := sameTree(filepath.Join(a, f), filepath.Join(b, f)); err != nil {
			return 0, err
		}
	}
	if len(found) == 0 {
		return 0, errors.New("linux/amd64 made no bundle")
	}
	return len(found), nil
}

// sameTree reports the first difference of two files or folders.
func sameTree(a, b string) error {
	names := map[string]bool{}
	for _, root := range []string{a, b} {
		if err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				names[strings.TrimPrefix(p, root)] = true
			}
			return err
		}); err != nil {
			return err
		}
	}
	for name := range names {
		x, err := os.ReadFile(a + name)
		if err != nil {
			return err
		}
		y, err := os.ReadFile(b + name)
		if err != nil {
			return err
		}
		if !bytes.Equal(x, y) {
			return fmt.Errorf("%s and %s differ", a+name, b+name)
		}
	}
	return nil
}
