package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A stub describes a macOS library to the linker. Apple's stubs come only with its SDK; these have just
// the symbols that Go's packages import. So a missing symbol fails the build, and no Apple file is
// needed.
type stub struct {
	path, library, compatible string
}

var stubs = []stub{
	{"CoreFoundation.framework/CoreFoundation.tbd", "/System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation", "150"},
	{"Security.framework/Security.tbd", "/System/Library/Frameworks/Security.framework/Versions/A/Security", "1"},
	{"libresolv.tbd", "/usr/lib/libresolv.9.dylib", "1"},
}

var imported = regexp.MustCompile(`(?m)^//go:cgo_import_dynamic \w+ (\w+) "([^"]+)"`)

// importsOf lists what Go's packages in src import from each library of macOS.
func importsOf(src string) (map[string][]string, error) {
	all := map[string][]string{}
	err := filepath.WalkDir(src, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range imported.FindAllSubmatch(text, -1) {
			all[string(m[2])] = append(all[string(m[2])], "_"+string(m[1]))
		}
		return nil
	})
	for lib, symbols := range all {
		slices.Sort(symbols)
		all[lib] = slices.Compact(symbols)
	}
	return all, err
}

// text writes the stub as a file (TBD, version 4).
func (s stub) text(symbols []string) []byte {
	const both = "[ x86_64-macos, arm64-macos ]"
	var b bytes.Buffer
	fmt.Fprintf(&b, "--- !tapi-tbd\ntbd-version: 4\ntargets: %s\ninstall-name: '%s'\ncurrent-version: %s\ncompatibility-version: %s\n", both, s.library, s.compatible, s.compatible)
	fmt.Fprintf(&b, "exports:\n  - targets: %s\n    symbols: [ %s ]\n...\n", both, strings.Join(symbols, ",\n               "))
	return b.Bytes()
}
