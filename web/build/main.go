// Command build writes the files of web/dist: go run ./web/build. With -viewer FILE it writes pcapsule-viewer.html there instead,
// with the program of cmd/pcapsule-viewer that -program names.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/web/bundler"
)

func main() {
	viewer, program := flag.String("viewer", "", "file to write the viewer to"), flag.String("program", "", "the program of the viewer, for js/wasm")
	flag.Parse()
	var err error
	if *viewer != "" {
		err = writeViewer(*viewer, *program)
	} else {
		err = writePage()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writePage() error {
	files, err := bundler.Build("web")
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join("web/dist", name), text, 0o644)
		}
	}
	return err
}

func writeViewer(path, program string) error {
	wasm, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("asking go for GOROOT: %w", err)
	}
	runner, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib/wasm/wasm_exec.js"))
	if err != nil {
		return err
	}
	page, err := bundler.Viewer("web", wasm, runner, true)
	if err != nil {
		return err
	}
	return os.WriteFile(path, page, 0o644)
}
