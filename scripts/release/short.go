package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// short is the quick check for other systems: it compiles all parts of pcapsule that need no C compiler
// for Windows and macOS, and starts the node's program for arm64 under QEMU.
func short() error {
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		return fmt.Errorf("%w; install the package qemu-user-static", err)
	}
	for _, t := range targets {
		if t.name() != "windows/amd64" && t.name() != "darwin/arm64" {
			continue
		}
		list, err := withoutC(t)
		if err != nil {
			return err
		}
		c := exec.Command("go", append([]string{"build"}, list...)...)
		c.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("go build for %s: %w\n%s", t.name(), err, out)
		}
		fmt.Printf("%s: %d packages of ours compile\n", t.name(), len(list))
	}
	dir, err := os.MkdirTemp("", "release-short-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, recorder.name)
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", exe, "./cmd/"+recorder.name)
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s for linux/arm64: %w\n%s", recorder.name, err, out)
	}
	if err := checkArch("linux/arm64", []string{exe}); err != nil {
		return err
	}
	if err := checkArch("linux/amd64", []string{exe}); err == nil {
		return fmt.Errorf("a program for arm64 passes as one for amd64")
	}
	said, err := exec.Command(qemu, exe, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(said), "linux/arm64") {
		return fmt.Errorf("starting %s for linux/arm64 under QEMU: %v\n%s", recorder.name, err, said)
	}
	fmt.Printf("linux/arm64: starts under QEMU as %s", said)
	return nil
}

// withoutC lists our packages in pcapsule that need no C compiler for a target.
func withoutC(t *target) (list []string, err error) {
	c := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}|{{.Module}}|{{join .Deps \",\"}}", "./cmd/pcapsule")
	c.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=1")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages for %s: %w", t.name(), err)
	}
	for line := range strings.Lines(string(out)) {
		part := strings.SplitN(strings.TrimSpace(line), "|", 3)
		if part[1] == "github.com/pcapsule/pcapsule" && !strings.Contains(part[2], "github.com/duckdb/") && !strings.HasSuffix(part[0], "/internal/engine") {
			list = append(list, part[0])
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no package of ours for %s", t.name())
	}
	return list, nil
}
