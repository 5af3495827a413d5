package cli_test

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

var word = regexp.MustCompile(`'[^']*'|\S+`)

// refused runs a table of invalid commands, one per row:
//
//	2 ask get-pair s.pcapsule --src a => text of the error => text of the hint
//
// They must print nothing to standard output, one error and one hint. Every question, every
// command of kfl, and check, serve and mcp must have at least two rows.
func refused(ts *testscript.TestScript, _ bool, args []string) {
	rows := map[string]int{}
	var faults []string // of all rows, so that one run shows every row to correct
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.Split(line, " => ")
		list := word.FindAllString(part[0], -1)
		if len(part) != 3 || len(list) < 2 {
			ts.Fatalf("row %q, want: CODE COMMAND… => ERROR => HINT", line)
		}
		for i, w := range list {
			list[i] = strings.Trim(w, "'")
		}
		want, err := strconv.Atoi(list[0])
		ts.Check(err)
		name := list[1]
		if name == "ask" || name == "kfl" {
			name += " " + strings.ReplaceAll(list[2], "-", "_")
		}
		rows[name]++
		got := 0
		if err := ts.Exec("pcapsule", list[1:]...); err != nil {
			var e *exec.ExitError
			if !errors.As(err, &e) {
				ts.Fatalf("%v", err)
			}
			got = e.ExitCode()
		}
		stderr := ts.ReadFile("stderr")
		problem, hint, _ := strings.Cut(stderr, "\nhint: ")
		switch {
		case got != want:
			fault("%s: exit code %d, want %d", line, got, want)
		case ts.ReadFile("stdout") != "":
			fault("%s: prints %q although it is refused", line, ts.ReadFile("stdout"))
		case !strings.HasPrefix(problem, "error: ") || !strings.Contains(problem, part[1]):
			fault("%s: error %q", line, problem)
		case !strings.HasPrefix(hint, part[2]) || strings.Count(hint, "\n") != 1:
			fault("%s: hint %q", line, hint)
		}
	}
	if len(faults) > 0 {
		ts.Fatalf("%s", strings.Join(faults, "\n"))
	}
	needed := []string{"check", "serve", "mcp", "kfl check", "kfl fmt", "kfl explain", "kfl sql", "kfl complete", "kfl fields"}
	for _, q := range all.Questions() {
		needed = append(needed, "ask "+q.Name)
	}
	for _, name := range needed {
		if rows[name] < 2 {
			ts.Fatalf("%d rows for %s, want at least 2", rows[name], name)
		}
	}
}
