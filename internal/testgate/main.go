// Command testgate reads the output of `go test -json`, prints a summary, and fails on a failed test
// or on a skip that is not on a list of allowed skips.
//
// A test skips with "needs THING" or "needs THING: DETAIL". A line of a list is "needs THING" without
// the detail, then a tab and the reason; # begins a comment. The two must be equal: an entry that is
// only part of a message does not match. White space of any length counts as one space, because
// testing.T.Skip puts a space between its operands.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

type key struct{ pkg, test string }

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | testgate ALLOWED-SKIPS...")
		os.Exit(2)
	}
	allowed := map[string]bool{}
	for _, path := range os.Args[1:] {
		if err := readAllowed(path, allowed); err != nil {
			fmt.Fprintln(os.Stderr, "testgate:", err)
			os.Exit(2)
		}
	}
	os.Exit(run(os.Stdin, os.Stdout, allowed))
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

func run(in io.Reader, out io.Writer, allowed map[string]bool) int {
	var passed, failed, skipped, refused, packages int
	output := map[key][]string{}
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			fmt.Fprintln(out, sc.Text()) // a build error
			continue
		}
		k := key{e.Package, e.Test}
		switch e.Action {
		case "output", "build-output":
			if strings.HasPrefix(strings.TrimSpace(e.Output), "TABLE ") { // tables for people
				fmt.Fprint(out, strings.Replace(e.Output, "TABLE ", "", 1))
			}
			if len(output[k]) < 2000 {
				output[k] = append(output[k], e.Output)
			}
			continue
		case "pass":
			if e.Test != "" {
				passed++
			} else {
				packages++
				fmt.Fprintf(out, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
			}
		case "fail", "build-fail":
			failed++
			fmt.Fprintf(out, "FAIL  %s %s\n%s", e.Package, e.Test, strings.Join(output[k], ""))
		case "skip":
			if e.Test == "" {
				break
			}
			skipped++
			if !allowed[need(skipMessage(output[k]))] {
				refused++
				fmt.Fprintf(out, "SKIP  %s %s is not on the list of allowed skips:\n%s", e.Package, e.Test, strings.Join(output[k], ""))
			}
		default:
			continue
		}
		delete(output, k)
	}
	if sc.Err() != nil {
		fmt.Fprintln(out, "reading test output:", sc.Err())
		return 1
	}
	fmt.Fprintf(out, "%d packages; skips not allowed: %d\n", packages, refused)
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed+refused, skipped)
	if failed+refused > 0 || passed == 0 {
		return 1
	}
	return 0
}

// logged is the first line of what a test logs. Its other lines are indented further.
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
