// Command testgate runs `go test -json`, prints a summary, and fails on a failed test or on a skip that is
// not on a list of allowed skips.
//
// A test skips with "needs THING" or "needs THING: DETAIL". A line of a list is "needs THING" without
// the detail, then a tab and the reason; # begins a comment. The two must be equal: an entry that is
// only part of a message does not match. White space of any length counts as one space, because
// testing.T.Skip puts a space between its operands.
//
// Some tests give a process or a kernel a time that a busy machine may exceed. With -again COMMAND, each
// failed test runs once more, alone, and its second result counts; the summary names it as one that passed
// alone only. A data race, a panic, a failed build, or more than 3 failed tests fail at once.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

type key struct{ pkg, test string }

// mostAgain is how many tests may fail beside others and pass alone. More of them are a defect.
const mostAgain = 3

func main() {
	again := flag.String("again", "", "command that runs one package, such as 'go test -json', for a second run of a failed test")
	keep := flag.String("json", os.DevNull, "file for the output of the command")
	flag.Parse()
	lists, command := flag.Args(), []string(nil)
	if i := slices.Index(lists, "--"); i >= 0 {
		lists, command = lists[:i], lists[i+1:]
	}
	if len(lists) == 0 || len(command) == 0 {
		fmt.Fprintln(os.Stderr, "usage: testgate [-again COMMAND] [-json FILE] ALLOWED-SKIPS... -- go test -json ./...")
		os.Exit(2)
	}
	g := gate{out: os.Stdout, allowed: map[string]bool{}, output: map[key][]string{}}
	for _, path := range lists {
		if err := readAllowed(path, g.allowed); err != nil {
			fmt.Fprintln(os.Stderr, "testgate:", err)
			os.Exit(2)
		}
	}
	if *again != "" {
		g.again = func(k key) (io.Reader, error) {
			// The arguments are names of tests and packages, which go test has printed.
			out, err := exec.Command("sh", "-c", *again+` -count=1 -run "^$1\$" "$2"`, "sh", k.test, k.pkg).Output()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				err = nil // the output has the result
			}
			return bytes.NewReader(out), err
		}
	}
	if _, err := duckdbtest.Prepare(); err != nil { // once for all tests, which find it in the environment
		fmt.Println("testgate:", err)
		os.Exit(1)
	}
	if err := g.start(command, *keep); err != nil {
		fmt.Println("testgate:", err)
		os.Exit(1)
	}
	os.Exit(g.result())
}

// start runs a command and reads its output, which it also writes to a file.
func (g *gate) start(command []string, keep string) error {
	file, err := os.Create(keep)
	if err != nil {
		return err
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	err = g.read(io.TeeReader(out, file))
	if err != nil {
		_ = c.Process.Kill()
	}
	// Exit code 1 of go test is for tests that failed.
	if ended := c.Wait(); err == nil && ended != nil && (c.ProcessState.ExitCode() != 1 || len(g.failed) == 0) {
		err = fmt.Errorf("%s: %w", command[0], ended)
	}
	return errors.Join(err, file.Close())
}

// readAllowed adds the entries of a list to allowed.
func readAllowed(path string, allowed map[string]bool) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		text, reason, _ := strings.Cut(line, "\t")
		switch {
		case strings.TrimSpace(reason) == "":
			return fmt.Errorf("%s: %q has no reason", path, text)
		case text != need(text) || len(text) <= len("needs "):
			return fmt.Errorf("%s: %q is not of the form: needs THING", path, text)
		case allowed[text]:
			return fmt.Errorf("%s: %q is listed twice", path, text)
		}
		allowed[text] = true
	}
	return nil
}

// gate reads the results of tests.
type gate struct {
	out     io.Writer
	allowed map[string]bool
	again   func(key) (io.Reader, error) // runs a test alone; nil: a failed test is not run again

	output                             map[key][]string // of what has not ended
	passed, skipped, refused, packages int
	failed                             []key
	serious                            bool // what failed does not run again
}

