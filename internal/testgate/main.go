// Command testgate reads what `go test -json` prints, shows what a person needs of it,
// and fails on a failed test or on a skip that is not on the list of allowed skips.
//
// A line of the list is a test's name or the beginning of its message, after a tab the
// reason why it may skip; # begins a comment.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

type key struct{ pkg, test string }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | testgate ALLOWED-SKIPS")
		os.Exit(2)
	}
	allowed, err := readAllowed(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testgate:", err)
		os.Exit(2)
	}
	os.Exit(run(os.Stdin, os.Stdout, allowed))
}

func readAllowed(path string) (list []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		text, reason, _ := strings.Cut(line, "\t")
		if text = strings.TrimSpace(text); text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s: %q has no reason", path, text)
		}
		list = append(list, text)
	}
	return list, nil
}

func run(in io.Reader, out io.Writer, allowed []string) int {
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
			if strings.HasPrefix(strings.TrimSpace(e.Output), "TABLE ") { // facts for people
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
			if text := strings.Join(output[k], ""); !mayskip(e.Test, text, allowed) {
				refused++
				fmt.Fprintf(out, "SKIP  %s %s is not on the list of allowed skips:\n%s", e.Package, e.Test, text)
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

func mayskip(test, output string, allowed []string) bool {
	for _, a := range allowed {
		if a == test || strings.Contains(output, a) {
			return true
		}
	}
	return false
}
