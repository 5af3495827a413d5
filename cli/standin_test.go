package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// standIn is yr for scripts: it prints what yr of YARA-X 1.22 prints with --output-format ndjson, a line for each file that it
// searched, also one without matches. Its only rule is zip; rules with a name that is no rule are a mistake.
func standIn() {
	args := os.Args[1:]
	if len(args) < 3 || args[0] != "scan" || !slices.Contains(args, "ndjson") || !slices.Contains(args, "-r") {
		fmt.Fprintf(os.Stderr, "error: unexpected arguments %q\n", args)
		os.Exit(2)
	}
	rules, dir := args[len(args)-2], args[len(args)-1]
	text, err := os.ReadFile(rules)
	if err != nil || !bytes.HasPrefix(text, []byte("rule zip ")) {
		fmt.Fprintf(os.Stderr, "error[E001]: syntax error\n --> %s:1:1\n  |\n", rules)
		os.Exit(1)
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: scanning %q: %v\n", path, err)
			return nil
		}
		type rule struct {
			Identifier string `json:"identifier"`
		}
		matches := []rule{}
		if bytes.HasPrefix(data, []byte("PK")) {
			matches = append(matches, rule{"zip"})
		}
		line, _ := json.Marshal(map[string]any{"path": path, "rules": matches})
		fmt.Println(string(line))
		return nil
	})
}