// result prints the summary of what was read, after second runs, and returns the exit code.
func (g *gate) result() int {
	if g.again != nil && !g.serious && len(g.failed) <= mostAgain {
		g.runAgain()
	}
	failed := len(g.failed) + g.refused
	fmt.Fprintf(g.out, "%d packages; skips not allowed: %d\n", g.packages, g.refused)
	fmt.Fprintf(g.out, "%d passed, %d failed, %d skipped\n", g.passed, failed, g.skipped)
	if failed > 0 || g.passed == 0 {
		return 1
	}
	return 0
}

// runAgain runs each failed test alone.
func (g *gate) runAgain() {
	failed := g.failed
	g.failed = nil
	for _, k := range failed {
		alone := gate{out: g.out, allowed: g.allowed, output: map[key][]string{}}
		in, err := g.again(k)
		if err == nil {
			err = alone.read(in)
		}
		if err != nil || alone.refused > 0 || len(alone.failed) > 0 || alone.passed == 0 {
			g.failed = append(g.failed, k)
			fmt.Fprintf(g.out, "FAIL  %s %s failed alone, too (%v)\n", k.pkg, k.test, err)
			continue
		}
		fmt.Fprintf(g.out, "AGAIN %s %s failed beside others and passed alone\n", k.pkg, k.test)
	}
}

func (g *gate) read(in io.Reader) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			fmt.Fprintln(g.out, sc.Text()) // a build error
			continue
		}
		g.take(e)
	}
	return sc.Err()
}

func (g *gate) take(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		text := strings.TrimSpace(e.Output)
		if strings.HasPrefix(text, "TABLE ") { // tables for people
			fmt.Fprint(g.out, strings.Replace(e.Output, "TABLE ", "", 1))
		}
		g.serious = g.serious || text == "WARNING: DATA RACE" || strings.HasPrefix(e.Output, "panic: ") || strings.HasPrefix(e.Output, "fatal error: ")
		if len(g.output[k]) < 2000 {
			g.output[k] = append(g.output[k], e.Output)
		}
		return
	case "pass":
		if e.Test != "" {
			g.passed++
		} else {
			g.packages++
			fmt.Fprintf(g.out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
		}
	case "fail", "build-fail":
		fmt.Fprintf(g.out, "FAIL  %s %s\n%s", e.Package, e.Test, strings.Join(g.output[k], ""))
		g.fail(e, k)
	case "skip":
		if e.Test == "" {
			break
		}
		g.skipped++
		if !g.allowed[need(skipMessage(g.output[k]))] {
			g.refused++
			fmt.Fprintf(g.out, "SKIP  %s %s is not on the list of allowed skips:\n%s", e.Package, e.Test, strings.Join(g.output[k], ""))
		}
	default:
		return
	}
	delete(g.output, k)
}

// fail counts a failed test, and a package or a build that failed without one.
func (g *gate) fail(e event, k key) {
	switch {
	case strings.Contains(e.Test, "/"): // the test that it is part of fails after it
	case e.Test != "":
		g.failed = append(g.failed, k)
	case !slices.ContainsFunc(g.failed, func(x key) bool { return x.pkg == k.pkg }):
		g.failed = append(g.failed, k)
		g.serious = true
	}
}

// logged is the first line of a test's log. Its other lines are indented further.
var logged = regexp.MustCompile(`^    [^\s:]+\.go:\d+: (.*)`)

// skipMessage returns the first line of the last message of a test, which is the reason of a skip.
func skipMessage(output []string) (said string) {
	for _, line := range output {
		if m := logged.FindStringSubmatch(line); m != nil {
			said = m[1]
		}
	}
	return said
}

// need returns the "needs THING" of a message, or "" if the message is not of that form.
func need(message string) string {
	text, _, _ := strings.Cut(message, ":")
	text = strings.Join(strings.Fields(text), " ")
	if !strings.HasPrefix(text, "needs ") {
		return ""
	}
	return text
}
