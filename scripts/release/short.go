package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// short starts the node's program for arm64 under QEMU.
func short() error {
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		return fmt.Errorf("%w; install the package qemu-user-static", err)
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
