// Package duckdbtest has DuckDB for tests, which do not link it: a program of 100 MB takes longer to link than most
// tests run. One program, made once, is the database worker of cases and the reader of Open.
//
// A program is never stale: it is made again when its source has changed, and go test repeats a test that used
// it then.
package duckdbtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/pcapsule/pcapsule/internal/captures"
)

const module = "github.com/pcapsule/pcapsule/"

// oldest is the time after which no test uses a program that another has replaced.
const oldest = 24 * time.Hour

// root is the project's folder, empty in a test that runs elsewhere.
var root = captures.Project()

// Program returns the path of the program.
func Program() (string, error) {
	path, err := Prepare()
	if err == nil {
		err = looked()
	}
	if err != nil {
		return "", fmt.Errorf("making the tests' program with DuckDB: %w", err)
	}
	return path, nil
}

// Prepare makes the program before a test changes its environment. Programs that the test starts find it
// by Variable.
var Prepare = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(Variable); path != "" {
		return path, nil
	}
	path, err := made()
	if err == nil {
		err = os.Setenv(Variable, path)
	}
	return path, err
})

// made makes the program. It has a name by its content, because another test may make it from other source while
// this test runs.
func made() (string, error) {
	if root == "" {
		return "", errors.New("the working directory is outside the project")
	}
	dir := filepath.Join(root, ".cache", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(dir, "lock")).Lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	suffix := ""
	if runtime.GOOS == "windows" {
		suffix = ".exe"
	}
	newest := filepath.Join(dir, "newest"+suffix)
	if _, err := run("build", append(flags(), "-ldflags=-s -w", "-o", newest, "./internal/duckdbtest/program")...); err != nil {
		return "", err
	}
	id, err := run("tool", "buildid", newest)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(id))
	path := filepath.Join(dir, fmt.Sprintf("%x%s", sum[:8], suffix))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, errors.Join(removeOld(dir), os.Link(newest, path))
}

// removeOld removes programs that tests no longer use.
func removeOld(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if i, err := e.Info(); err == nil && e.Name() != "lock" && time.Since(i.ModTime()) > oldest {
			err = os.Remove(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func run(command string, args ...string) (string, error) {
	c := exec.Command("go", append([]string{command}, args...)...)
	c.Dir = root
	var failed strings.Builder
	c.Stderr = &failed
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", command, err, failed.String())
	}
	return string(out), nil
}

// looked opens the source files of the program once. Package testing remembers which files a test opened.
var looked = sync.OnceValue(func() error {
	if root == "" {
		return nil
	}
	return errors.Join(open("go.mod"), open("go.sum"), look("internal/duckdbtest/program", map[string]bool{}))
})

// look opens the source files of a package of ours and of those that it imports.
func look(folder string, seen map[string]bool) error {
	if seen[folder] {
		return nil
	}
	seen[folder] = true
	p, err := build.ImportDir(filepath.Join(root, filepath.FromSlash(folder)), 0)
	if err != nil {
		return err
	}
	for _, pattern := range p.EmbedPatterns {
		if err := open(path.Join(folder, pattern)); err != nil {
			return err
		}
	}
	for _, i := range p.Imports {
		if imported, ours := strings.CutPrefix(i, module); ours {
			if err := look(imported, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens files of the project.
func open(pattern string) error {
	list, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
	if err != nil {
		return err
	}
	for _, name := range list {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		_ = f.Close() // nothing was written
	}
	return nil
}
