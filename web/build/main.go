// Build writes the files of web/dist: go run ./web/build.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/web/bundler"
)

func main() {
	files, err := bundler.Build("web")
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join("web/dist", name), text, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
