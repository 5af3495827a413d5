package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// maxTime bounds one bundle and all questions about it.
const maxTime = 20 * time.Minute

// program is a program to ask. Its bundles and answers are kept by its content.
type program struct {
	path, id, dir string
	kept          bool // bundles and answers stay in dir
}

func newProgram(path, dir string, kept bool) (*program, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(data)
	id := hex.EncodeToString(hash[:4])
	if !kept { // of its own, also if the program is the same
		dir, err = os.MkdirTemp("", "pcapsule-compare-")
		return &program{path: path, id: id, dir: dir}, err
	}
	return &program{path: path, id: id, dir: filepath.Join(dir, id), kept: true}, nil
}

// answer is the answer to a question or a command, in a form that can be compared.
type answer struct{ Name, Input, Text string }

// answers are the answers about a capture.
type answers struct {
	Plan string // id of the plan
	List []answer
}

// about returns the answers about a capture. The bundle is that of bundler. The questions are those
// of earlier answers, or come from the plan.
func (p *program) about(ctx context.Context, c capture, plan plan, bundler *program, earlier *answers) (*answers, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	file := filepath.Join(p.dir, "answers", c.name()+"-"+bundler.id+".json.gz")
	if p.kept {
		kept, err := readAnswers(file)
		if err == nil && kept.Plan == plan.id {
			return plan.chosen(kept), nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	bundle, problem, err := bundler.bundle(ctx, c)
	if err != nil {
		return nil, err
	}
	if !bundler.kept {
		defer os.RemoveAll(bundle)
	}
	out := &answers{Plan: plan.id, List: []answer{{"bundle", "", problem}}}
	if problem == "" {
		if out.List, err = p.askAll(ctx, bundle, plan, earlier); err != nil {
			return nil, err
		}
	}
	if p.kept && plan.whole {
		return out, writeAnswers(file, out)
	}
	return out, nil
}

// bundle returns the path of the bundle of a capture, or why there is none.
func (p *program) bundle(ctx context.Context, c capture) (path, problem string, err error) {
	path = filepath.Join(p.dir, c.name()+".pcapsule")
	if _, err := os.Stat(path); err == nil {
		return path, "", nil
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return "", "", err
	}
	args := append([]string{"bundle", "--anonymous", "-o", path, c.path}, c.args...)
	text, err := exec.CommandContext(ctx, p.path, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 5 { // another run made it meanwhile
		return path, "", nil
	}
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return path, fmt.Sprintf("exit code %d\n%s", exit.ExitCode(), text), nil
	}
	return path, "", err
}

// commands are command lines about a bundle that is the argument after the first word.
var commands = [][]string{
	{"info", "--json"},
	{"query", "", "--format", "ndjson", "--limit", "20"},
	{"query", "http || dns", "--count"},
	{"sql", "select protocol, outcome, count(*) n, sum(elapsed_us) us from calls group by all order by all", "--format", "json"},
	{"show", "#1"},
}

// command runs a command line.
func (p *program) command(ctx context.Context, bundle string, args []string) (string, error) {
	args = append([]string{args[0], bundle}, args[1:]...)
	var out, problem bytes.Buffer
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return fmt.Sprintf("%sexit code %d\n%s", comparable(out.String()), exit.ExitCode(), problem.String()), nil
	}
	return comparable(out.String()), err
}

// aside are keys of answers that do not count: how long an answer took and which release gave it.
var aside = regexp.MustCompile(`^(release|took_ms|took_us|opened_at)$`)

// comparable returns an answer with its JSON spread over lines, without what does not count.
func comparable(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return text
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(without(v)); err != nil {
		return text
	}
	return b.String()
}

func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if aside.MatchString(key) {
				delete(v, key)
				continue
			}
			v[key] = without(value)
		}
	case []any:
		for i := range v {
			v[i] = without(v[i])
		}
	}
	return v
}

func readAnswers(path string) (*answers, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	var a answers
	if err := json.NewDecoder(r).Decode(&a); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &a, nil
}

// writeAnswers writes a file that another run can read at any time.
func writeAnswers(path string, a *answers) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := json.NewEncoder(w).Encode(a); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(part, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(part, path)
}
