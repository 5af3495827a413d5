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

// mayScan refuses flags and files that --yara cannot use, and returns the path of yara.
func (e *env) mayScan(f *objectsFlags) (string, error) {
	switch {
	case f.dir != "":
		return "", exit.Usagef("--yara and --extract exclude each other: give one")
	case e.mask != "":
		return "", exit.Usagef("--yara reads files as they were sent: leave out --mask")
	}
	info, err := os.Stat(f.yara)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", f.yara)
	}
	if err != nil {
		return "", exit.With(fmt.Errorf("reading rules: %w", err), exit.NotCapture, "")
	}
	path, err := exec.LookPath("yara")
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", exit.With(errors.New("the program yara is not installed"), exit.Other, "install it, such as with apt install yara or dnf install yara")
	}
	return path, nil
}

// scanObjects lists the chosen files that match rules, with a row for each rule.
func (e *env) scanObjects(ctx context.Context, cs *forensics.Case, f *objectsFlags, yara string, columns []string) error {
	dir, err := os.MkdirTemp("", "pcapsule-yara-")
	if err != nil {
		return exit.OutputError(err, os.TempDir())
	}
	defer os.RemoveAll(dir)
	matches, folder, err := e.matchRules(ctx, cs, f, yara, dir)
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
func (e *env) matchRules(ctx context.Context, cs *forensics.Case, f *objectsFlags, yara, dir string) (map[string][]string, *extract.Folder, error) {
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
	text, err := sandbox.Run(ctx, sandbox.Program{Path: yara, Args: []string{"-w", "-N", "-r", "-p", "1", rules, files}, Read: []string{rules, files}, Memory: yaraMemory, Seconds: yaraSeconds}, yaraOutput)
	if err != nil {
		code, hint := exit.Other, ""
		if strings.Contains(err.Error(), filepath.Base(rules)+"(") { // a mistake in the rules
			code, hint = exit.NotCapture, "correct the rules; they cannot include other files"
		}
		return nil, nil, exit.With(fmt.Errorf("searching with yara: %w", err), code, hint)
	}
	matches := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		rule, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if sum := sums[filepath.Base(path)]; sum != "" && filepath.Dir(path) == files && !slices.Contains(matches[sum], rule) {
			matches[sum] = append(matches[sum], rule)
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
