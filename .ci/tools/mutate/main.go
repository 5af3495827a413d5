// Command mutate tests tests: it changes one operator of the code at a time and runs the tests of that package. Tests
// that still pass do not notice the change. Gremlins finds the places; from all of them a sample is taken.
//
//	mutate [-n N] [-seed N] GREMLINS PACKAGE...
//
// It prints one row for each package, then every change that survived.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// mutant is one changed operator.
type mutant struct {
	dir, file    string // of the package, from the module's root; of the file in it
	line, column int
	kind         string // as gremlins calls it
	was, becomes token.Token
	text         string // the line
	fate         string
}

// The fates of mutants.
const (
	killed  = "killed"
	lived   = "lived"
	invalid = "does not compile"
)

// mutations are what each kind of gremlins' mutants makes of an operator.
var mutations = map[string]map[token.Token]token.Token{
	"ARITHMETIC_BASE":       {token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.MUL},
	"CONDITIONALS_BOUNDARY": {token.GEQ: token.GTR, token.GTR: token.GEQ, token.LEQ: token.LSS, token.LSS: token.LEQ},
	"CONDITIONALS_NEGATION": {token.EQL: token.NEQ, token.NEQ: token.EQL, token.GEQ: token.LSS, token.LSS: token.GEQ, token.GTR: token.LEQ, token.LEQ: token.GTR},
	"INCREMENT_DECREMENT":   {token.INC: token.DEC, token.DEC: token.INC},
	"INVERT_BITWISE":        {token.AND: token.OR, token.OR: token.AND, token.XOR: token.AND, token.AND_NOT: token.AND, token.SHL: token.SHR, token.SHR: token.SHL},
	"INVERT_LOGICAL":        {token.LAND: token.LOR, token.LOR: token.LAND},
	"INVERT_LOOPCTRL":       {token.BREAK: token.CONTINUE, token.CONTINUE: token.BREAK},
	"INVERT_NEGATIVES":      {token.SUB: token.ADD},
	"REMOVE_SELF_ASSIGNMENTS": {token.ADD_ASSIGN: token.ASSIGN, token.SUB_ASSIGN: token.ASSIGN, token.MUL_ASSIGN: token.ASSIGN, token.QUO_ASSIGN: token.ASSIGN,
		token.REM_ASSIGN: token.ASSIGN, token.AND_ASSIGN: token.ASSIGN, token.OR_ASSIGN: token.ASSIGN, token.XOR_ASSIGN: token.ASSIGN,
		token.SHL_ASSIGN: token.ASSIGN, token.SHR_ASSIGN: token.ASSIGN, token.AND_NOT_ASSIGN: token.ASSIGN},
}

// limit is how long the tests of one mutant may take; those that take longer have noticed it.
const limit = 5 * time.Minute

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 200, "mutants to test")
	seed := flag.Uint64("seed", 1, "of the sample")
	flag.Parse()
	if flag.NArg() < 2 {
		log.Fatal("usage: mutate [-n N] [-seed N] GREMLINS PACKAGE...")
	}
	tmp, err := os.MkdirTemp("", "mutate")
	check(err)
	defer os.RemoveAll(tmp)
	all := sample(find(flag.Arg(0), tmp, packages(flag.Args()[1:])), *n, *seed)
	todo := make(chan *mutant)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for m := range todo {
				m.fate = m.test(tmp)
			}
		})
	}
	for i := range all {
		todo <- &all[i]
		fmt.Fprintf(os.Stderr, "\r%d of %d", i+1, len(all))
	}
	close(todo)
	wg.Wait()
	fmt.Fprintln(os.Stderr)
	print(all)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// packages lists the folders of packages, from the module's root.
func packages(patterns []string) (dirs []string) {
	out, err := exec.Command("go", append([]string{"list", "-f", "{{.Dir}}"}, patterns...)...).Output()
	check(err)
	root, err := os.Getwd()
	check(err)
	for dir := range strings.Lines(string(out)) {
		rel, err := filepath.Rel(root, strings.TrimSpace(dir))
		check(err)
		dirs = append(dirs, rel)
	}
	return dirs
}

