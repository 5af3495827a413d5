// Package clitest runs pcapsule in tests of its commands.
package clitest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
)

// Main runs tests that open cases, and whose binary is also pcapsule and the other programs.
func Main(m *testing.M, others map[string]func()) {
	workertest.Main()
	programs := map[string]func(){
		"pcapsule": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	}
	for name, run := range others {
		programs[name] = run
	}
	testscript.Main(m, programs)
}

// Run runs pcapsule without input.
func Run(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = cli.Main(args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// At runs pcapsule without input on a screen of width columns.
func At(t *testing.T, width int, args ...string) (out, errOut string) {
	t.Helper()
	t.Setenv("COLUMNS", strconv.Itoa(width))
	_, out, errOut = Run(args...)
	return out, errOut
}

// Done runs pcapsule, which must succeed, and returns its output.
func Done(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := Run(args...)
	if code != exit.Done {
		t.Fatalf("pcapsule %q: exit code %d: %s", args, code, errOut)
	}
	return out
}

// Program is pcapsule as a child process with a deadline, and its standard error.
func Program(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, "pcapsule", args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	return c, &stderr
}

// ExitCode is that of a program whose Run or Wait returned err.
func ExitCode(t *testing.T, err error) int {
	t.Helper()
	var e *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// Names are those of the files in a folder, hidden ones included.
func Names(t *testing.T, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		out = append(out, f.Name())
	}
	return out
}

// Dashed is the name of a question or field as a command or flag has it.
func Dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }
