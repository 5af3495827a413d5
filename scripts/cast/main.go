// Command cast records terminal sessions for the documents.
//
// It runs the commands of docs/recordings/NAME.txt in terminals of script(1), and writes what appears there as
// NAME.cast, an asciinema recording (version 2), and as NAME.svg, a picture of all of its lines.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	folder := flag.String("dir", "docs/recordings", "folder of the recordings")
	bin := flag.String("bin", "bin", "folder of the program")
	flag.Parse()
	if err := run(*folder, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(folder, bin string) error {
	scripts, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return err
	}
	for _, path := range scripts {
		commands, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c, err := record(strings.Split(strings.TrimSpace(string(commands)), "\n"), bin)
		if err != nil {
			return fmt.Errorf("recording %s: %w", path, err)
		}
		picture, err := c.svg()
		if err != nil {
			return fmt.Errorf("drawing %s: %w", path, err)
		}
		name := strings.TrimSuffix(path, ".txt")
		for end, text := range map[string]string{".cast": c.text(), ".svg": picture} {
			if err := os.WriteFile(name+end, []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
