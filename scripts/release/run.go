package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// start runs the pcapsule in dir, natively or in an emulator.
func (t *target) start(dir string, args ...string) (*exec.Cmd, error) {
	if err := t.run.tree.make(); err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	exe, err := filepath.Abs(filepath.Join(dir, t.file(pcapsule)))
	if err != nil {
		return nil, err
	}
	return t.run.tree.command(".", []string{here}, slices.Concat(t.run.environment(), t.run.prefix, []string{exe}, args)...)
}

// environment returns the start of a command line that sets a program's few variables.
func (r *runner) environment() []string {
	return slices.Concat([]string{"env", "-i", "HOME=/root", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "NO_COLOR=1"}, r.env)
}
