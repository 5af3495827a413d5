package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// tree is a Debian file system with the tools of some targets. The tools come from Debian's archive
// through this machine's apt settings, so every machine builds with the same compilers, whatever is
// installed on it.
type tree struct {
	name     string
	suite    string
	packages []string
	pip      []string // requirements with hashes, installed in /opt/zig
}

var (
	// plain is a fresh system: the programs must start on it without further packages.
	plain = &tree{name: "plain", suite: "bookworm"}
	// bookworm builds for Linux (with the older C library of the two) and macOS.
	bookworm = &tree{
		name: "bookworm", suite: "bookworm",
		packages: []string{"gcc", "g++", "libc6-dev", "g++-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static", "python3-pip", "lintian"},
		pip:      zigRequirements,
	}
	// trixie builds for Windows: the first Debian whose mingw has the C runtime (UCRT)
	// that DuckDB's library was built for, and whose Wine starts Go's programs.
	trixie = &tree{name: "trixie", suite: "trixie", packages: []string{"g++-mingw-w64-ucrt64", "wine", "wine64"}}
)

// zigRequirements pins the compiler for macOS, which PyPI has for Linux on both architectures.
var zigRequirements = []string{"ziglang==0.17.0"}

// cache is the folder for trees and other expensive results.
func cache() (string, error) {
	dir := os.Getenv("RELEASE_CACHE")
	if dir == "" {
		dir = filepath.Join(".cache", "release")
	}
	return filepath.Abs(dir)
}

func (t *tree) dir() (string, error) {
	c, err := cache()
	return filepath.Join(c, t.name), err
}

// make builds the tree unless it already exists with the same packages.
func (t *tree) make() error {
	dir, err := t.dir()
	if err != nil {
		return err
	}
	recipe := strings.Join(slices.Concat([]string{t.suite}, t.packages, t.pip), "\n") + "\n"
	if done, err := os.ReadFile(dir + ".done"); err == nil && string(done) == recipe {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("making a Debian tree: needs root; run make release as root")
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return errors.New("making a Debian tree: needs debootstrap; install the package debootstrap")
	}
	step("making the Debian tree %s (%s)", t.name, strings.Join(append([]string{t.suite}, t.packages...), " "))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	log, err := os.Create(dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command("scripts/release/make-tree.sh", append([]string{dir, t.suite}, t.packages...)...)
	c.Env = append(os.Environ(), "PIP_REQUIREMENTS="+strings.Join(t.pip, "\n"))
	c.Stdout, c.Stderr = log, log
	if err := c.Run(); err != nil {
		return fmt.Errorf("making the Debian tree %s: %w; see %s.log", t.name, err, dir)
	}
	return os.WriteFile(dir+".done", []byte(recipe), 0o644)
}

// command returns a command that runs in the tree, in dir. The folders in shared have the same path
// inside; one that ends in ":ro" is read-only.
func (t *tree) command(dir string, shared []string, args ...string) (*exec.Cmd, error) {
	root, err := t.dir()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	list := append([]string{root, dir}, shared...)
	c := exec.Command("scripts/release/in-root.sh", append(append(list, "--"), args...)...)
	c.Stderr = os.Stderr
	return c, nil
}
