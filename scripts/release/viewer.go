package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pcapsule/pcapsule/web/bundler"
)

// viewerName is the page that checks and reads bundles. It is beside the programs, where pcapsule handover finds it.
const viewerName = "pcapsule-viewer.html"

// page is the viewer, built once for all targets.
func (r *release) page() ([]byte, error) {
	if r.viewer != nil {
		return r.viewer, nil
	}
	step("building %s", viewerName)
	dir, err := os.MkdirTemp("", "viewer")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "viewer.wasm")
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags",
		fmt.Sprintf("-s -w -buildid= -X %[1]s/internal/version.Release=%[2]s -X %[1]s/internal/version.Commit=%[3]s", module, r.version, r.commit), "-o", program, "./cmd/pcapsule-viewer")
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly"), os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("building %s: %w", viewerName, err)
	}
	wasm, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	paths, err := goPaths()
	if err != nil {
		return nil, err
	}
	runner, err := os.ReadFile(filepath.Join(paths["GOROOT"], "lib/wasm/wasm_exec.js"))
	if err != nil {
		return nil, err
	}
	r.viewer, err = bundler.Viewer("web", wasm, runner, true)
	return r.viewer, err
}

// putPage writes the viewer into a folder.
func putPage(r *release, dir string) error {
	page, err := r.page()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, viewerName), page, 0o644)
}
