package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// short checks what a change can break on other systems in the time that every change has:
// everything that needs no C compiler is compiled and vetted for each target, and the
// node's program for arm64 is started under QEMU.
func short() error {
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		return fmt.Errorf("%w; install the package qemu-user-static", err)
	}
	for _, t := range targets[1:] {
		build, vet, err := withoutC(t)
		if err != nil {
			return err
		}
		for verb, packages := range map[string][]string{"build": build, "vet": vet} {
			c := exec.Command("go", append([]string{verb}, packages...)...)
			c.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=0")
			if out, err := c.CombinedOutput(); err != nil {
				return fmt.Errorf("go %s for %s: %w\n%s", verb, t.name(), err, out)
			}
		}
		fmt.Printf("%s: %d packages compile, %d are vetted with their tests\n", t.name(), len(build), len(vet))
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

// withoutC lists our packages that need no C for a target: those that compile, and those
// whose tests need none either.
func withoutC(t *target) (build, vet []string, err error) {
	c := exec.Command("go", "list", "-test", "-f", "{{.ImportPath}}|{{.ForTest}}|{{join .Deps \",\"}}", "./...")
	c.Env = append(os.Environ(), "GOOS="+t.os, "GOARCH="+t.arch, "CGO_ENABLED=1")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("listing packages for %s: %w", t.name(), err)
	}
	needs := map[string]bool{} // a package, or NAME.test for its tests
	var all []string
	for line := range strings.Lines(string(out)) {
		part := strings.SplitN(strings.TrimSpace(line), "|", 3)
		name, _, variant := strings.Cut(part[0], " ")
		c := strings.Contains(part[2], "github.com/duckdb/") || strings.HasSuffix(name, "/internal/duck")
		switch {
		case strings.HasSuffix(name, ".test") || variant:
			tested := part[1]
			if tested == "" {
				tested = strings.TrimSuffix(name, ".test")
			}
			needs[tested+".test"] = needs[tested+".test"] || c
		default:
			all, needs[name] = append(all, name), c
		}
	}
	for _, name := range all {
		if !needs[name] {
			build = append(build, name)
			if !needs[name+".test"] {
				vet = append(vet, name)
			}
		}
	}
	return build, vet, nil
}