// find lists the mutants of packages. Gremlins copies the folder of the module with all that is in it, so it gets one that
// has only the project's files.
func find(gremlins, tmp string, dirs []string) (all []mutant) {
	tree := filepath.Join(tmp, "tree")
	copied, err := exec.Command("bash", "-c", `set -o pipefail; mkdir "$0" && git ls-files -z | tar --null -cf - -T - | tar -xf - -C "$0"`, tree).CombinedOutput()
	if err != nil {
		log.Fatalf("copying the project's files: %v: %s", err, copied)
	}
	defer os.RemoveAll(tree)
	for i, dir := range dirs {
		fmt.Fprintf(os.Stderr, "\rlooking at package %d of %d", i+1, len(dirs))
		out := filepath.Join(tmp, "found.json")
		c := exec.Command(gremlins, "unleash", "--silent", "--dry-run", "--workers", "1", "--invert-logical", "--invert-loopctrl", "--invert-bitwise", "--remove-self-assignments",
			"-E", "/", "-o", out, "./"+dir) // folders inside are packages of their own
		c.Dir, c.Env = tree, append(os.Environ(), "TMPDIR="+tmp)
		if text, err := c.CombinedOutput(); err != nil {
			log.Fatalf("%s: %v: %s", dir, err, text)
		}
		data, err := os.ReadFile(out)
		os.Remove(out)
		if err != nil {
			continue // a package without mutants
		}
		var found struct {
			Files []struct {
				Name      string `json:"file_name"`
				Mutations []struct {
					Type         string
					Line, Column int
				} // not Status: Go's coverage does not count conditions of a case
			}
		}
		check(json.Unmarshal(data, &found))
		for _, f := range found.Files {
			for _, x := range f.Mutations {
				if mutations[x.Type] != nil {
					all = append(all, mutant{dir: dir, file: filepath.Base(f.Name), line: x.Line, column: x.Column, kind: x.Type})
				}
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return all
}

func byPlace(a, b mutant) int {
	return cmp.Or(strings.Compare(a.dir, b.dir), strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), strings.Compare(a.kind, b.kind))
}

// sample takes n mutants; which, follows from the seed.
func sample(all []mutant, n int, seed uint64) []mutant {
	slices.SortFunc(all, byPlace)
	fmt.Printf("%d mutants in all\n", len(all))
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// source is the file with the mutant's operator changed.
func (m *mutant) source() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(m.dir, m.file))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	file := fset.AddFile(m.file, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	for {
		pos, tok, _ := s.Scan()
		if tok == token.EOF {
			return nil, fmt.Errorf("%s/%s:%d:%d: no such operator", m.dir, m.file, m.line, m.column)
		}
		p := fset.Position(pos)
		if p.Line != m.line || p.Column != m.column {
			continue
		}
		to, ok := mutations[m.kind][tok]
		if !ok {
			return nil, fmt.Errorf("%s/%s:%d:%d: %s of %s", m.dir, m.file, m.line, m.column, m.kind, tok)
		}
		m.was, m.becomes = tok, to
		m.text = strings.TrimSpace(strings.Split(string(text), "\n")[m.line-1])
		return slices.Concat(text[:p.Offset], []byte(to.String()), text[p.Offset+len(tok.String()):]), nil
	}
}

// test runs the package's tests with the mutant.
func (m *mutant) test(tmp string) string {
	source, err := m.source()
	check(err)
	dir, err := os.MkdirTemp(tmp, "m")
	check(err)
	defer os.RemoveAll(dir)
	root, err := os.Getwd()
	check(err)
	changed := filepath.Join(dir, m.file)
	check(os.WriteFile(changed, source, 0o644))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.dir, m.file): changed}})
	check(err)
	check(os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644))
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	c := exec.CommandContext(ctx, "go", "test", "-vet=off", "-failfast", "-overlay", filepath.Join(dir, "overlay.json"), "./"+m.dir)
	c.Env = append(os.Environ(), "TMPDIR="+dir)
	c.WaitDelay = 10 * time.Second
	out, err := c.CombinedOutput()
	switch {
	case err == nil:
		return lived
	case bytes.Contains(out, []byte("[build failed]")):
		return invalid
	}
	return killed
}

// critical are words of code about secrets, hashes, signatures and losses, of which no mutant may survive.
var critical = regexp.MustCompile(`(?i)secret|password|hash|sha256|digest|sign|seal|salt|lost|loss|drop|missing`)

func print(all []mutant) {
	count := map[string]map[string]int{}
	for _, m := range all {
		for _, name := range []string{m.dir, "~all"} {
			if count[name] == nil {
				count[name] = map[string]int{}
			}
			count[name][m.fate]++
		}
	}
	fmt.Println("| package | mutants | killed | lived | killed % |")
	fmt.Println("|---|---|---|---|---|")
	for _, name := range slices.Sorted(maps.Keys(count)) {
		c := count[name]
		of := c[killed] + c[lived]
		fmt.Printf("| %s | %d | %d | %d | %.0f |\n", strings.TrimPrefix(name, "~"), of, c[killed], c[lived], 100*float64(c[killed])/float64(max(of, 1)))
	}
	slices.SortFunc(all, byPlace)
	for _, m := range all {
		if m.fate == lived {
			mark := ""
			if critical.MatchString(m.text) {
				mark = " CRITICAL"
			}
			fmt.Printf("%s/%s:%d:%d%s: %s becomes %s in: %s\n", m.dir, m.file, m.line, m.column, mark, m.was, m.becomes, m.text)
		}
	}
}
