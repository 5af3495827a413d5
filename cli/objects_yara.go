package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/extract"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/sandbox"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of a search with YARA.
const (
	yaraMemory  = 1 << 30
	yaraSeconds = 600
	yaraOutput  = 16 << 20
)

// scanner is a program that searches a folder of files with rules.
type scanner struct {
	name  string
	path  string   // empty: not installed
	args  []string // before the rules and the folder
	match func(line []byte) (path string, rules []string)
}

// scanners are the programs that --yara can use. The first one that is installed runs.
func scanners() []scanner {
	return []scanner{
		{name: "yara", args: []string{"-w", "-N", "-r", "-p", "1"}, match: yaraLine},
		{name: "yr", args: []string{"scan", "-w", "-r", "-p", "1", "--disable-console-logs", "--output-format", "ndjson"}, match: yrLine},
	}
}

// yaraLine reads a line of yara: a rule, and the file that matches it.
func yaraLine(line []byte) (string, []string) {
	rule, path, _ := strings.Cut(string(line), " ")
	return path, []string{rule}
}

// yrLine reads a line of yr, the program of YARA-X: a file, and the rules that it matches.
func yrLine(line []byte) (string, []string) {
	var of struct {
		Path  string `json:"path"`
		Rules []struct {
			Identifier string `json:"identifier"`
		} `json:"rules"`
	}
	if json.Unmarshal(line, &of) != nil {
		return "", nil
	}
	var rules []string
	for _, r := range of.Rules {
		rules = append(rules, r.Identifier)
	}
	return of.Path, rules
}

// mayScan refuses flags and files that --yara cannot use, and returns the program that searches.
func (e *env) mayScan(f *objectsFlags) (*scanner, error) {
	switch {
	case f.dir != "":
		return nil, exit.Usagef("--yara and --extract exclude each other: give one")
	case e.mask != "":
		return nil, exit.Usagef("--yara reads files as they were sent: leave out --mask")
	}
	info, err := os.Stat(f.yara)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", f.yara)
	}
	if err != nil {
		return nil, exit.With(fmt.Errorf("reading rules: %w", err), exit.NotCapture, "")
	}
	for _, s := range scanners() {
		path, err := exec.LookPath(s.name)
		if err != nil {
			continue
		}
		s.path, err = filepath.Abs(path)
		return &s, err
	}
	return nil, exit.With(errors.New("neither yara nor yr (YARA-X) is installed"), exit.Other, "install one, such as with apt install yara, dnf install yara or cargo install yara-x-cli")
}

// scanObjects lists the chosen files that match rules, with a row for each rule.
func (e *env) scanObjects(ctx context.Context, cs *forensics.Case, f *objectsFlags, with *scanner, columns []string) error {
	dir, err := os.MkdirTemp("", "pcapsule-yara-")
	if err != nil {
		return exit.OutputError(err, os.TempDir())
	}
	defer os.RemoveAll(dir)
	matches, folder, err := e.matchRules(ctx, cs, f, with, dir)
	if err != nil {
		return err
	}
	if f.format == "table" && len(f.columns) == 0 {
		columns = append(slices.Clone(columns), "cites")
	}
	q, err := f.query(ctx, cs, append([]string{"sha256"}, columns...))
	if err != nil {
		return e.questionError(err)
	}
	out, err := format.NewRows(f.format, &e.Streams)
	if err != nil {
		return err
	}
	shown := 0
	_, err = cs.Each(ctx, q, func(cols []forensics.Column) error {
		return out.Begin(append([]forensics.Column{{Name: "yara_rule", Type: "VARCHAR"}}, cols[1:]...))
	}, func(cols []forensics.Column, row []any) error {
		sum, _ := row[0].([]byte)
		for _, rule := range matches[fmt.Sprintf("%x", sum)] {
			if shown++; f.limit > 0 && shown > f.limit {
				continue
			}
			if err := out.Row(append([]forensics.Column{{Name: "yara_rule", Type: "VARCHAR"}}, cols[1:]...), append([]any{rule}, row[1:]...)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return e.questionError(err)
	}
	if err := out.End(); err != nil {
		return err
	}
	e.Remark("%s", plural.Sprintf("%d {match|matches}; %d different {file was|files were} searched", shown, folder.Files))
	left := 0
	for _, n := range folder.Left {
		left += n
	}
	if left > 0 {
		e.Warn("%s", plural.Sprintf("%d {file was|files were} not searched: too large, damaged, or beyond --most or --max-size", left))
	}
	return nil
}

// matchRules writes the chosen files to a folder and searches them. It returns the rules by SHA-256.
func (e *env) matchRules(ctx context.Context, cs *forensics.Case, f *objectsFlags, with *scanner, dir string) (map[string][]string, *extract.Folder, error) {
	list, err := f.stored(ctx, cs)
	if err != nil {
		return nil, nil, e.questionError(err)
	}
	seen := map[string]bool{}
	list = slices.DeleteFunc(list, func(s stored) bool {
		twice := seen[s.entry.SHA256]
		seen[s.entry.SHA256] = true
		return twice
	})
	files := filepath.Join(dir, "files")
	folder, err := extract.New(files, extract.Limits{Bytes: int64(f.maxSize), Files: f.most})
	if err != nil {
		return nil, nil, exit.OutputError(err, dir)
	}
	err = writeObjects(ctx, cs, folder, list)
	if err = errors.Join(err, folder.Close()); err != nil {
		return nil, nil, exit.OutputError(err, dir)
	}
	sums, err := written(files)
	if err != nil {
		return nil, nil, err
	}
	rules, err := filepath.Abs(f.yara)
	if err == nil {
		rules, err = filepath.EvalSymlinks(rules)
	}
	if err != nil {
		return nil, nil, err
	}
	text, said, err := sandbox.Run(ctx, sandbox.Program{Path: with.path, Args: append(with.args, rules, files), Read: []string{rules, files}, Memory: yaraMemory, Seconds: yaraSeconds}, yaraOutput)
	if err != nil {
		code, hint := exit.Other, ""
		if strings.Contains(said, filepath.Base(rules)+"(") || strings.Contains(said, filepath.Base(rules)+":") { // a mistake in the rules
			code, hint = exit.NotCapture, "correct the rules; they cannot include other files"
		}
		return nil, nil, exit.With(fmt.Errorf("searching with %s: %w", with.name, err), code, hint)
	}
	if said != "" { // both programs end well although they could not read a file
		e.Warn("%s said: %s", with.name, said)
	}
	matches := map[string][]string{}
	for line := range bytes.Lines(text) {
		path, rules := with.match(bytes.TrimSuffix(line, []byte("\n")))
		sum := sums[filepath.Base(path)]
		if sum == "" || filepath.Dir(path) != files {
			continue
		}
		for _, rule := range rules {
			if !slices.Contains(matches[sum], rule) {
				matches[sum] = append(matches[sum], rule)
			}
		}
	}
	return matches, folder, nil
}

// written are the hashes of the files of a folder, by name.
func written(dir string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, extract.Manifest))
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	in := bufio.NewScanner(bytes.NewReader(data))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var e extract.Entry
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			return nil, err
		}
		if e.File != "" {
			sums[e.File] = e.SHA256
		}
	}
	return sums, in.Err()
}
